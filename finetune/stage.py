"""Fine-tune: train every (system, seed), gather what they measured, make Table 1.

    python -m mcbert finetune --config demo

Reads the corpus and the winner of phase one; writes ``finetune.csv``, ``trainings.csv``, ``freezing.csv``,
``predictions_finetune.csv``, ``table1.csv``, ``models/<system>`` (of the first seed) and TensorBoard logs.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from mcbert.execution import Execute, Track, untracked
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.loading import n_layers
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.export.cards import write_cards
from mcbert.finetune.freezing.rules import Schedule, plan_freezing
from mcbert.finetune.jobs import FinetuneJob, Inputs, require_readable, rows_of, run_jobs, write_rows
from mcbert.finetune.rows import protocol_of
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.systems import train_system
from mcbert.finetune.texts import DevTexts, read_texts, require_protocol
from mcbert.finetune.winner import Architecture, read_architecture
from mcbert.results import csv_files, deploy, table1
from mcbert.results.deploy import PROBE
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1, TRAININGS

log = logging.getLogger(__name__)


def finetune(
    settings: FinetuneSettings,
    inputs: Inputs,
    *,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = untracked,
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
    dev = DevTexts.of_corpus(texts).beside(inputs.parallel)
    require_protocol(settings, dev, freezes=settings.freezes)
    require_readable(settings, inputs.encoder, architecture.features)
    jobs = plan(settings, architecture, inputs, stamp=stamp)
    n_trained = run_jobs(jobs, train_system, execute=execute, track=track)
    gather(jobs, architecture, texts, casing=casing(inputs.encoder))
    write_cards(jobs, texts, beside_probe(jobs))
    log.info("finetune: %d trainings in %.1f s -> %s", n_trained, time.monotonic() - began, inputs.out)


def plan(
    settings: FinetuneSettings,
    architecture: Architecture,
    inputs: Inputs,
    *,
    stamp: Mapping[str, object],
) -> list[FinetuneJob]:
    """Return the trainings, seed by seed, so that every system has its first seed early.

    Raises
    ------
    ValueError
        ``mcbert_wf`` without anything to freeze, or with layers that feed nothing.
    """
    freeze: Schedule = {}
    if settings.freezes:
        freeze = plan_freezing(settings, max(architecture.layers))
    elif settings.freeze or settings.freeze_rule != "schedule":
        log.info("finetune.freeze has no effect: finetune.systems does not name mcbert_wf")
    elif settings.trained != settings.systems:
        log.info("finetune: mcbert_wf is left out: finetune.freeze and freeze_rule name nothing that freezes")
    return [
        FinetuneJob(
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
            parallel=inputs.parallel,
        )
        for seed in settings.seeds
        for system in settings.trained
    ]


def casing(encoder: Path) -> str:
    """Tell from the tokenizer itself whether the encoder sees capitals."""
    tokenizer = load_tokenizer(encoder)
    return "uncased" if tokenizer.tokenize("Aa Bb") == tokenizer.tokenize("aa bb") else "cased"


def gather(jobs: Sequence[FinetuneJob], architecture: Architecture, texts: Corpus, *, casing: str) -> None:
    """Write the tables from the jobs' results, in the order of the jobs."""
    out, stamp = jobs[0].out, jobs[0].stamp
    for table, key in ((FINETUNE, "finetune"), (TRAININGS, "trainings"), (FREEZING, "freezing")):
        write_rows(jobs, key, table, out / table.file_name)
    protocols: dict[str, str] = {job.system: protocol_of(job) for job in jobs}
    predicted = with_texts(rows_of(jobs, "predictions", PREDICTIONS), texts.table)
    csv_files.write(PREDICTIONS, predicted, out / "predictions_finetune.csv")
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
    below = on_dev(jobs).below_probe()
    frame["below_probe"] = [
        ("yes" if below[system] else "no") if system in below else "" for system in frame["system"]
    ]
    csv_files.write_with_sums(TABLE1, frame, out / TABLE1.file_name)


def with_texts(predictions: pd.DataFrame, texts: pd.DataFrame) -> pd.DataFrame:
    """Return rows of table PREDICTIONS with the texts of the corpus; without text_pair where it has none."""
    keys, columns = ["id", "language", "split"], ["text", "text_pair"]
    found = predictions.drop(columns=columns).merge(texts[[*keys, *columns]], how="left", on=keys)
    return found if (texts["text_pair"] != "").any() else found.drop(columns="text_pair")


def on_dev(jobs: Sequence[FinetuneJob]) -> deploy.DevScores:
    """Return how the search's classifier and the models kept compare on dev by the run's protocol."""
    protocol = jobs[0].architecture.probe_protocol or jobs[0].settings.protocol
    return deploy.dev_scores(jobs[0].out, protocol, jobs[0].source_language)


def beside_probe(jobs: Sequence[FinetuneJob]) -> dict[str, str]:
    """Say how the models kept stand to the search's classifier on dev; warn of those that it beats.

    Returns
    -------
    dict
        A line by system, Markdown; empty where there was no search.
    """
    found, said = on_dev(jobs), {}
    metric, looked = found.words, found.protocol
    for system, is_below in found.below_probe().items():
        own, searched = found.scores[system], found.scores[PROBE]
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
                "the classifier, or train otherwise (finetune.start, more epochs, mcbert tune)",
                *(system, looked, metric, own, searched),
            )
    return said
