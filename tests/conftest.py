"""Tiny encoders and corpora that every test can afford; nothing is fetched."""

from __future__ import annotations

import gc
import logging
import os
from collections import Counter

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import hypothesis
import numpy as np
import pandas as pd
import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    PreTrainedTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaModel,
)

hypothesis.settings.register_profile("untimed", deadline=None)  # other processes may share the cores
hypothesis.settings.load_profile("untimed")


def pytest_collection_modifyitems(items):
    """Put the modules with most slow tests first, so that none of them keeps a process busy at the end."""
    slow = Counter(item.path for item in items if item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])


@pytest.fixture(autouse=True)
def quick_collections():
    """Keep what is imported out of garbage collections: each training makes one, 0.4 s over all of torch."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def log_of_its_own():
    """Take away the log handlers that a test's command line set up: their stream ends with the test."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level


WORDS = (
    "where is my money order the a parcel please cancel it now late human wo ist mein geld bestellung".split()
)
SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SIZES = {"num_hidden_layers": 4, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}


def make_tokenizer():
    vocabulary = {w: i for i, w in enumerate(SPECIALS + WORDS)}
    tok = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tok.normalizer = normalizers.Lowercase()
    tok.pre_tokenizer = pre_tokenizers.Whitespace()
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    names = dict(
        zip(("pad_token", "unk_token", "cls_token", "sep_token", "mask_token"), SPECIALS, strict=True)
    )
    return PreTrainedTokenizerFast(tokenizer_object=tok, model_max_length=64, **names)


def save_encoder(folder, kind="bert"):
    torch.manual_seed(0)
    size = len(SPECIALS + WORDS)
    if kind == "bert":
        model = BertModel(BertConfig(vocab_size=size, max_position_embeddings=128, **SIZES))
    elif kind == "xlm-roberta":
        model = XLMRobertaModel(
            XLMRobertaConfig(vocab_size=size, max_position_embeddings=130, pad_token_id=0, **SIZES)
        )
    elif kind == "modernbert":
        ids = {f"{name}_token_id": k for k, name in enumerate(("pad", "unk", "cls", "sep"))}
        ids |= {"bos_token_id": 2, "eos_token_id": 3}
        del ids["unk_token_id"]
        model = ModernBertModel(
            ModernBertConfig(
                vocab_size=size, max_position_embeddings=128, local_attention=8, tie_last_hidden_states=False,
                **ids, **SIZES,
            )
        )  # fmt: skip
    else:
        model = DistilBertModel(
            DistilBertConfig(
                vocab_size=size, max_position_embeddings=128, n_layers=4, n_heads=2, dim=32, hidden_dim=64
            )
        )
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp("bert"))


@pytest.fixture(scope="session", params=["bert", "xlm-roberta", "distilbert", "modernbert"])
def any_encoder_folder(request, tmp_path_factory):
    return save_encoder(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="session")
def texts_table():
    """Six texts a label and split in two languages, the label told by a word."""
    rng = np.random.default_rng(0)
    rows = []
    for split, n in (("train", 12), ("dev", 6), ("test", 8)):
        for language in ("en",) if split == "train" else ("en", "de"):
            for label, word in (("refund", "money"), ("cancel", "cancel")):
                for k in range(n):
                    words = [word, *rng.choice(WORDS, size=rng.integers(1, 9))]
                    rows.append(
                        (f"{split}-{label}-{k}-{language}", " ".join(words), "", label, language, split)
                    )
    return pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])
