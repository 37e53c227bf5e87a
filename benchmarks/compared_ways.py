"""The ways that benchmarks/compared.py compares, each as a user would write it: texts in, labels out.

The lines of a function are counted for the table: what a way has to say more than another, it says here.
"""

from __future__ import annotations

import ast
import dataclasses
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pandas as pd

# what a way needs is imported in it: the lines are its own, and so are the seconds


@dataclasses.dataclass(frozen=True)
class Given:
    """What every way gets, and what some of them want."""

    encoder: str
    prompt: str
    train: pd.DataFrame
    """id, text, label, language, split; of the source language."""

    dev: pd.DataFrame
    """The same; labels of target languages are not read."""

    test: pd.Series
    """Texts to label."""

    cache: Path
    """Folder for features, empty at first."""

    seed: int = 0
    search: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """Arguments of LayerSearch and MCBertClassifier that make them small; without them their defaults."""

    training: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def embedded(given: Given) -> Any:
    """Embed the texts, fit a logistic regression on the vectors."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(given.encoder, model_kwargs={"dtype": "float32"})
    X = model.encode(given.train["text"].tolist(), prompt=given.prompt)
    classifier = LogisticRegression(max_iter=1000).fit(X, given.train["label"])
    return classifier.predict(model.encode(given.test.tolist(), prompt=given.prompt))


def embedded_normalised(given: Given) -> Any:
    """Do the same with vectors of length 1, as E5's own configuration makes them."""
    from sentence_transformers import SentenceTransformer
    from sklearn.linear_model import LogisticRegression

    model = SentenceTransformer(given.encoder, model_kwargs={"dtype": "float32"})
    X = model.encode(given.train["text"].tolist(), prompt=given.prompt, normalize_embeddings=True)
    classifier = LogisticRegression(max_iter=1000).fit(X, given.train["label"])
    test = model.encode(given.test.tolist(), prompt=given.prompt, normalize_embeddings=True)
    return classifier.predict(test)


def setfit(given: Given, shots: int, rounds: int) -> Any:
    """Train the encoder on pairs of a few texts of each label, then a logistic regression on those texts."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments, sample_dataset

    texts = given.train.assign(text=given.prompt + given.train["text"])[["text", "label"]]
    few = sample_dataset(Dataset.from_pandas(texts, preserve_index=False), num_samples=shots, seed=given.seed)
    model = SetFitModel.from_pretrained(given.encoder)
    model.model_body.float()
    arguments = TrainingArguments(
        num_iterations=rounds, seed=given.seed, report_to="none", output_dir=str(given.cache)
    )
    Trainer(model=model, args=arguments, train_dataset=few).train()
    return model.predict((given.prompt + given.test).tolist())


def searched(given: Given) -> Any:
    """Search layers, poolings and classifiers; English dev texts choose."""
    import mcbert

    corpus = pd.concat([given.train, given.dev[given.dev["language"] == "en"]])
    states = mcbert.extract(corpus, given.encoder, prompt=given.prompt, cache=given.cache)
    search = mcbert.LayerSearch(**given.search).fit(states, corpus)
    return search.predict(given.test)


def searched_translated(given: Given) -> Any:
    """Search; English dev texts choose, with their translations, whose labels are not read."""
    import mcbert

    corpus = pd.concat([given.train, given.dev])
    states = mcbert.extract(corpus, given.encoder, prompt=given.prompt, cache=given.cache)
    search = mcbert.LayerSearch(**given.search).fit(states, corpus)
    return search.predict(given.test)


def trained(given: Given) -> Any:
    """Fine-tune the encoder end to end on the train texts."""
    import mcbert

    model = mcbert.MCBertClassifier(
        given.encoder, prompt=given.prompt, layers=[12], pooling="mean", seed=given.seed, **given.training
    )
    return model.fit(given.train["text"], given.train["label"]).predict(given.test)


@dataclasses.dataclass(frozen=True)
class Way:
    """One of the ways: a row of the table."""

    title: str
    reads: str
    """What it learns from."""

    label: Callable[..., Any]
    """From `Given` to a label for each test text."""

    needs: tuple[str, ...] = ()
    """Packages beyond those of the project and its extras."""

    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    draws: bool = False
    """Whether seeds make a difference."""

    translations: bool = False
    """Whether dev texts must have translations."""

    @property
    def lines(self) -> int:
        """Number of lines that a user writes: the body of the function without its docstring."""
        source = inspect.getsource(self.label)
        function = cast(ast.FunctionDef, ast.parse(source).body[0])
        body = source.splitlines()[function.body[1].lineno - 1 :]
        return sum(bool(line.strip()) for line in body)


ALL_TRAIN = "all train texts"
WAYS: dict[str, Way] = {
    "embedded": Way("sentence-transformers + logistic regression", ALL_TRAIN, embedded),
    "normalised": Way("the same, vectors of length 1", ALL_TRAIN, embedded_normalised),
    "setfit-8": Way(
        "SetFit", "8 train texts a label", setfit, ("setfit",), {"shots": 8, "rounds": 20}, draws=True
    ),
    "setfit-8-short": Way(
        "SetFit, a quarter of its pairs", "8 train texts a label", setfit, ("setfit",),
        {"shots": 8, "rounds": 5}, draws=True,
    ),
    "setfit-16": Way(
        "SetFit", "16 train texts a label", setfit, ("setfit",), {"shots": 16, "rounds": 20}, draws=True
    ),
    "searched": Way("LayerSearch", f"{ALL_TRAIN}, English dev", searched),
    "translated": Way(
        "LayerSearch", f"{ALL_TRAIN}, English dev and its translations", searched_translated,
        translations=True,
    ),
    "trained": Way("MCBertClassifier", ALL_TRAIN, trained, draws=True),
}  # fmt: skip
"""Name -> way, in the order of the table."""

OURS = "translated", "searched"
"""What the others are compared with: the first of these that was measured."""
