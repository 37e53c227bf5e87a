"""Fine-tune: train every (system, seed), gather what they measured, make Table 1.

    python -m mcbert finetune --config demo

Reads the corpus and the winner of phase one; writes ``finetune.csv``, ``freezing.csv``,
``predictions_finetune.csv``, ``table1.csv``, ``models/<system>`` (of the first seed) and TensorBoard logs.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.features.encoder.blocks import n_layers
from mcbert.features.encoder.opening import verdict
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.files.objects import read_object
from mcbert.finetune.export.trained_card import write_cards
from mcbert.finetune.freezing.rules import Schedule, plan_freezing
from mcbert.finetune.gathered import beside_probe, gather
from mcbert.finetune.job import AnyJob, Job
from mcbert.finetune.protocol import DevTexts, require_protocol
from mcbert.finetune.running import read_texts, run_job
from mcbert.finetune.settings import FinetuneSettings, TrainingSettings
from mcbert.finetune.winner import Architecture, read_architecture

log = logging.getLogger(__name__)

Execute = Callable[[Callable[[Any], str], Iterable[Any]], Iterator[tuple[Any, str | None, str | None]]]
Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


class JobError(RuntimeError):
    """A training failed; those that finished are kept and skipped on the next run."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inputs:
    """What the stage reads, and where it writes."""

    corpus: Path
    """Table of labelled texts, ``texts.csv``."""

    source_language: str
    """Language of the training texts."""

    winner: Path | None
    """``winner.json`` of phase one; None when the settings name layers and pooling."""

    encoder: Path
    """Local folder of the encoder."""

    prompt: str = ""
    """What goes before each text."""

    out: Path
    """The run's folder; ``predictions_gridsearch.csv`` there takes part in Table 1."""


def finetune(
    settings: FinetuneSettings,
    inputs: Inputs,
    *,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = lambda items, _total, _description: items,
) -> None:
    """Run the stage.

    Parameters
    ----------
    settings : FinetuneSettings
        What to train and how.
    inputs : Inputs
        What it reads, and where it writes.
    execute : callable
        Runs the trainings, here or elsewhere.
    stamp : mapping
        A value for each of ``results.schema.STAMP``.
    track : callable
        Progress display.

    Raises
    ------
    ValueError
        Settings, winner, corpus and encoder that do not fit; results of another configuration in `out`.
    JobError
        A training failed.
    """
    began = time.monotonic()
    texts = read_texts(inputs.corpus, inputs.source_language)
    architecture = read_architecture(
        inputs.winner,
        settings,
        labels=texts.labels,
        encoder=str(stamp["encoder"]),
        n_layers=n_layers(inputs.encoder),
    )
    require_protocol(settings, DevTexts.of_corpus(texts), freezes="mcbert_wf" in settings.systems)
    require_readable(settings, inputs.encoder, architecture.pooling)
    jobs = plan(settings, architecture, inputs, stamp=stamp)
    n_trained = run_jobs(jobs, run_job, execute=execute, track=track)
    gather(jobs, architecture, casing=casing(inputs.encoder))
    write_cards(jobs, texts, beside_probe(jobs))
    log.info("finetune: %d trainings in %.1f s -> %s", n_trained, time.monotonic() - began, inputs.out)


def run_jobs(jobs: Sequence[AnyJob], run: Callable[[Any], str], *, execute: Execute, track: Track) -> int:
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


def plan(
    settings: FinetuneSettings,
    architecture: Architecture,
    inputs: Inputs,
    *,
    stamp: Mapping[str, object],
) -> list[Job]:
    """Return the trainings, seed by seed, so that every system has its first seed early.

    Raises
    ------
    ValueError
        ``mcbert_wf`` without anything to freeze, or with layers that feed nothing.
    """
    freeze: Schedule = {}
    if "mcbert_wf" in settings.systems:
        freeze = plan_freezing(settings, max(architecture.layers))
    elif settings.freeze or settings.freeze_rule != "schedule":
        log.info("finetune.freeze has no effect: finetune.systems does not name mcbert_wf")
    return [
        Job(
            system=system,
            seed=seed,
            settings=settings,
            architecture=architecture,
            freeze=freeze if system == "mcbert_wf" else {},
            corpus=inputs.corpus,
            encoder=inputs.encoder,
            prompt=inputs.prompt,
            out=inputs.out,
            source_language=inputs.source_language,
            stamp=dict(stamp),
            save_model=seed == settings.seeds[0],
        )
        for seed in settings.seeds
        for system in settings.systems
    ]


def require_readable(settings: TrainingSettings, encoder: Path, pooling: str) -> None:
    """Raise when texts may be longer than the encoder reads, or a pooling takes what saw nothing of them."""
    known = verdict(encoder)
    known.require_length(settings.max_length, f"{settings.section}.max_length")
    known.require_poolings(pooling.split("+"), f"{settings.section}.pooling")


def is_finished(job: AnyJob) -> bool:
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


def casing(encoder: Path) -> str:
    """Tell from the tokenizer itself whether the encoder sees capitals."""
    tokenizer = load_tokenizer(encoder)
    return "uncased" if tokenizer.tokenize("Aa Bb") == tokenizer.tokenize("aa bb") else "cased"
