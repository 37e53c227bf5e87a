"""Trainings as jobs: what one is, running those that have no result yet, the tables of their results.

    python -m pytest tests/finetune/test_stage.py

A job is a (system, seed): paths and plain values, so that it travels to a worker cheaply. It writes
``jobs/<system>-<seed>.json`` last and whole, so that the file's existence means "finished".
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
import transformers

from mcbert import files
from mcbert.execution import Execute, Track
from mcbert.features.corpus.parallel import ParallelFolder
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.opening import verdict
from mcbert.features.spec import FeatureSpec
from mcbert.files.objects import read_object
from mcbert.finetune.freezing.rules import Schedule, rule_of
from mcbert.finetune.settings import FinetuneSettings, TrainingSettings
from mcbert.finetune.training.callback import Monitor, Training
from mcbert.finetune.training.fit import Output
from mcbert.finetune.winner import Architecture
from mcbert.results import csv_files
from mcbert.results.column import Table

log = logging.getLogger(__name__)


class JobError(RuntimeError):
    """A training failed; those that finished are kept and skipped on the next run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """Inputs of a stage that trains, and its output folder."""

    corpus: Path
    """Table of labelled texts, ``texts.csv``."""

    source_language: str
    """Language of the training texts."""

    winner: Path | None
    """``winner.json`` of phase one; None when the settings name layers and pooling."""

    encoder: Path
    """Local folder of the encoder."""

    prompt: str = ""
    """Prompt before each text."""

    out: Path
    """The run's folder; ``predictions_gridsearch.csv`` there takes part in Table 1."""

    parallel: ParallelFolder | None = None
    """Sentences for agreement in the languages whose dev texts are not translated."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training to run."""

    system: str
    """The system to train: one of `finetune.settings.SYSTEMS`, or embeddings."""

    seed: int
    """Of the head, the order of the texts and the dropout."""

    settings: TrainingSettings
    """Rates, epochs and the like."""

    architecture: Architecture
    """Layers, pooling and the start of the head."""

    freeze: Schedule
    """Layers that the settings' rule may freeze, by epoch or turn; empty for systems without freezing."""

    corpus: Path
    """Table of the texts."""

    source_language: str
    """Language of the training texts."""

    encoder: Path
    """Local folder of the encoder."""

    out: Path
    """The run's folder."""

    stamp: Mapping[str, object]
    """Columns that every row of the run carries."""

    prompt: str = ""
    """Prompt before each text."""

    save_model: bool = False
    """Whether to keep the trained model in ``models/<system>``."""

    @property
    def name(self) -> str:
        """Of the job's files."""
        return f"{self.system}-{self.seed}"

    @property
    def result(self) -> Path:
        """File that says what the training measured."""
        return self.out / "jobs" / f"{self.name}.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints that a killed training resumes from; removed with the result."""
        return self.out / "checkpoints" / self.name

    @property
    def frozen(self) -> tuple[int, ...]:
        """Layers frozen from the start."""
        return ()

    @property
    def monitor(self) -> Monitor:
        """The choice of the weights to keep and of the layers to freeze."""
        return Monitor(
            rule=rule_of(self.settings, self.freeze, self.source_language),
            protocol=self.settings.protocol,
            source_language=self.source_language,
            gradient_norms=bool(self.freeze) and self.settings.freeze_rule == "gradient",
            frozen=self.frozen,
        )

    def output(self, texts: str = "") -> Output:
        """Return where the training writes, with all that it depends on besides settings and seed.

        Parameters
        ----------
        texts : str
            Digest of texts that are in memory; by default the checksum of the corpus's file.
        """
        return Output(
            checkpoints=self.checkpoints,
            log=self.out / "tensorboard" / self.name,
            arguments={
                "system": self.system,
                "architecture": described(self.architecture),
                "freeze": {str(epoch): list(layers) for epoch, layers in self.freeze.items()},
                "corpus": texts or files.sha256(self.corpus),
                "source_language": self.source_language,
                "encoder": encoder_identity(self.encoder),
                "prompt": self.prompt,
                "transformers": transformers.__version__,
            },
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneJob(Job):
    """A training of a classifier."""

    settings: FinetuneSettings

    parallel: ParallelFolder | None = None
    """Sentences for agreement in the languages whose dev texts are not translated."""

    def output(self, texts: str = "") -> Output:
        """Return where the training writes, with the sentences that it chooses by."""
        out = super().output(texts)
        if self.parallel is None:
            return out
        return dataclasses.replace(out, arguments={**out.arguments, "parallel": self.parallel.checksums()})


def described(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture as JSON holds it, files by their checksum."""
    return {
        name: files.sha256(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(architecture).items()
    }


def require_readable(settings: TrainingSettings, encoder: Path, features: FeatureSpec) -> None:
    """Raise when texts may be longer than the encoder reads, or a pooling takes what saw nothing of them."""
    known = verdict(encoder)
    known.require_length(settings.max_length, f"{settings.section}.max_length")
    known.require_poolings(features.poolings, f"{settings.section}.pooling")


def run_jobs(jobs: Sequence[Job], run: Callable[[Any], str], *, execute: Execute, track: Track) -> int:
    """Run the trainings that have no result yet and return how many they were.

    Raises
    ------
    JobError
        Some failed.
    ValueError
        There is a result of another configuration.
    """
    stage = jobs[0].settings.section
    todo = [job for job in jobs if not is_finished(job)]
    log.info("%s: %d trainings, %d to do", stage, len(jobs), len(todo))
    failures = []
    for job, _, error in track(execute(run, todo), len(todo), f"{stage} (trainings)"):
        if error is not None:
            log.error("%s: %s failed: %s", stage, job.name, error)
            failures.append(f"{job.name}: {error}")
    if failures:
        raise JobError(f"{stage}: {len(failures)} of {len(todo)} trainings failed, first {failures[0]}")
    for job in jobs:
        shutil.rmtree(job.checkpoints, ignore_errors=True)  # what a kill after a result left
    with contextlib.suppress(OSError):  # not there, or with those of another stage
        jobs[0].checkpoints.parent.rmdir()
    return len(todo)


def is_finished(job: Job) -> bool:
    """Tell whether a job's result is there.

    Raises
    ------
    ValueError
        It is there, but of another configuration.
    """
    if not job.result.is_file():
        return False
    found = read_object(job.result, {"stamp": dict})["stamp"].get("config_digest")
    if found != job.stamp["config_digest"]:
        raise ValueError(
            f"{job.result}: made with configuration {found}, accepted: {job.stamp['config_digest']}; give "
            "the run another name, or remove the file"
        )
    return True


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Compute with so many threads: the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def finish(job: Job, content: Mapping[str, Any], training: Training, began: float) -> str:
    """Write a job's result, remove its checkpoints, and return the path of the result file.

    Parameters
    ----------
    began : float
        When the job did, by `time.monotonic`.
    """
    chosen = training.history[training.chosen]
    log.info("%s: %s: %.1f s, epoch %d, step %d chosen",
             job.settings.section, job.name, time.monotonic() - began, chosen.epoch, chosen.step)  # fmt: skip
    job.result.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(job.result, json.dumps(content, ensure_ascii=False) + "\n")
    shutil.rmtree(job.checkpoints, ignore_errors=True)
    return str(job.result)


def write_rows(jobs: Sequence[Job], key: str, table: Table, path: Path) -> None:
    """Write a table: rows of one kind that the jobs' results hold, as `rows_of` returns them."""
    csv_files.write(table, rows_of(jobs, key, table), path)


def rows_of(jobs: Sequence[Job], key: str, table: Table) -> pd.DataFrame:
    """Return rows of one kind that the jobs' results hold, stamped, in the order of the jobs."""
    results = [json.loads(job.result.read_text(encoding="utf-8")) for job in jobs]
    rows = [row | result["stamp"] for result in results for row in result[key]]
    names = [column.name for column in table.columns]  # there also without rows
    return pd.DataFrame(rows, columns=names)
