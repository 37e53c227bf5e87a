"""Checks of `python -m mcbert gridsearch` before the first fit; each error names what is accepted."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mcbert.features.cache import FeatureStore
from mcbert.search.data import Examples
from mcbert.search.selection import scored_languages, settle_protocol
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs

LOG = logging.getLogger(__name__)

# A one-vs-one SVM has a weight and a score for each pair of labels and each text: 2 GB in float64.
ONE_VS_ONE_ENTRIES = 250_000_000


def check(
    settings: GridsearchSettings, store: FeatureStore, examples: Examples, inputs: Inputs
) -> tuple[GridsearchSettings, tuple[str, ...]]:
    """Return the settings with a settled protocol and the languages that a search scores, if it can run.

    Parameters
    ----------
    settings : GridsearchSettings
        Already consistent in themselves.
    store : FeatureStore
        The feature cache.
    examples : Examples
        The corpus's labels, languages and splits.
    inputs : Inputs
        Where both were read, for messages.

    Raises
    ------
    ValueError
        A layer or pooling that the cache lacks; examples of another corpus; a label or language without the
        rows it needs; fewer train texts than neighbours.
    """
    path = inputs.examples
    _check_store(settings, store, examples, path)
    languages = scored_languages(settings, examples.languages)
    _check_train(settings, examples, path)
    dev = {language for language in languages if len(examples.rows("dev", language))}
    settings = settle_protocol(settings, languages, dev, examples.pairs, str(path))
    if not any(len(examples.rows(split, language)) for split in ("dev", "test") for language in languages):
        raise ValueError(
            f"{path}: languages {', '.join(languages)}: got no dev or test rows, accepted: at least one"
        )
    _check_pairs(settings, examples, languages)
    _warn_of_gaps(examples, languages, path)
    return settings, languages


def _check_store(settings: GridsearchSettings, store: FeatureStore, examples: Examples, path: Path) -> None:
    for name, wanted, stored in (
        ("layers", settings.layers, store.layers),
        ("poolings", settings.poolings, store.poolings),
    ):
        for item in wanted:
            if item not in stored:
                accepted = ", ".join(str(entry) for entry in stored)
                raise ValueError(
                    f"gridsearch.{name}: got {item!r}, accepted: what the feature cache has, {accepted}"
                )
    if len(store.index) != len(examples.y):
        raise ValueError(
            f"{path}: got {len(examples.y)} rows, accepted: those of the feature cache, {len(store.index)}"
        )


def _check_train(settings: GridsearchSettings, examples: Examples, path: Path) -> None:
    train = examples.y[examples.rows("train")]
    counts = np.bincount(train, minlength=len(examples.labels))
    where = f"{path}: train rows"
    if not len(train):
        raise ValueError(f"{where}: got none, accepted: at least two labels")
    for label, count in zip(examples.labels, counts, strict=True):
        if not count:
            raise ValueError(f"{where}: label {label!r}: got none, accepted: at least one row for each label")
    if len(counts) < 2:
        raise ValueError(f"{where}: got only label {examples.labels[0]!r}, accepted: at least two labels")
    if "knn" in settings.classifiers:
        most = max(int(dict(params)["n_neighbors"]) for params in settings.values("knn"))
        if most > len(train):
            raise ValueError(
                f"gridsearch.params.knn.n_neighbors: got {most}, accepted: 1 to {len(train)}, the train rows"
            )


def _check_pairs(settings: GridsearchSettings, examples: Examples, languages: Sequence[str]) -> None:
    n_labels = len(examples.labels)
    n_train = len(examples.rows("train"))
    n_scored = sum(len(examples.rows(split, name)) for split in ("dev", "test") for name in languages)
    pairs, texts = n_labels * (n_labels - 1) // 2, max(n_train, n_scored)
    if "linear_svm" in settings.classifiers and pairs * texts > ONE_VS_ONE_ENTRIES:
        raise ValueError(
            f"gridsearch.classifiers: got 'linear_svm' with {n_labels} labels, which is {pairs} "
            f"one-vs-one SVMs of {texts} texts each, accepted: at most {ONE_VS_ONE_ENTRIES // texts}; "
            "leave it out"
        )


def _warn_of_gaps(examples: Examples, languages: Sequence[str], path: Path) -> None:
    """Warn of scores that will be empty or mean little; whether the protocol can choose is checked before."""
    for split in ("dev", "test"):
        found = {name: examples.y[examples.rows(split, name)] for name in languages}
        empty = [name for name, y in found.items() if not len(y)]
        if empty:
            mean = "" if empty == [languages[0]] else f", and {split}_f1_micro_mean"
            columns = ", ".join(f"{split}_f1_micro_{name}" for name in empty)
            LOG.warning("%s: no %s rows in %s: %s%s stay empty", path, split, ", ".join(empty), columns, mean)
        for name, y in found.items():
            if len(y) and (y == y[0]).all():
                label = examples.labels[y[0]]
                LOG.warning("%s: the %s rows in %s have one label only, %r", path, split, name, label)
