"""One training, (system, seed), from corpus to its result file; the unit of work that an executor runs.

    python -m pytest tests/finetune/test_job.py

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

from features.corpus import Corpus
from features.encoder.blocks import quiet
from features.encoder.tokens import load_tokenizer, tokenise
from features.encoder.trust import encoder_identity
from finetune.baseline import build_baseline
from finetune.callback import Texts, Training, Watch
from finetune.evaluation import Evaluation, Score, compute_logits, score_languages
from finetune.model import MCBertForSequenceClassification
from finetune.probe import read_start
from finetune.rules import Schedule, rule_of
from finetune.saved import save_model
from finetune.settings import WATCHING, FinetuneSettings
from finetune.trainer import Output, train, within_memory
from finetune.winner import Architecture
from results import files, tables
from results.schema import TEXTS

log = logging.getLogger(__name__)

SEES = ("last", "source-dev", "target-dev")  # protocols by what they look at, the least first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Job:
    """A training to run; paths and plain values, so that it travels to a worker cheaply."""

    system: str
    """baseline, mcbert or mcbert_wf."""

    seed: int
    """Of the head, the order of the texts and the dropout."""

    settings: FinetuneSettings
    """How to train."""

    architecture: Architecture
    """What to train."""

    freeze: Schedule
    """What the settings' rule may freeze, by epoch or turn; empty for systems without freezing."""

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
        """Folder of what a killed training goes on from; removed with the result's writing."""
        return self.out / "checkpoints" / self.name


def run_job(job: Job) -> str:
    """Train, choose the epoch, score test once with its weights, write the result.

    Returns
    -------
    str
        Path of the result file.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        corpus = read_texts(job.corpus, job.source_language)
        tokenizer = load_tokenizer(job.encoder)
        transformers.set_seed(job.seed)
        model, fresh = build(job, corpus.labels)
        watch = Watch(
            rule=rule_of(job.settings, job.freeze, job.source_language),
            protocol=job.settings.protocol,
            source_language=job.source_language,
            gradient_norms=bool(job.freeze) and job.settings.freeze_rule == "gradient",
            fresh=fresh,
        )
        rows = {split: corpus.rows(split=split) for split in ("train", "dev", "test")}
        texts = {
            split: tokenised(corpus, rows[split], tokenizer, max_length=job.settings.max_length)
            for split in rows
        }
        training = train(
            model,
            tokenizer,
            settings=job.settings,
            seed=job.seed,
            texts=(texts["train"], texts["dev"]),
            watch=watch,
            out=Output(
                checkpoints=job.checkpoints,
                log=job.out / "tensorboard" / job.name,
                arguments=arguments_of(job),
            ),
        )
        with within_memory(lambda: "the test texts"):
            test = compute_logits(model, tokenizer, texts["test"].tokens)
        if job.save_model:
            save_model(model, tokenizer, job.out / "models" / job.system, max_length=job.settings.max_length)
    predicted = {"dev": training.dev_predicted, "test": test.argmax(axis=1)}
    content = {
        "stamp": dict(job.stamp),
        "finetune": score_rows(job, training, score_languages(test, texts["test"].y, texts["test"].language)),
        "freezing": freeze_rows(job, training),
        "predictions": predictions(job, corpus, rows, predicted),
    }
    job.result.parent.mkdir(parents=True, exist_ok=True)
    files.write_text(job.result, json.dumps(content, ensure_ascii=False) + "\n")
    shutil.rmtree(job.checkpoints, ignore_errors=True)
    chosen = training.history[training.chosen]
    log.info("finetune: %s: %.1f s, epoch %d, step %d chosen",
             job.name, time.monotonic() - began, chosen.epoch, chosen.step)  # fmt: skip
    return str(job.result)


def arguments_of(job: Job) -> dict[str, Any]:
    """Return what a training depends on besides settings and seed; a checkpoint of others is refused."""
    architecture = dataclasses.asdict(job.architecture)
    return {
        "system": job.system,
        "architecture": {
            name: files.sha256(value) if isinstance(value, Path) else value
            for name, value in architecture.items()
        },
        "freeze": {str(epoch): list(layers) for epoch, layers in job.freeze.items()},
        "corpus": files.sha256(job.corpus),
        "source_language": job.source_language,
        "encoder": encoder_identity(job.encoder),
        "transformers": transformers.__version__,
    }


def protocol_of(job: Job) -> str:
    """Return the protocol that a system's results are stamped with: of its choices, the one that saw most.

    The baseline chooses an epoch only; the others also have layers and pooling that phase one chose, and
    one that freezes by dev scores the moment.
    """
    chosen = [job.settings.protocol] + ([] if job.system == "baseline" else [job.architecture.protocol])
    if job.freeze and job.settings.freeze_rule in WATCHING:
        chosen.append(job.settings.freeze_watch)
    return max(chosen, key=SEES.index)


def read_texts(path: Path, source_language: str) -> Corpus:
    """Read the run's texts.csv, with the cells that `results.tables` neutralised restored."""
    return Corpus.of(tables.read(TEXTS, path), source_language, str(path))


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


def score_rows(job: Job, training: Training, test: Mapping[str, Score]) -> list[dict[str, Any]]:
    """Return the rows of finetune.csv: dev of every evaluation, test of the chosen one."""
    chosen = training.history[training.chosen]
    scored = [("dev", evaluation) for evaluation in training.history]
    scored.append(("test", dataclasses.replace(chosen, scores=test)))
    return [_score_row(job, e, split, language) | {"chosen": e.step == chosen.step}
            for split, e in scored for language in e.scores]  # fmt: skip


def _score_row(job: Job, evaluation: Evaluation, split: str, language: str) -> dict[str, Any]:
    is_baseline = job.system == "baseline"
    return {
        "system": job.system,
        "seed": job.seed,
        "epoch": evaluation.epoch,
        "step": evaluation.step,
        "language": language,
        "split": split,
        **dataclasses.asdict(evaluation.scores[language]),
        "layers": "" if is_baseline else layers_text(job.architecture.layers),
        "pooling": "" if is_baseline else job.architecture.pooling,
        "frozen_layers": layers_text(evaluation.frozen),
        "protocol": protocol_of(job),
        "seconds": evaluation.seconds,
        "train_loss": evaluation.train_loss,
    }


def freeze_rows(job: Job, training: Training) -> list[dict[str, Any]]:
    """Return the rows of freezing.csv."""
    return [
        {
            **dataclasses.asdict(event),
            "system": job.system,
            "seed": job.seed,
            "layers": layers_text(event.layers),
        }
        for event in training.events
    ]


def predictions(
    job: Job, corpus: Corpus, rows: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray]
) -> list[dict[str, Any]]:
    """Return the rows of predictions_finetune.csv: dev and test at the chosen epoch."""
    return [
        {
            "system": job.system,
            "seed": job.seed,
            "id": row.id,
            "language": row.language,
            "split": split,
            "label": row.label,
            "predicted": corpus.labels[code],
        }
        for split, codes in predicted.items()
        for row, code in zip(corpus.table.iloc[rows[split]].itertuples(), codes, strict=True)
    ]


def layers_text(layers: Sequence[int]) -> str:
    """Return layers as the tables have them: ``6+8+11``."""
    return "+".join(map(str, sorted(layers)))


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Compute with so many threads: the last bits of a sum depend on their number."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
