"""Export: a candidate of phase one as a model folder, the frozen encoder with the searched classifier.

    python -m mcbert export --config demo
    python -m mcbert export --config demo --candidate 3

A linear classifier over standardised pooled states is a linear layer over the raw ones: the standardisation
folds into its weights. What is no head of weights is kept beside the encoder as scikit-learn's object, by
skops (`finetune.export.estimator`).
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import torch
from transformers import PreTrainedModel

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.calibration import Calibration, fit_calibration
from mcbert.finetune.export.cards import describe_searched, with_reading
from mcbert.finetune.export.estimator import FILE, Estimator, require_exportable
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.model import MCBertForSequenceClassification, MCBertModel
from mcbert.finetune.probe_head import LinearHead, fold, read_probe
from mcbert.finetune.winner import read_winner

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportInputs:
    """Inputs of the export."""

    winner: Path
    """``winner.json`` of phase one, named in messages."""

    store: Path
    """Folder of the feature cache that was searched."""

    corpus: Corpus
    """The corpus whose rows the cache has."""

    encoder: Path
    """Local folder of the encoder."""

    encoder_name: str
    """Its name as stamped on results."""

    max_length: int
    """Tokens kept of a text when the cache was made."""

    prompt: str = ""
    """Prompt before each text when the cache was made."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class FittedCandidate:
    """A fitted candidate."""

    record: Mapping[str, Any]
    """The content of winner.json, of this candidate."""

    probe: Mapping[str, np.ndarray] | None = None
    """Of a linear one: the arrays of `fold`."""

    estimator: Any = None
    """Of another: fitted on raw states, its standardisation the first step."""


def read_chosen(path: Path, corpus: Corpus, encoder_name: str) -> FittedCandidate:
    """Read the winner and its probe, which lies beside winner.json; nothing in the files is executed.

    Raises
    ------
    ValueError
        Files that are damaged, of other labels or another encoder.
    """
    record = read_winner(path, corpus.labels, encoder_name)
    probe = path.with_name("probe.npz")
    if record.get("probe", probe.name) is None:
        return FittedCandidate(record=record)
    return FittedCandidate(record=record, probe=read_probe(probe))


def export(inputs: ExportInputs, chosen: FittedCandidate, folder: Path) -> list[str]:
    """Write a candidate as a model.

    Parameters
    ----------
    chosen : FittedCandidate
        With a probe or an estimator.
    folder : Path
        Where to; replaced when it is there.

    Returns
    -------
    list of str
        Names of the files written in `folder`.

    Raises
    ------
    ValueError
        A candidate that was searched on states that the model would not compute, or a classifier that can be
        kept neither as weights nor by skops.
    """
    store = FeatureStore.open(inputs.store)
    if store.fingerprint["special_tokens"] != "include":
        raise ValueError(
            f'{inputs.winner}: it was searched with extract.special_tokens = "exclude", but a model pools '
            'over the special tokens too; search with "include" to export'
        )
    if chosen.probe is not None:
        model, extra = _headed(inputs, chosen, store, fold(chosen.probe))
    else:
        model, extra = _estimating(inputs, chosen, store)
    model.config.text_pairs = inputs.corpus.train_pairs
    card = extra["README.md"].decode()
    card = with_reading(card, pairs=inputs.corpus.train_pairs, prompt=inputs.prompt)
    extra["README.md"] = card.encode()
    save_model(
        model,
        load_tokenizer(inputs.encoder, prompt=inputs.prompt),
        folder,
        max_length=inputs.max_length,
        extra=extra,
    )
    log.info("export: %s -> %s", chosen.record["candidate_id"], folder)
    return ["config.json", "model.safetensors", *extra]


def _headed(
    inputs: ExportInputs, chosen: FittedCandidate, store: FeatureStore, head: LinearHead
) -> tuple[PreTrainedModel, dict[str, bytes]]:
    record, labels = chosen.record, inputs.corpus.labels
    calibration = _calibration(lambda X: head.logits(X, len(labels)), store, inputs, record)
    model = MCBertForSequenceClassification.from_encoder(
        inputs.encoder,
        record["layers"],
        pooling=record["pooling"],
        dropout=0.0,
        labels=labels,
        decision=head.decision,
    )
    model.config.probability_temperature = calibration.temperature if calibration else 1.0
    with torch.no_grad():
        model.classifier.weight.copy_(torch.from_numpy(head.weights.T))
        model.classifier.bias.copy_(torch.from_numpy(head.bias))
    card = describe_searched(record, head.decision, inputs.encoder, calibration)
    return model, {"README.md": card.encode()}


def _estimating(
    inputs: ExportInputs, chosen: FittedCandidate, store: FeatureStore
) -> tuple[PreTrainedModel, dict[str, bytes]]:
    record, labels = chosen.record, inputs.corpus.labels
    content = require_exportable(chosen.estimator, len(labels), f"{record['candidate_id']}")
    estimator = Estimator(fitted=chosen.estimator)
    calibration = _calibration(estimator.scores, store, inputs, record)
    model = MCBertModel.from_encoder(
        inputs.encoder, record["layers"], pooling=record["pooling"], dropout=0.0, labels=labels
    )
    model.config.probability_temperature = calibration.temperature if calibration else 1.0
    model.config.scikit_learn = sklearn.__version__
    card = describe_searched(record, "estimator", inputs.encoder, calibration)
    return model, {"README.md": card.encode(), FILE: content}


def _calibration(
    scores: Callable[[np.ndarray], np.ndarray],
    store: FeatureStore,
    inputs: ExportInputs,
    record: Mapping[str, Any],
) -> Calibration | None:
    return fit_calibration(scores, store, inputs.corpus, layers=record["layers"], pooling=record["pooling"])
