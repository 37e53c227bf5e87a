"""Try combinations of phase two's settings on dev: `python -m mcbert tune`.

Reads the corpus and what phase one chose; writes tune.csv, and no model. tune.jsonl is the ledger, a
training a line: with it, a killed search resumes where it was, and another list of values trains only what
is new. Test labels take no part.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers

from mcbert import files
from mcbert.execution import Execute, Track, untracked
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder import hardware
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import hidden_size, n_layers, quiet
from mcbert.files.ledger import Ledger
from mcbert.finetune.evaluation import watched_score
from mcbert.finetune.freezing.rules import plan_freezing
from mcbert.finetune.jobs import (
    FinetuneJob,
    Inputs,
    JobError,
    described,
    require_readable,
    torch_threads,
)
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.systems import dev_predicted, set_up
from mcbert.finetune.texts import DevTexts, read_texts, require_protocol
from mcbert.finetune.training.fit import Output, fit, relevant
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.finetune.tune.table import Outcome, Searched, best_by, write_trials
from mcbert.finetune.tune.trials import Trial, freezes, plan_trials
from mcbert.finetune.winner import Architecture, read_architecture

log = logging.getLogger(__name__)

VERSION = 3  # of a training's record: raise it when a change alters them
LEDGER = "tune.jsonl"
KEY = "training"
"""The field that names a training in the ledger."""

Row = dict[str, Any]
WinnerOf = Callable[[FinetuneSettings], Path | None]


def search_settings(
    tune: TuneSettings,
    base: FinetuneSettings,
    inputs: Inputs,
    *,
    winner_of: WinnerOf,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = untracked,
) -> None:
    """Train every combination with every seed, and write what dev says of them.

    Parameters
    ----------
    tune : TuneSettings
        What is tried.
    base : FinetuneSettings
        What stays as it is.
    inputs : Inputs
        What is read, and where results go; its `winner` is not looked at.
    winner_of : callable
        Returns what phase one chose for a trial's settings: ``winner.json``, ``start.json`` or None.
    execute : callable
        Runs the trainings, here or elsewhere.
    stamp : mapping
        A value for each of ``results.schema.STAMP``.
    track : callable
        Progress display.

    Raises
    ------
    ValueError
        No values, no dev texts for the protocol, a ledger of other texts or another encoder.
    JobError
        Every trial failed.
    """
    began = time.monotonic()
    trials = plan_trials(tune, base)
    corpus = read_texts(inputs.corpus, inputs.source_language)
    dev = DevTexts.of_corpus(corpus).beside(inputs.parallel)
    if tune.protocol == "target-dev":
        dev.require("tune.protocol", "source-dev")
    if tune.protocol == "agreement":
        dev.require_translations("tune.protocol", "source-dev")
    build = _Builder(tune, corpus, inputs, winner_of, stamp)
    planned = [build.searched(trial) for trial in trials]
    jobs = {key_of(job): job for searched in planned for job in searched.jobs}
    require = functools.partial(require_row, corpus=corpus)
    with Ledger(inputs.out / LEDGER, _identity(inputs), KEY, require=require) as ledger:
        todo = [job for key, job in jobs.items() if key not in ledger.rows]
        log.info("tune: %d trials, %d trainings, %d to do", len(trials), len(jobs), len(todo))
        for job, row, error in track(execute(run_training, todo), len(todo), "tune (trainings)"):
            ledger.append([{KEY: key_of(job), **(row or _failed(error))}])
        rows = dict(ledger.rows)
    outcomes = [
        Outcome(searched=searched, rows=[rows[key_of(job)] for job in searched.jobs]) for searched in planned
    ]
    write_trials(outcomes, tune, corpus, stamp=stamp, path=inputs.out)
    _report(outcomes, tune, inputs.source_language)
    log.info("tune: %d trainings in %.1f s -> %s", len(todo), time.monotonic() - began, inputs.out)


@dataclasses.dataclass(frozen=True)
class _Builder:
    """Makes the trainings of a trial."""

    tune: TuneSettings
    corpus: Corpus
    inputs: Inputs
    winner_of: WinnerOf
    stamp: Mapping[str, object]

    def searched(self, trial: Trial) -> Searched:
        """Return a trial with its trainings, or with the reason why there are none."""
        if trial.settings is None:
            return Searched(trial=trial, message=trial.message)
        try:
            return Searched(trial=trial, jobs=self._jobs(trial.settings))
        except ValueError as error:
            if trial.number == 0:  # the configuration itself
                raise
            return Searched(trial=trial, message=str(error))

    def _jobs(self, settings: FinetuneSettings) -> tuple[FinetuneJob, ...]:
        dev = DevTexts.of_corpus(self.corpus).beside(self.inputs.parallel)
        require_protocol(settings, dev, freezes=settings.freezes)
        architecture: Architecture = read_architecture(
            self.winner_of(settings),
            settings,
            labels=self.corpus.labels,
            encoder=str(self.stamp["encoder"]),
            n_layers=n_layers(self.inputs.encoder),
        )
        require_readable(settings, self.inputs.encoder, architecture.features)
        system: str = self.tune.system
        freeze = {}
        if system == "mcbert" and freezes(settings):
            system, freeze = "mcbert_wf", plan_freezing(settings, max(architecture.layers))
        return tuple(
            FinetuneJob(
                system=system,
                seed=seed,
                settings=settings,
                architecture=architecture,
                freeze=freeze,
                corpus=self.inputs.corpus,
                encoder=self.inputs.encoder,
                prompt=self.inputs.prompt,
                out=self.inputs.out,
                source_language=self.inputs.source_language,
                stamp=dict(self.stamp),
                parallel=self.inputs.parallel,
            )
            for seed in self.tune.seeds
        )


def key_of(job: FinetuneJob) -> str:
    """Return the name of a training in the ledger: the same for the same training in every search."""
    content = {
        "system": job.system,
        "seed": job.seed,
        "settings": relevant(job.settings),
        "precision": hardware.compute_dtype(
            job.settings.precision, hidden_size(job.encoder), hardware.device().type
        ),  # what `auto` chooses here: a search that continues elsewhere mixes no two
        "freeze": {str(epoch): list(layers) for epoch, layers in job.freeze.items()},
        "architecture": described(job.architecture),
    }
    text = json.dumps(content, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _identity(inputs: Inputs) -> dict[str, Any]:
    """Return all that the trainings of one ledger share."""
    return {
        "version": VERSION,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": hardware.device().type,
        "corpus": files.sha256(inputs.corpus),
        "source_language": inputs.source_language,
        "encoder": encoder_identity(inputs.encoder),
        "prompt": inputs.prompt,
        "parallel": inputs.parallel.checksums() if inputs.parallel else {},
    }


def _failed(error: str | None) -> Row:
    log.error("tune: a training failed: %s", error)
    return {"status": "error", "message": error or "no result", "right": "", "seconds": 0.0}


def _report(outcomes: Sequence[Outcome], tune: TuneSettings, source_language: str) -> None:
    """Log what each protocol would take; raise where there is nothing to take."""
    failed = [outcome for outcome in outcomes if outcome.status == "error"]
    if failed:
        log.warning("tune: %d of %d trials failed, first %s", len(failed), len(outcomes), failed[0].message)
    if len(failed) == len(outcomes):
        raise JobError(f"tune: all {len(failed)} trials failed, first {failed[0].message}")
    for protocol in dict.fromkeys(("source-dev", tune.protocol)):
        best = best_by(protocol, outcomes, source_language)
        log.info("tune: %s takes trial %d: %s", protocol, best.number, json.dumps(dict(best.changes)))


def require_row(row: Mapping[str, Any], corpus: Corpus) -> None:
    """Raise unless a row of a ledger is one of a training, scored on the dev texts of this corpus.

    Raises
    ------
    ValueError
        Names the first field at fault.
    """
    numbers = [row["seconds"]]
    if row["status"] == "ok":
        n_dev = len(corpus.rows(split="dev"))
        if not isinstance(row["right"], str) or len(row["right"]) != n_dev or set(row["right"]) - {"0", "1"}:
            raise ValueError(f"right: accepted: 0 or 1 for each of {n_dev} dev texts")
        if set(row["accuracy"]) - set(corpus.languages):
            raise ValueError("accuracy: accepted: a number for each language of the corpus")
        numbers += row["accuracy"].values()
        if not (
            row["agreement"] is None
            or (isinstance(row["agreement"], float) and math.isfinite(row["agreement"]))
        ):
            raise ValueError("agreement: accepted: a number, or null")
    elif row["status"] != "error" or not isinstance(row["message"], str):
        raise ValueError("status, message: accepted: ok, or error and what failed")
    if any(type(one) not in (int, float) or not 0 <= one < 1e10 for one in numbers):
        raise ValueError("accuracy, seconds: accepted: numbers from 0")


def run_training(job: FinetuneJob) -> dict[str, Any]:
    """Train, and score dev with the weights of the chosen evaluation; write nothing.

    Returns
    -------
    dict
        status, message, accuracy (of each language, unrounded), right (of each dev text in the corpus's
        order, 1 or 0), agreement (less the source's log-loss; None without translations), epoch and step of
        the chosen evaluation, precision, seconds.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        setup = set_up(job, splits=("train", "dev"))
        training = fit(
            setup.model,
            setup.data,
            settings=job.settings,
            seed=job.seed,
            monitor=job.monitor,
            out=Output(),
            head_parameters=setup.head_parameters,
        )
        dev = setup.texts["dev"]
        right = dev_predicted(setup, training) == dev.y
    chosen = training.history[training.chosen]
    agreed = None if chosen.agreement is None else watched_score(chosen, "agreement", job.source_language)
    return {
        "status": "ok",
        "message": "",
        "accuracy": {
            str(name): float(right[dev.language == name].mean()) for name in dict.fromkeys(dev.language)
        },
        "right": "".join("01"[int(one)] for one in right),
        "agreement": agreed,
        "epoch": chosen.epoch,
        "step": chosen.step,
        "precision": training.precision,
        "seconds": time.monotonic() - began,
    }
