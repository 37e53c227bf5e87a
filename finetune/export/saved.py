"""Folders of trained classifiers: written whole, read back with what is needed to label texts.

    model = load_model(Path("results/runs/demo/models/mcbert"))

A folder holds weights (safetensors), config with label names, tokenizer, the checksums of all of them, and of
our own models the Python file that loads them where this project is not (`finetune.export.hub`). The
tokenizer's ``model_max_length`` is the length that the model was made with: every reader cuts texts there.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import errno
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import (
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    MODEL_MAPPING,
)

from mcbert.features.encoder import hardware, loading
from mcbert.features.encoder.files import EncoderError, require_own
from mcbert.features.encoder.loading import quiet, read_config
from mcbert.features.encoder.tokens import load_tokenizer, most_tokens, require_vocabulary
from mcbert.files import writing_folder
from mcbert.finetune.evaluation import Tokens, compute_logits, compute_states
from mcbert.finetune.export import checksums, hub
from mcbert.finetune.export.estimator import FILE, Estimator, read_estimator
from mcbert.finetune.model_config import MCBertConfig
from mcbert.finetune.weights import require_finite_weights
from mcbert.results.probabilities import softmax

LONGEST = 1_000_000  # tokens; transformers' "no limit" is 1e30


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

    text_pairs: bool | None = None
    """Whether it was trained on pairs of texts; None where its folder does not say so."""

    estimator: Estimator | None = None
    """The classifier over the model's pooled states, where the model has no head."""

    def decide(self, tokens: Tokens) -> tuple[np.ndarray, np.ndarray]:
        """Return codes, int64 (n_texts,), and probabilities, float64 (n_texts, n_labels)."""
        if self.estimator is not None:
            return self.estimator.decide(compute_states(self.model, self.tokenizer, tokens))
        logits = compute_logits(self.model, self.tokenizer, tokens)
        if not np.isfinite(logits).all():
            raise EncoderError(
                "--model: its scores are not numbers; accepted: a model whose weights are whole"
            )
        return logits.argmax(axis=1), softmax(logits)


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
    """Give a folder to write in, which takes the place of `folder` when the block ends without error.

    Its files get their checksums beside them, and the mode that the umask gives.
    """
    try:
        with writing_folder(folder) as partial:
            yield partial
            checksums.seal(partial)
    except (OSError, SafetensorError) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or str(error)
        raise OSError(number or errno.EIO, f"cannot be written: {reason}", str(folder)) from error


def load_model(name: str | os.PathLike[str], *, key: str = "--model") -> SavedModel:
    """Load a classifier of `save_model`, or any of transformers' own with label names and safetensors.

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
    where = f"{key}: {name}"
    folder, is_checked = checksums.resolve_intact(name, key=key)
    if not is_checked:
        checksums.say_unchecked(where)
    config = read_config(folder, where, trust=False)
    estimating = (folder / FILE).is_file()
    if estimating or isinstance(config, MCBertConfig):
        require_own(folder)
    kind = MODEL_MAPPING if estimating else MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING
    model = load_weights(kind, folder, config, where)
    module: nn.Module = model
    module.eval().to(hardware.device())
    tokenizer = load_tokenizer(folder, where=where)
    require_vocabulary(tokenizer, model, where)
    return SavedModel(
        model=model,
        tokenizer=tokenizer,
        labels=_label_names(config, where),
        max_length=longest_text(tokenizer, model, where),
        text_pairs=pairs if isinstance(pairs := getattr(config, "text_pairs", None), bool) else None,
        estimator=_estimator(folder, config) if estimating else None,
    )


def _estimator(folder: Path, config: Any) -> Estimator:
    version, temperature = str(getattr(config, "scikit_learn", "")), config.probability_temperature
    found = read_estimator(folder, temperature=temperature, version=version)
    n_labels = len(config.id2label)
    if len(found.fitted.classes_) != n_labels:
        raise EncoderError(
            f"{folder / FILE}: got a classifier of {len(found.fitted.classes_)} labels, config.json names "
            f"{n_labels}"
        )
    return found


def _label_names(config: Any, where: str) -> tuple[str, ...]:
    """Return the names of the labels in a model's configuration, in the order of the codes."""
    named = config.id2label
    labels = tuple(named[code] for code in sorted(named))
    if len(set(labels)) < len(labels):
        shown = ", ".join(map(str, labels))
        raise EncoderError(f"{where}: config.json: id2label: got {shown}; accepted: each name once")
    if sorted(named) != list(range(len(named))) or not all(isinstance(label, str) for label in labels):
        raise EncoderError(
            f"{where}: config.json: id2label: got {named!r}; accepted: a name for each code, 0, 1, and so on"
        )
    return labels


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
    kind : mapping
        From configurations to classes, of transformers' ``Auto`` classes.
    where : str
        Opens messages.
    what, accepted : str
        What the folder is to hold and where such folders come from, for messages.

    Raises
    ------
    EncoderError
        Another kind of model, damaged files, weights that are missing.
    """
    if type(config) not in kind:
        raise EncoderError(
            f"{where}: not a {what}: {config.model_type!r} has no such model; accepted: {accepted}"
        )
    model, newly_initialised = loading.load_weights(kind, folder, config, where)
    missing = sorted(newly_initialised)
    if missing:
        raise EncoderError(
            f"{where}: {len(missing)} weights are missing, first {missing[0]}: "
            f"not a trained {what}; accepted: {accepted}"
        )
    require_finite_weights(model, where)
    return model


def longest_text(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, where: str) -> int:
    """Return the most tokens of a text that a model reads, special ones included."""
    length = int(tokenizer.model_max_length)
    ours = isinstance(model.config, MCBertConfig)
    reader: Any = model.encoder if ours else model
    readable = most_tokens(reader) or LONGEST
    if not ours:
        length = min(length, readable)
    elif readable < length < LONGEST:  # ours say in the tokenizer what they were made with
        raise EncoderError(
            f"{where}: tokenizer_config.json: model_max_length: got {length}, accepted: at most {readable}, "
            "the tokens that its encoder reads of a text"
        )
    if length >= LONGEST:
        raise EncoderError(
            f"{where}: tokenizer_config.json has no model_max_length; accepted: a number of tokens"
        )
    return length
