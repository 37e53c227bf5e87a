"""Folders of trained classifiers: written whole, read back with what is needed to label texts.

    model = load_model(Path("results/runs/demo/models/mcbert"))

A folder holds weights (safetensors), config with label names, tokenizer, and of our own models the Python
file that loads them where this project is not (`finetune.export.hub`); the tokenizer's ``model_max_length``
is the length that the model was made with, so that every reader of the folder cuts texts there.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import math
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from features.encoder import hardware
from features.encoder.blocks import quiet
from features.encoder.files import EncoderError, first_sentence, resolve
from features.encoder.tokens import load_tokenizer
from finetune.calibration import softmax
from finetune.evaluation import Tokens, compute_logits, compute_states
from finetune.export import hub
from finetune.export.estimator import FILE, Estimator, read_estimator
from finetune.model import MCBertConfig

LONGEST = 1_000_000  # tokens; the library's word for "no limit" is 1e30


@dataclasses.dataclass(frozen=True, kw_only=True)
class SavedModel:
    """A trained classifier, ready to label texts."""

    model: PreTrainedModel
    """float32, in evaluation mode, on this machine's best device."""

    tokenizer: PreTrainedTokenizerBase
    """Its own."""

    labels: tuple[str, ...]
    """Names in the order of the codes."""

    max_length: int
    """Tokens read of a text, special tokens included."""

    temperature: float
    """softmax(logits / temperature) are the probabilities."""

    estimator: Estimator | None = None
    """What decides from the model's pooled states, where the model has no head."""

    def decide(self, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Return codes, int64 (n_texts,), and probabilities, float64 (n_texts, n_labels)."""
        if self.estimator is not None:
            return self.estimator.decide(compute_states(self.model, self.tokenizer, tokens))
        logits = compute_logits(self.model, self.tokenizer, tokens)
        if not np.isfinite(logits).all():
            raise EncoderError(
                "--model: its scores are not numbers; accepted: a model whose weights are whole"
            )
        return logits.argmax(axis=1), softmax(logits / self.temperature)


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    max_length: int,
    extra: Mapping[str, bytes] | None = None,
) -> None:
    """Save weights, config with label names, and tokenizer; the folder appears whole or not at all.

    Parameters
    ----------
    max_length : int
        Tokens kept of a text; becomes the saved tokenizer's limit.
    extra : mapping of file name to content, optional
        What else the folder shall hold.
    """
    content = dict(extra or {})
    if isinstance(model.config, MCBertConfig):
        model.config.auto_map = dict(hub.AUTO_MAP)
        content[hub.FILE] = hub.modelling_source().encode()
    with whole_folder(folder) as partial:
        with quiet():
            model.save_pretrained(partial)
        save_tokenizer(tokenizer, partial, max_length)
        for name, written in content.items():
            (partial / name).write_bytes(written)


def save_tokenizer(tokenizer: PreTrainedTokenizerBase, folder: Path, max_length: int) -> None:
    """Save a tokenizer whose limit is the model's."""
    limited = copy.deepcopy(tokenizer)
    limited.model_max_length = max_length
    limited.save_pretrained(folder)


@contextlib.contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Give a folder to write in, which takes the place of `folder` when the block ends without error."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def load_model(name: str | os.PathLike[str], *, key: str = "--model") -> SavedModel:
    """Load a classifier that `save_model` wrote, or any of the library's with label names and safetensors.

    Parameters
    ----------
    name : str or Path
        A folder, or a name on the hub.
    key : str
        What names it, for messages.

    Raises
    ------
    EncoderError
        No such model; one without a trained classification head.
    """
    name = str(name)
    folder = resolve(name, key=key)
    config = read_config(folder, f"{key}: {name}")
    estimating = (folder / FILE).is_file()
    kind = AutoModel if estimating else AutoModelForSequenceClassification
    model = load_weights(kind, folder, config, f"{key}: {name}")
    labels, temperature = _decided_by(config, f"{key}: {name}")
    version = str(getattr(config, "scikit_learn", ""))
    module: nn.Module = model
    module.eval().to(hardware.device())
    tokenizer = load_tokenizer(folder, where=f"{key}: {name}")
    return SavedModel(
        model=model,
        tokenizer=tokenizer,
        labels=labels,
        max_length=longest_text(tokenizer, config, f"{key}: {name}"),
        temperature=temperature,
        estimator=read_estimator(folder, temperature=temperature, version=version) if estimating else None,
    )


def _decided_by(config: Any, where: str) -> tuple[tuple[str, ...], float]:
    """Return the names of the labels and the temperature of a model's configuration."""
    labels = tuple(config.id2label[code] for code in sorted(config.id2label))
    if len(set(labels)) < len(labels):
        raise EncoderError(
            f"{where}: config.json: id2label: got {', '.join(labels)}; accepted: each name once"
        )
    temperature = getattr(config, "probability_temperature", 1.0)
    if not isinstance(temperature, int | float) or not 0 < temperature < math.inf:
        raise EncoderError(
            f"{where}: config.json: probability_temperature: got {temperature!r}, accepted: a number above 0"
        )
    return labels, float(temperature)


def read_config(folder: Path, where: str, *, trust: bool = False) -> Any:
    """Return a model's configuration; `where` opens the message of the `EncoderError` when there is none."""
    try:
        return AutoConfig.from_pretrained(folder, trust_remote_code=trust)
    except (ValueError, OSError, KeyError, TypeError, AttributeError) as error:
        reason = first_sentence(error)
        raise EncoderError(f"{where}: config.json: of no model that is known ({reason})") from error


def load_weights(
    kind: Any,
    folder: Path,
    config: PreTrainedConfig,
    where: str,
    *,
    what: str = "classifier of texts",
    accepted: str = "a folder that finetune or export wrote, such as results/runs/demo/models/mcbert",
) -> PreTrainedModel:
    """Load a model that is there as a whole, in float32, from safetensors.

    Parameters
    ----------
    kind : type
        A class of the library, or one of its ``Auto`` classes.
    where : str
        Opens messages.
    what, accepted : str
        What the folder is to hold and where such folders come from, for messages.

    Raises
    ------
    EncoderError
        Another kind of model, damaged files, weights that are missing.
    """
    try:
        with quiet():
            model, report = kind.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except ValueError as error:
        raise EncoderError(f"{where}: not a {what}: {first_sentence(error)}") from error
    except (SafetensorError, OSError, RuntimeError) as error:
        raise EncoderError(f"{where}: its weights cannot be read ({first_sentence(error)})") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise EncoderError(
            f"{where}: {len(missing)} weights are missing, first {missing[0]}: "
            f"not a trained {what}; accepted: {accepted}"
        )
    hardware.align(model)
    loaded: PreTrainedModel = model
    return loaded


def longest_text(tokenizer: PreTrainedTokenizerBase, config: object, where: str) -> int:
    """Return the most tokens of a text that a model reads, special ones included."""
    positions = getattr(config, "max_position_embeddings", LONGEST)
    length = min(int(tokenizer.model_max_length), int(positions))
    if length >= LONGEST:
        raise EncoderError(
            f"{where}: tokenizer_config.json has no model_max_length; accepted: a number of tokens"
        )
    return length
