"""Runs side by side in one HTML file: encoders, corpora or settings; their differences come first.

python -m mcbert runs demo wider --html results/runs/comparison.html
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from mcbert import files
from mcbert.results.conclusions.conclude import overall
from mcbert.results.report import numbers
from mcbert.results.report.charts import (
    GREY,
    MID_BLUE,
    ORANGE,
    SYSTEM_NAMES,
    finish,
    specification,
    symbol_legend,
)
from mcbert.results.report.figures import FOLDER, write_figures
from mcbert.results.report.report import Specs, as_json, environment, library
from mcbert.results.report.sections import records
from mcbert.results.runs import KINDS, RunTables, read_results, unlike
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.words import MEAN, SYSTEMS
from mcbert.results.table1 import correctness, measured, ordered_languages, same_texts

log = logging.getLogger(__name__)

_COLOURS = [MID_BLUE, ORANGE, GREY, "#2a9d6f", "#a357b8", "#b8860b"]
_SHAPES = ["circle", "square", "triangle-up", "diamond", "cross", "triangle-down"]
FACTS = (
    ("encoder", "encoder"), ("corpus", "corpus"), ("languages", "target languages"), ("transfer", "transfer"),
    ("protocol", "protocol"), ("winner", "winner"), ("versions", "versions"),
)  # fmt: skip
"""Facts of each run beside its scores: column of table RUNS, and words."""

MOST = len(_COLOURS)
"""As many runs as there are colours and shapes."""


def build(folders: Sequence[Path], listed: pd.DataFrame, path: Path) -> Path:
    """Write the page, and every figure of it as SVG and PNG into a folder beside it, `NAME-figures`.

    Parameters
    ----------
    folders : sequence of Path
        Two to six runs; the first is what the others are compared with.
    listed : DataFrame
        Their rows of table RUNS.
    path : Path
        The page.

    Raises
    ------
    ValueError
        Too few or too many runs, or tables that break their declaration.
    """
    if not 2 <= len(folders) <= MOST:
        raise ValueError(f"runs: got {len(folders)} to compare, accepted: 2 to {MOST}")
    runs = [RunTables.read(folder) for folder in folders]
    specs: Specs = {}
    differing = _differing(folders, runs)
    shown = {
        "names": [run.name for run in runs],
        "rows": [row for run in runs for row in records(listed[listed["run"] == run.name])],
        "facts": FACTS,
        "unlike": [(KINDS[kind], found) for kind, found in differing.items()],
        "systems": systems(runs, specs),
        "paired": None if "texts" in differing else paired(folders, runs),
        "conclusions": conclusions(runs),
        "system_names": SYSTEM_NAMES,
    }
    html = (
        environment()
        .get_template("comparison.html")
        .render(**shown, specs=as_json(specs), library=library() if specs else "")
    )
    files.write_text(path, html)
    if specs:
        write_figures(specs, path.with_name(f"{path.stem}-{FOLDER}"))
    log.info("runs: %d side by side -> %s", len(runs), path)
    return path


def systems(runs: Sequence[RunTables], specs: Specs) -> list[dict[str, Any]]:
    """Return each system's test accuracy by run and language, with a figure put into `specs`."""
    parts = [table.assign(run=run.name) for run in runs if (table := run.table("table1")) is not None]
    if not parts:
        return []
    rows = pd.concat(parts, ignore_index=True)
    names, found = [run.name for run in runs], []
    for system in (name for name in SYSTEMS if name in set(rows["system"])):
        own = rows[rows["system"] == system]
        order = ordered_languages(set(own["language"]) - {MEAN}, runs[0].source_language)
        words = f"Test accuracy of {SYSTEM_NAMES[system]} by language and run"
        specs[f"system-{system}"] = specification(dots(own, names, [MEAN, *order]), words)
        means = {row["run"]: row for row in records(own[own["language"] == MEAN])}
        found.append(
            {
                "system": system,
                "name": SYSTEM_NAMES[system],
                "figure": f"system-{system}",
                "means": means,
                "numbers": numbers.by_run(own, names, [MEAN, *order]),
            }
        )
    return found


def dots(rows: pd.DataFrame, runs: Sequence[str], languages: Sequence[str]) -> alt.LayerChart:
    """Draw accuracy by language, a mark per run, identified by colour and shape."""
    frame = rows.assign(percent=rows["accuracy"] * 100)
    colours, shapes = _COLOURS[: len(runs)], _SHAPES[: len(runs)]
    points = (
        alt.Chart(frame)
        .mark_point(filled=True, size=70, opacity=0.9)
        .encode(
            y=alt.Y("language:N", title=None, sort=list(languages)),
            yOffset=alt.YOffset("run:N", sort=list(runs)),
            x=alt.X(
                "percent:Q",
                title="test accuracy, %",
                scale=alt.Scale(zero=False),
                axis=alt.Axis(tickCount=5, labelFlush=False),
            ),
            color=alt.Color(
                "run:N", scale=alt.Scale(domain=list(runs), range=colours), legend=symbol_legend()
            ),
            shape=alt.Shape(
                "run:N", scale=alt.Scale(domain=list(runs), range=shapes), legend=symbol_legend()
            ),
            tooltip=["run:N", "language:N", alt.Tooltip("percent:Q", format=".2f"), "protocol:N"],
        )
    )
    return finish([points], height=22 * len(languages))


def paired(folders: Sequence[Path], runs: Sequence[RunTables]) -> list[dict[str, Any]]:
    """Compare each run's systems with the first run's, paired over the texts that both were tested on.

    Returns
    -------
    list of dict
        run, name (of the system), difference, low, high of the mean over the target languages.
    """
    correct = [_correct(folder) for folder in folders]
    found = []
    for run, own in zip(runs[1:], correct[1:], strict=True):
        for system in (name for name in SYSTEMS if name in own and name in correct[0]):
            if same_texts(own[system], correct[0][system]):
                row = measured(own[system], correct[0][system], run.source_language)[-1]
                found.append(row | {"run": run.name, "name": SYSTEM_NAMES[system]})
    return found


def conclusions(runs: Sequence[RunTables]) -> list[dict[str, Any]]:
    """Return each claim of the published conclusions with its verdict by run."""
    tables = {run.name: table for run in runs if (table := run.table("conclusions")) is not None}
    claims = dict.fromkeys(
        (int(number), str(claim))
        for table in tables.values()
        for number, claim in zip(table["number"], table["conclusion"], strict=True)
    )
    return [
        {
            "number": number,
            "claim": claim,
            "verdicts": {
                name: overall(table.loc[table["conclusion"] == claim, "verdict"].tolist())
                for name, table in tables.items()
            },
        }
        for number, claim in sorted(claims, key=lambda key: key[0])
    ]


def _correct(folder: Path) -> dict[str, pd.DataFrame]:
    if not any(folder.glob(PREDICTIONS.file_name)):
        return {}
    frame = read_results("predictions", folder)
    test = frame[frame["split"] == "test"]
    return {str(system): correctness(rows) for system, rows in test.groupby("system")}


def _differing(folders: Sequence[Path], runs: Sequence[RunTables]) -> dict[str, list[str]]:
    """Find in what the runs differ, by the first of these tables that all have."""
    for name in ("table1", "gridsearch", "corpus"):
        found = [run.table(name) for run in runs]
        frames = [frame for frame in found if frame is not None]
        if len(frames) == len(runs):
            return unlike(folders, frames)
    return unlike(folders, [pd.DataFrame()] * len(folders))
