"""Tiny random encoders and a tiny corpus; no network."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import transformers
from transformers import BertConfig, BertModel, BertTokenizerFast

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.freezing.rules import rule_of
from mcbert.finetune.jobs import FinetuneJob
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.systems import build, tokenised
from mcbert.finetune.training.callback import Monitor
from mcbert.finetune.training.data import classification
from mcbert.finetune.training.fit import Output, fit
from mcbert.finetune.winner import Architecture

WORDS = {
    "cancel": ("stop", "cancel", "end", "void"),
    "refund": ("money", "refund", "back", "paid"),
}
FILLERS = tuple(f"w{k}" for k in range(60))
LANGUAGES = ("en", "de", "zh")
STAMP = {
    "run": "r",
    "config_digest": "abc",
    "encoder": "tiny",
    "versions": "mcbert 0",
    "transfer": "zero-shot",
}


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def encoder(tmp_path_factory):
    """A random BERT of 4 blocks, without pooler weights, with its tokenizer."""
    folder = tmp_path_factory.mktemp("encoder")
    words = [w for group in WORDS.values() for w in group] + list(FILLERS) + list(LANGUAGES)
    vocab = {w: k for k, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    tokenizer = BertTokenizerFast(vocab=vocab, do_lower_case=True, model_max_length=32)
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocab), hidden_size=32, num_hidden_layers=4, num_attention_heads=2,
        intermediate_size=64, max_position_embeddings=32, hidden_dropout_prob=0.1,
        attention_probs_dropout_prob=0.0, initializer_range=0.2,
    )  # fmt: skip
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def corpus_table(n_train=24, n_eval=6):
    """Texts of two intents in three languages, train in English only."""
    rng = np.random.default_rng(0)
    rows = []
    for split, n in (("train", n_train), ("dev", n_eval), ("test", n_eval)):
        for k in range(n):
            label = sorted(WORDS)[k % 2]
            for language in LANGUAGES if split != "train" else ("en",):
                words = [*rng.choice(WORDS[label], 2), *rng.choice(FILLERS, rng.integers(1, 9)), language]
                name = f"{split}{k}" + ("" if language == "en" else f"-{language}")
                rows.append((name, " ".join(rng.permutation(words)), "", label, language, split))
    return pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])


@pytest.fixture(scope="session")
def corpus(tmp_path_factory):
    path = tmp_path_factory.mktemp("corpus") / "texts.csv"
    corpus_table().to_csv(path, index=False)
    return path


@pytest.fixture
def winner(tmp_path):
    """A winner of layers 1 and 3, max pooling."""
    path = tmp_path / "winner.json"
    content = {"layers": [1, 3], "pooling": "max", "classifier": "ridge", "params": {}, "candidate_id": "c",
               "labels": sorted(WORDS), "encoder": "tiny", "protocol": "target-dev"}  # fmt: skip
    path.write_text(json.dumps(content), encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def make_job_in(encoder, corpus):
    """Make a job over the tiny encoder: layers 1 and 3 of 4."""

    def make(out: Path, system="mcbert", seed=0, freeze=None, **settings):
        fast = {"epochs": 3, "learning_rate": 1e-3, "batch_size": 8, "weight_decay": 0.1} | settings
        return FinetuneJob(
            system=system,
            seed=seed,
            settings=FinetuneSettings(**fast),
            architecture=Architecture(features=FeatureSpec.of((1, 3), "max"), probe_protocol=None),
            freeze=freeze or {},
            corpus=corpus,
            source_language="en",
            encoder=encoder,
            out=out,
            stamp=STAMP,
        )

    return make


@pytest.fixture
def make_job(make_job_in, tmp_path):
    return lambda *given, out=None, **settings: make_job_in(out or tmp_path, *given, **settings)


def train(job, tmp_path, on_event=None, tamper=None, *, whole=False, **watched):
    """Train a job's model; `on_event(model, event)` is called when something freezes.

    `whole`: it holds every row of the word embeddings while it trains, not only those in use.
    """
    corpus, tokenizer = Corpus.read(job.corpus), load_tokenizer(job.encoder)
    texts = [tokenised(corpus, corpus.rows(split=s), tokenizer, max_length=32) for s in ("train", "dev")]
    transformers.set_seed(job.seed)
    model, head_parameters = build(job, corpus.labels)
    if tamper:
        tamper(model)

    decide = rule_of(job.settings, job.freeze, "en")

    def rule(history):
        event = decide(history)
        if on_event and event:
            on_event(model, event)
        return event

    balanced = job.settings.class_weight == "balanced"
    data = classification(tokenizer, *texts, source_language="en", balanced=balanced)
    if whole:
        data = dataclasses.replace(data, token_ids=np.arange(model.get_input_embeddings().num_embeddings))
    norms = job.settings.freeze_rule == "gradient"
    monitor = Monitor(
        rule=rule,
        protocol=job.settings.protocol,
        source_language="en",
        **({"gradient_norms": norms} | watched),
    )
    with quiet():
        training = fit(
            model,
            data,
            settings=job.settings,
            seed=job.seed,
            monitor=monitor,
            out=Output(checkpoints=tmp_path / "scratch", log=tmp_path / "logs"),
            head_parameters=head_parameters,
        )
    return model, training, texts[1], tokenizer


@pytest.fixture
def train_job():
    """Train a job's model: (job, folder) -> model, training, dev texts, tokenizer."""
    return train
