"""Train one system with one seed, from corpus to result file: the unit of work of the stage finetune.

python -m pytest tests/finetune/test_systems.py
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert import files
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.parallel import MOST, ParallelFolder
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.finetune.baseline import build_baseline
from mcbert.finetune.calibration import Calibration, calibrate
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.jobs import FinetuneJob, finish, torch_threads
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.probe_head import start_from_probe
from mcbert.finetune.rows import freeze_rows, predictions, score_rows, training_row
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.texts import read_texts, watched_dev
from mcbert.finetune.training import ranks
from mcbert.finetune.training.callback import Training
from mcbert.finetune.training.data import Parallel, Texts, TrainingData, classification
from mcbert.finetune.training.dropout import suited_to
from mcbert.finetune.training.fit import fit, within_memory
from mcbert.results.probabilities import softmax


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setup:
    """The texts, tokenizer and untrained model of a classifier's training."""

    corpus: Corpus
    """All texts."""

    tokenizer: PreTrainedTokenizerBase
    """The encoder's."""

    model: PreTrainedModel
    """Not trained yet."""

    head_parameters: frozenset[str]
    """Names of the parameters that take the head's learning rate."""

    rows: Mapping[str, np.ndarray]
    """Rows of the corpus, by split."""

    texts: Mapping[str, Texts]
    """These texts, tokenised."""

    data: TrainingData
    """Texts of train, and those of dev that are scored in training, as `fit` takes them."""


def train_system(job: FinetuneJob) -> str:
    """Train, choose the epoch, score test once with its weights, write the result.

    Returns
    -------
    str
        Path of the result file.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        setup = set_up(job, ("train", "dev", "test"))
        model, tokenizer, texts = setup.model, setup.tokenizer, setup.texts
        training = fit(
            model,
            setup.data,
            settings=job.settings,
            seed=job.seed,
            monitor=job.monitor,
            head_parameters=setup.head_parameters,
            out=job.output(),
        )
        with within_memory(lambda: "the dev and test texts"):
            logits = {
                split: compute_logits(model, tokenizer, texts[split].tokens, together=True)
                for split in ("dev", "test")
            }
            dev_codes = dev_predicted(setup, training, logits["dev"])
            predicted = {"dev": dev_codes, "test": logits["test"].argmax(axis=1)}
            source = texts["dev"].language == job.source_language
            calibration = calibrate(model, logits["dev"][source], texts["dev"].y[source])
        if ranks.rank():
            return str(job.result)  # the first process writes it
        if job.save_model:
            model.config.text_pairs = setup.corpus.train_pairs
            save_model(model, tokenizer, job.out / "models" / job.system, max_length=job.settings.max_length)
    content = {
        "stamp": dict(job.stamp),
        "finetune": score_rows(job, training, texts["test"].scores(logits["test"])),
        "trainings": [training_row(job, training)],
        "freezing": freeze_rows(job, training),
        "predictions": predictions(
            job, setup.corpus, setup.rows, predicted, probabilities(logits, predicted, calibration)
        ),
        "calibration": dataclasses.asdict(calibration) if calibration else None,
    }
    return finish(job, content, training, began)


def probabilities(
    logits: Mapping[str, np.ndarray], predicted: Mapping[str, np.ndarray], calibration: Calibration | None
) -> dict[str, np.ndarray]:
    """Return the calibrated probability of each predicted label, float64 (n_texts,), by split."""
    divisor = calibration.temperature if calibration else 1.0
    return {
        split: softmax(logits[split] / divisor)[np.arange(len(codes)), codes]
        for split, codes in predicted.items()
    }


def dev_predicted(setup: Setup, training: Training, logits: np.ndarray | None = None) -> np.ndarray:
    """Return what the weights kept predict of every dev text, int64 (n_dev,), in the training's precision.

    `logits`: their logits of these texts in float32, where they are known.
    """
    dev, model = setup.texts["dev"], setup.model
    if len(training.dev_predicted) == len(dev.y):  # all were scored in training
        return training.dev_predicted
    half = training.precision != "float32"
    if half or logits is None:
        products = torch.autocast(
            model.device.type, getattr(torch, training.precision) if half else None, half
        )
        with suited_to(model, training.precision), products:
            logits = compute_logits(model, setup.tokenizer, dev.tokens, together=True)
    codes: np.ndarray = logits.argmax(axis=1).astype(np.int64)
    return codes


def set_up(job: FinetuneJob, splits: Sequence[str]) -> Setup:
    """Read the corpus, tokenise splits of it, train and dev among them, and build the model."""
    corpus, tokenizer, rows, texts = _tokenised_once(
        job.corpus,
        files.sha256(job.corpus),
        job.source_language,
        encoder=job.encoder,
        prompt=job.prompt,
        max_length=job.settings.max_length,
        splits=tuple(splits),
    )
    transformers.set_seed(job.seed)
    model, head_parameters = build(job, corpus.labels)
    sentences = None
    if job.parallel is not None:
        sentences = tokenised_parallel(job.parallel, tokenizer, job.settings)
    watched = texts["dev"].taken(watched_dev(corpus, job.settings.eval_texts))
    balanced = job.settings.class_weight == "balanced"
    return Setup(
        corpus=corpus,
        tokenizer=tokenizer,
        model=model,
        head_parameters=head_parameters,
        rows=rows,
        texts=texts,
        data=classification(
            tokenizer,
            texts["train"],
            watched,
            source_language=job.source_language,
            balanced=balanced,
            parallel=sentences,
        ),
    )


def tokenised_parallel(
    parallel: ParallelFolder, tokenizer: PreTrainedTokenizerBase, settings: FinetuneSettings
) -> Parallel:
    """Tokenise the sentences that trainings choose by: of each language `eval_texts` pairs, or `MOST`."""
    pairs = parallel.pairs(min(settings.eval_texts or MOST, MOST))
    texts = [(text, "") for column in ("text", "text_pair") for text in pairs[column]]
    return Parallel(
        tokens=tokenise(tokenizer, texts, settings.max_length),
        pairs=parallel.numbered(pairs, np.ones(len(pairs), dtype=bool)),
    )


@functools.lru_cache(maxsize=1)  # the trainings of a process have their texts in common
def _tokenised_once(
    path: Path,
    checksum: str,  # tells a file from an earlier one of its name
    source_language: str,
    *,
    encoder: Path,
    prompt: str,
    max_length: int,
    splits: tuple[str, ...],
) -> tuple[Corpus, PreTrainedTokenizerBase, dict[str, np.ndarray], dict[str, Texts]]:
    """Return the corpus, the tokenizer, and of each split its rows and tokenised texts."""
    corpus = read_texts(path, source_language)
    tokenizer = load_tokenizer(encoder, prompt=prompt)
    rows = {split: corpus.rows(split=split) for split in splits}
    texts = {split: tokenised(corpus, rows[split], tokenizer, max_length=max_length) for split in rows}
    return corpus, tokenizer, rows, texts


def build(job: FinetuneJob, labels: Sequence[str]) -> tuple[PreTrainedModel, frozenset[str]]:
    """Build a system's model.

    Returns
    -------
    model : PreTrainedModel
        Not trained yet.
    head_parameters : frozenset of str
        Names of the parameters of the head, and of those that the encoder's files lack.
    """
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
        start_from_probe(job.architecture.probe, model, job.architecture.temperature)
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
