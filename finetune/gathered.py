"""The tables of fine-tuning, made of what the trainings measured, beside the search's classifier.

python -m pytest tests/finetune/test_finetune.py
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mcbert.finetune.job import AnyJob, Job
from mcbert.finetune.rows import protocol_of
from mcbert.finetune.winner import Architecture
from mcbert.results import csv_files, deploy, table1
from mcbert.results.column import Table
from mcbert.results.deploy import PROBE
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1
from mcbert.results.schema.words import metric_words

log = logging.getLogger(__name__)


def gather(jobs: Sequence[Job], architecture: Architecture, *, casing: str) -> None:
    """Write the tables from the jobs' results, in the order of the jobs."""
    out, stamp = jobs[0].out, jobs[0].stamp
    for table, key, name in (
        (FINETUNE, "finetune", FINETUNE.file_name),
        (FREEZING, "freezing", FREEZING.file_name),
        (PREDICTIONS, "predictions", "predictions_finetune.csv"),
    ):
        csv_files.write(table, to_frame(table, measured(jobs, key)), out / name)
    protocols: dict[str, str] = {job.system: protocol_of(job) for job in jobs}
    predictions = [csv_files.read(PREDICTIONS, out / "predictions_finetune.csv")]
    probe = out / "predictions_gridsearch.csv"
    if probe.is_file() and architecture.probe_protocol is not None:
        predictions.append(csv_files.read(PREDICTIONS, probe))
        protocols[PROBE] = architecture.probe_protocol
    everything = pd.concat(predictions, ignore_index=True)
    if not (everything["split"] == "test").any():
        log.warning("finetune: the corpus has no test rows, so there is no %s", TABLE1.file_name)
        return
    frame = table1.build(
        everything,
        stamp,
        protocols=protocols,
        casing=casing,
        source_language=jobs[0].source_language,
    )
    below = deploy.below_probe(on_dev(jobs))
    is_measured = frame["source"].eq("measured")
    frame.loc[is_measured, "below_probe"] = [
        ("yes" if below[system] else "no") if system in below else ""
        for system in frame["system"][is_measured]
    ]
    csv_files.write_with_sums(TABLE1, frame, out / TABLE1.file_name)


def on_dev(jobs: Sequence[Job]) -> dict[str, float]:
    """Return what the search's classifier and the models kept score on dev; by the run's metric, protocol."""
    protocol = jobs[0].architecture.probe_protocol or jobs[0].settings.protocol
    return deploy.dev_scores(jobs[0].out, protocol, jobs[0].source_language)


def beside_probe(jobs: Sequence[Job]) -> dict[str, str]:
    """Say how the models kept stand to the search's classifier on dev; warn of those that it beats.

    Returns
    -------
    dict
        A line by system, Markdown; empty where there was no search.
    """
    scores, protocol = on_dev(jobs), jobs[0].architecture.probe_protocol
    said, metric = {}, metric_words(deploy.metric_of(jobs[0].out))
    for system, is_below in deploy.below_probe(scores).items():
        own, searched, looked = scores[system], scores[PROBE], deploy.looks_at(str(protocol))
        said[system] = (
            f"On dev by {looked} these weights score {own:.3f} ({metric}), the classifier of the search "
            f"{searched:.3f}."
        )
        if is_below:
            said[system] = (
                f"**{said[system]} Training made it worse: take what deploy.json of the run names.**"
            )
            log.warning(
                "finetune: %s is below the search's classifier on dev by %s, %s %.3f against %.3f: deploy "
                "the classifier, or train otherwise (finetune.start, more epochs, knobs)",
                *(system, looked, metric, own, searched),
            )
    return said


def measured(jobs: Sequence[AnyJob], key: str) -> list[dict[str, Any]]:
    """Return the stamped rows of one kind that the jobs' results hold, in the order of the jobs."""
    results = [json.loads(job.result.read_text(encoding="utf-8")) for job in jobs]
    return [row | result["stamp"] for result in results for row in result[key]]


def to_frame(table: Table, rows: Sequence[Mapping[str, object]]) -> pd.DataFrame:
    """Return rows as a frame with the table's columns, also when there are none."""
    return pd.DataFrame(rows, columns=[column.name for column in table.columns])
