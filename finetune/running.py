"""Run one training, from corpus to its result file: the unit of work of an executor.

    python -m pytest tests/finetune/test_running.py

A job writes ``jobs/<system>-<seed>.json`` last and whole, so that the file's existence means "finished".
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert import files
from mcbert.features.corpus import Corpus
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.calibrated import calibrate_model
from mcbert.finetune.evaluation import compute_logits, score_languages
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.freezing.rules import rule_of
from mcbert.finetune.job import AnyJob, Job
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.probe import read_start
from mcbert.finetune.rows import freeze_rows, predictions, score_rows
from mcbert.finetune.training import ranks
from mcbert.finetune.training.callback import Training, Watch
from mcbert.finetune.training.tasks import Texts
from mcbert.finetune.training.trainer import Output, train, within_memory
from mcbert.finetune.winner import Architecture
from mcbert.results import csv_files
from mcbert.results.schema.texts import TEXTS

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """What a training begins with."""

    corpus: Corpus
    """All texts."""

    tokenizer: PreTrainedTokenizerBase
    """The encoder's."""

    model: PreTrainedModel
    """Not trained yet."""

    fresh: frozenset[str]
    """Names of the parameters that take the head's learning rate."""

    rows: Mapping[str, np.ndarray]
    """Rows of the corpus, by split."""

    texts: Mapping[str, Texts]
    """These texts, tokenised."""


def run_job(job: Job) -> str:
    """Train, choose the epoch, score test once with its weights, write the result.

    Returns
    -------
    str
        Path of the result file.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        start = prepared(job, ("train", "dev", "test"))
        model, tokenizer, texts = start.model, start.tokenizer, start.texts
        training = trained(job, start, output_of(job))
        with within_memory(lambda: "the dev and test texts"):
            test = compute_logits(model, tokenizer, texts["test"].tokens, together=True)
            calibration = (
                calibrate_model(model, tokenizer, texts["dev"], job.source_language)
                if job.save_model
                else None
            )
        if ranks.rank():
            return str(job.result)  # the first process writes it
        if job.save_model:
            model.config.text_pairs = start.corpus.train_pairs
            save_model(model, tokenizer, job.out / "models" / job.system, max_length=job.settings.max_length)
    predicted = {"dev": training.dev_predicted, "test": test.argmax(axis=1)}
    content = {
        "stamp": dict(job.stamp),
        "finetune": score_rows(job, training, score_languages(test, texts["test"].y, texts["test"].language)),
        "freezing": freeze_rows(job, training),
        "predictions": predictions(job, start.corpus, start.rows, predicted),
        "calibration": dataclasses.asdict(calibration) if calibration else None,
    }
    return finish(job, content, training, began)


def finish(job: AnyJob, content: Mapping[str, Any], training: Training, began: float) -> str:
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


def prepared(job: Job, splits: Sequence[str]) -> Start:
    """Read the corpus, tokenise splits of it and build the model, its head drawn by the job's seed."""
    corpus = read_texts(job.corpus, job.source_language)
    tokenizer = load_tokenizer(job.encoder, prompt=job.prompt)
    transformers.set_seed(job.seed)
    model, fresh = build(job, corpus.labels)
    rows = {split: corpus.rows(split=split) for split in splits}
    texts = {
        split: tokenised(corpus, rows[split], tokenizer, max_length=job.settings.max_length) for split in rows
    }
    return Start(corpus=corpus, tokenizer=tokenizer, model=model, fresh=fresh, rows=rows, texts=texts)


def trained(job: Job, start: Start, out: Output) -> Training:
    """Train the model that a job starts with, in place, and return what the training measured on dev."""
    return train(
        start.model,
        start.tokenizer,
        settings=job.settings,
        seed=job.seed,
        texts=(start.texts["train"], start.texts["dev"]),
        watch=watch_of(job, start.fresh),
        out=out,
    )


def watch_of(job: AnyJob, fresh: frozenset[str], frozen: tuple[int, ...] = ()) -> Watch:
    """Return what a job's training looks at; `frozen` are the layers that are frozen from the start."""
    return Watch(
        rule=rule_of(job.settings, job.freeze, job.source_language),
        protocol=job.settings.protocol,
        source_language=job.source_language,
        gradient_norms=bool(job.freeze) and job.settings.freeze_rule == "gradient",
        fresh=fresh,
        frozen=frozen,
    )


def output_of(job: AnyJob, texts: str = "") -> Output:
    """Return where a job's training writes; `texts`: as for `arguments_of`."""
    return Output(
        checkpoints=job.checkpoints,
        log=job.out / "tensorboard" / job.name,
        arguments=arguments_of(job, texts),
    )


def arguments_of(job: AnyJob, texts: str = "") -> dict[str, Any]:
    """Return what a training depends on besides settings and seed; a checkpoint of others is refused.

    `texts` is a digest of texts that are in memory; by default that of the corpus's file is taken.
    """
    return {
        "system": job.system,
        "architecture": described(job.architecture),
        "freeze": {str(epoch): list(layers) for epoch, layers in job.freeze.items()},
        "corpus": texts or files.sha256(job.corpus),
        "source_language": job.source_language,
        "encoder": encoder_identity(job.encoder),
        "prompt": job.prompt,
        "transformers": transformers.__version__,
    }


def described(architecture: Architecture) -> dict[str, Any]:
    """Return an architecture as JSON holds it, files by their checksum."""
    return {
        name: files.sha256(value) if isinstance(value, Path) else value
        for name, value in dataclasses.asdict(architecture).items()
    }


def read_texts(path: Path, source_language: str) -> Corpus:
    """Read the run's texts.csv, with the cells that `results.csv_files` neutralised restored."""
    return Corpus.of(csv_files.read(TEXTS, path), source_language, str(path))


def build(job: Job, labels: Sequence[str]) -> tuple[PreTrainedModel, frozenset[str]]:
    """Build a system's model and name the parameters of its head, or those that start random."""
    if job.system == "baseline":
        return build_baseline(job.encoder, dropout=job.settings.dropout, labels=labels)
    model = MCBertForSequenceClassification.from_encoder(
        job.encoder,
        job.architecture.layers,
        pooling=job.architecture.pooling,
        dropout=job.settings.dropout,
        labels=labels,
        standardised=job.architecture.probe is not None,
        head_layers=job.settings.head_layers,
    )
    if job.architecture.probe is not None:
        read_start(job.architecture.probe, model, job.architecture.temperature)
    return model, frozenset(name for name, _ in model.named_parameters() if not name.startswith("encoder."))


def tokenised(
    corpus: Corpus, rows: np.ndarray, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> Texts:
    """Tokenise rows of the corpus, once for all epochs."""
    table = corpus.table.iloc[rows]
    pairs = list(zip(table["text"], table["text_pair"], strict=True))
    return Texts(
        tokens=tokenise(tokenizer, pairs, max_length),
        y=corpus.y[rows],
        language=table["language"].to_numpy(dtype=str),
        ids=tuple(table["id"]),
    )


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Compute with so many threads: the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
