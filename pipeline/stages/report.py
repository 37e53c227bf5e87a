"""The stage ``report``: the tables of a run -> report.html, figures/, conclusions.csv; runs no other stage.

python -m mcbert report --run demo
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert import __version__
from mcbert.files import sha256
from mcbert.pipeline.stages.gridsearch import EVIDENCE
from mcbert.pipeline.workspace import Workspace, file_names
from mcbert.results.csv_files import read, write
from mcbert.results.runs import RunTables
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA
from mcbert.results.schema.runs import CONCLUSIONS
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.texts import CORPUS
from mcbert.results.schema.training import FINETUNE, TABLE1
from mcbert.results.schema.tune import TUNE
from mcbert.results.schema.words import MEAN

if TYPE_CHECKING:
    from mcbert.results.conclusions.conclude import Compare, Measured
    from mcbert.search.outcome.predictions import Predictions

log = logging.getLogger(__name__)

CONFIGURED = (FINETUNE, GRIDSEARCH, CORPUS)
"""Tables of a run whose rows are all of its configuration, the latest first."""


TABLES = ("corpus.csv", "gridsearch.csv", "confusion.csv", *EVIDENCE, "predictions_gridsearch.csv",
          "predictions.npz", "finetune.csv", "freezing.csv", "predictions_finetune.csv",
          *file_names(TABLE1, TUNE, STS, TATOEBA, REDUCTIONS))  # fmt: skip


def report(workspace: Workspace) -> None:
    """Draw report.html from the CSVs that are there, and test the paper's conclusions where it is to be.

    No other stage is run.

    Raises
    ------
    ValueError
        There are none.
    """
    folder = workspace.run.folder
    files = {name: sha256(folder / name) for name in TABLES if (folder / name).is_file()}
    if not files:
        raise ValueError(
            f"{folder}: nothing to report yet; run gridsearch or finetune first, with the same "
            "--config and --run"
        )
    stamp, paper = stamp_of(folder, workspace.stamp), workspace.config.report.paper
    inputs = {"version": __version__, "paper": paper, "files": files}
    workspace.run.stage("report", inputs, lambda: _report(folder, stamp, paper=paper), replace=True)


def _report(folder: Path, stamp: Mapping[str, str], *, paper: bool) -> list[str]:
    from mcbert.results.report.report import build

    tested = [write_conclusions(folder, stamp)] if paper else []
    if not paper:  # what an earlier report wrote would be shown
        (folder / CONCLUSIONS.file_name).unlink(missing_ok=True)
    drawn = build(folder, figures=True)
    return [path.relative_to(folder).as_posix() for path in [*tested, *drawn]]


def stamp_of(folder: Path, given: Mapping[str, str]) -> dict[str, str]:
    """Return the stamp of what lies in a run's folder, and warn where the configuration given is another."""
    table = next((table for table in CONFIGURED if (folder / table.file_name).is_file()), None)
    rows = read(table, folder / table.file_name) if table else None
    if rows is None or rows.empty:
        return dict(given)
    own = {name: str(rows[name].iloc[0]) for name in ("config_digest", "encoder", "transfer")}
    if own["config_digest"] != given["config_digest"]:
        log.warning(
            "report: the results of configuration %s are shown; the settings given, of "
            "configuration %s, are not used", own["config_digest"], given["config_digest"],
        )  # fmt: skip
    return dict(given) | own


def write_conclusions(folder: Path, stamp: Mapping[str, str]) -> Path:
    """Test the conclusions on the tables in a run's folder, and write them there.

    Parameters
    ----------
    folder : Path
        The run's folder; a table that is not there leaves its conclusions untested.
    stamp : mapping
        The run's stamp.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        The folder holds no table, or one that breaks its declaration; predictions.npz is damaged.
    """
    from mcbert.results.conclusions.conclude import conclude
    from mcbert.search.outcome.predictions import Predictions

    target = folder / CONCLUSIONS.file_name
    target.unlink(missing_ok=True)  # what an earlier version wrote is nothing to go by
    run = RunTables.read(folder)
    path = folder / "predictions.npz"
    compare = comparer(Predictions.load(path)) if path.is_file() else _nothing
    sample = ""
    if run.tried:
        sample = f"a budget let the search try {run.tried['n']:,} of {run.tried['of']:,} candidates, a sample"
    try:
        rows = conclude(run.tables, run.source_language, compare, sample=sample)
    except KeyError as error:  # the table and the predictions are not of one search
        raise ValueError(
            f"{path}: no predictions of {error}, which {GRIDSEARCH.file_name} names; run gridsearch again"
        ) from error
    write(CONCLUSIONS, rows.assign(**stamp), target)
    return target


def comparer(predictions: Predictions) -> Compare:
    """Return a function that measures contrasts of a search's candidates on test.

    It measures over the mean of the target languages, or in the source language where there is none, and
    raises KeyError for a candidate without predictions.
    """
    import numpy as np

    from mcbert.results.conclusions.conclude import Measured
    from mcbert.search.outcome.intervals import Sample, intervals
    from mcbert.search.task import one_thread

    position = {name: at for at, name in enumerate(predictions.candidates)}

    def compare(contrasts: Sequence[Mapping[str, float]]) -> Measured | None:
        sample = Sample.of(predictions, "test")
        if sample is None:
            return None
        weights = np.zeros((len(contrasts), sample.n_candidates))
        for row, contrast in enumerate(contrasts):
            weights[row, [position[name] for name in contrast]] = list(contrast.values())
        with one_thread():  # the last digits of a sum must not depend on the number of CPU cores
            found = intervals(sample, weights)
        shown = MEAN if sample.targets else sample.languages[0]
        return Measured([by_language[shown] for by_language in found], len(sample.n_texts))

    return compare


def _nothing(_: Sequence[Mapping[str, float]]) -> None:
    return None
