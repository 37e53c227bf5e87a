"""A trained classifier whose softmax(logits) means what it says, however the model is loaded.

python -m pytest tests/finetune/test_calibrated.py
"""

from __future__ import annotations

import logging

import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.finetune.calibration import Calibration, calibration_of
from mcbert.finetune.evaluation import compute_logits
from mcbert.finetune.model_config import MCBertConfig
from mcbert.finetune.training.tasks import Texts

log = logging.getLogger(__name__)


def calibrate_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, dev: Texts, source_language: str
) -> Calibration | None:
    """Divide a model's logits by the temperature that fits the source language's dev texts; no label changes.

    Parameters
    ----------
    dev : Texts
        Of all languages.

    Returns
    -------
    Calibration or None
        None, and the model as it was, where there are no such texts, or no head whose scores could be scaled.
    """
    rows = [row for row, language in enumerate(dev.language) if language == source_language]
    if not rows:
        return None
    logits = compute_logits(model, tokenizer, [dev.tokens[row] for row in rows], together=True)
    found = calibration_of(logits, dev.y[rows])
    return found if divide_logits(model, found.temperature) else None


def divide_logits(model: PreTrainedModel, temperature: float) -> bool:
    """Have a model give logits / temperature; return whether it could be done.

    A model of this project divides by itself. The weights of one of the library's take the division in: what
    loads it knows of no temperature.
    """
    if isinstance(model.config, MCBertConfig):
        model.config.probability_temperature *= temperature
        return True
    inner = set(model.base_model.modules())
    heads = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        and module not in inner
        and module.out_features == model.config.num_labels
    ]
    if not heads:
        log.warning("%s: its head is no linear layer: not calibrated", type(model).__name__)
        return False
    with torch.no_grad():
        for parameter in heads[-1].parameters():
            parameter.div_(temperature)
    return True
