"""The plain baseline: the encoder's own classification head on its [CLS] state.

python -m pytest tests/finetune/test_model.py
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import torch
from torch import nn
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from mcbert.features.encoder.files import told
from mcbert.features.encoder.loading import load_weights, read_config
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.features.encoder.trust import trusts
from mcbert.finetune.model import label_names

log = logging.getLogger(__name__)

DROPOUT_NAMES = ("classifier_dropout", "seq_classif_dropout", "summary_last_dropout")
UNDECLARED = {"deberta": "cls_dropout", "deberta-v2": "cls_dropout"}  # read by the head, not in the config


def build_baseline(
    folder: str | os.PathLike[str], *, dropout: float, labels: Sequence[str]
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Build the encoder's own classification head on its [CLS] state.

    Returns
    -------
    model : PreTrainedModel
        float32, whole depth.
    newly_initialised : frozenset of str
        Names of the parameters that the encoder's files lack.
    """
    where = f"encoder.path: {folder}"
    config = read_config(folder, where)
    for name, value in label_names(labels).items():
        setattr(config, name, value)
    if config.pad_token_id is None:  # heads of causal families look for a text's last token
        config.pad_token_id = load_tokenizer(folder).pad_token_id
    for name in DROPOUT_NAMES:
        if hasattr(config, name):
            setattr(config, name, dropout)
    if config.model_type in UNDECLARED:
        setattr(config, UNDECLARED[config.model_type], dropout)
    if trusts(folder) and type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        model, newly_initialised = _by_own_code(folder, config, where)
    else:
        model, newly_initialised = load_weights(
            MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING, folder, config, where, new_head=True
        )
    _drop(model, dropout)
    inner = sorted(name for name in newly_initialised if name.startswith(f"{model.base_model_prefix}."))
    if inner:
        log.info("baseline: the encoder has no %s; these weights are newly initialised", ", ".join(inner))
    return model, newly_initialised


def _by_own_code(
    folder: str | os.PathLike[str], config: PreTrainedConfig, where: str
) -> tuple[PreTrainedModel, frozenset[str]]:
    with told(where, "its own code has no classifier"):
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            config=config,
            dtype=torch.float32,
            trust_remote_code=True,
            use_safetensors=True,
            output_loading_info=True,
        )
    return model, frozenset(report["missing_keys"])


def _drop(model: PreTrainedModel, share: float) -> None:
    """Give the head its dropout where no setting of its config does: that of MPNet has the encoder's own."""
    inner = set(model.base_model.modules())
    own = [part for part in model.modules() if isinstance(part, nn.Dropout) and part not in inner]
    if not own and share:
        kind = model.config.model_type
        log.warning("baseline: the head of %s has no dropout: finetune.dropout is not used", kind)
    if all(module.p != share for module in own):
        for module in own:
            module.p = share
