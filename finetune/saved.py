"""Folders of trained classifiers: written whole, read back with what is needed to label texts.

    model = load_model(Path("results/runs/demo/models/mcbert"))

A folder holds weights (safetensors), config with label names, tokenizer; the tokenizer's ``model_max_length``
is the length that the model was made with, so that every reader of the folder cuts texts there.
"""

from __future__ import annotations

import copy
import dataclasses
import os
import shutil
from pathlib import Path

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

import finetune.model  # noqa: F401  registers the class
from features.encoder import hardware
from features.encoder.blocks import quiet
from features.encoder.files import EncoderError, resolve
from features.encoder.tokens import load_tokenizer

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


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    max_length: int,
    card: str = "",
) -> None:
    """Save weights, config with label names, and tokenizer; the folder appears whole or not at all.

    Parameters
    ----------
    max_length : int
        Tokens kept of a text; becomes the saved tokenizer's limit.
    card : str
        The folder's README.md; none when empty.
    """
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    with quiet():
        model.save_pretrained(partial)
    limited = copy.deepcopy(tokenizer)
    limited.model_max_length = max_length
    limited.save_pretrained(partial)
    if card:
        (partial / "README.md").write_text(card, encoding="utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def load_model(name: str, *, key: str = "--model") -> SavedModel:
    """Load a classifier that `save_model` wrote, or any of the library's with label names and safetensors.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    key : str
        What names it, for messages.

    Raises
    ------
    EncoderError
        No such model; one without a trained classification head.
    """
    folder = resolve(name, key=key)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    try:
        with quiet():
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                config=config,
                dtype=torch.float32,
                trust_remote_code=False,
                use_safetensors=True,
                output_loading_info=True,
            )
    except ValueError as error:
        raise EncoderError(f"{key}: {name}: not a classifier of texts: {error}") from error
    missing = sorted(report["missing_keys"])
    if missing:
        raise EncoderError(
            f"{key}: {name}: {len(missing)} weights are missing, first {missing[0]}: "
            "not a trained classifier; accepted: a folder that finetune or export wrote, such "
            "as results/runs/demo/models/mcbert"
        )
    module: nn.Module = model
    module.eval().to(hardware.device())
    tokenizer = load_tokenizer(folder)
    return SavedModel(
        model=model,
        tokenizer=tokenizer,
        labels=tuple(config.id2label[code] for code in sorted(config.id2label)),
        max_length=_max_length(tokenizer, config, f"{key}: {name}"),
        temperature=float(getattr(config, "probability_temperature", 1.0)),
    )


def _max_length(tokenizer: PreTrainedTokenizerBase, config: object, where: str) -> int:
    positions = getattr(config, "max_position_embeddings", LONGEST)
    length = min(int(tokenizer.model_max_length), int(positions))
    if length >= LONGEST:
        raise EncoderError(
            f"{where}: tokenizer_config.json has no model_max_length; accepted: a number of tokens"
        )
    return length
