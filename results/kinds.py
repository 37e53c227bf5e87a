"""The kinds of columns that the tables of `results.schema` are made of.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

import math

from mcbert.features.spec import LAYERS_FORM, POOLINGS, POOLINGS_FORM
from mcbert.results.columns import Column, Dtype

_LAYERS_MEANING = "layers, 0 the embeddings, ascending, joined by + (6+8+11)"
_POOLINGS_MEANING = (
    f"{', '.join(POOLINGS[:-1])} or {POOLINGS[-1]}; where layers have different ones, one for each in the "
    "order of `layers`, joined by + (max+mean+max)"
)
_CLASSIFIER = r"[a-z][a-z0-9_]*"
_CLASSIFIER_MEANING = (
    "logistic_regression, linear_svm, ridge, lda, knn, mlp, or the name of a user's own: small letters, "
    "digits and _"
)
_TRANSFER = r"zero-shot|translate-test|translate-train-[A-Za-z0-9_-]+"
_TRANSFER_MEANING = "zero-shot, translate-test, translate-train-all or translate-train-<language>"


def text(name: str, meaning: str, allowed: tuple[str, ...] = (), nullable: bool = False) -> Column:
    """Declare a text, perhaps one of a few."""
    return Column(name=name, dtype="string", meaning=meaning, allowed=allowed, nullable=nullable)


def layers(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a set of layers."""
    return Column(
        name=name,
        dtype="string",
        meaning=meaning,
        form=LAYERS_FORM,
        form_meaning=_LAYERS_MEANING,
        nullable=nullable,
    )


def poolings(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a pooling, or one for each layer."""
    return Column(
        name=name,
        dtype="string",
        meaning=meaning,
        form=POOLINGS_FORM,
        form_meaning=_POOLINGS_MEANING,
        nullable=nullable,
    )


def classifier(name: str, meaning: str) -> Column:
    """Declare the name of a classifier."""
    return Column(
        name=name, dtype="string", meaning=meaning, form=_CLASSIFIER, form_meaning=_CLASSIFIER_MEANING
    )


def count(name: str, meaning: str, unit: str = "", least: int = 0, nullable: bool = False) -> Column:
    """Declare a whole number, `least` or more."""
    return Column(
        name=name, dtype="int", meaning=meaning, unit=unit, bounds=(least, math.inf), nullable=nullable
    )


def share(name: str, meaning: str, nullable: bool = False) -> Column:
    """Declare a share from 0 to 1."""
    return Column(
        name=name, dtype="float", meaning=meaning, unit="share 0-1", bounds=(0, 1), nullable=nullable
    )


def number(name: str, meaning: str, unit: str, least: float = -math.inf, nullable: bool = False) -> Column:
    """Declare a number with a unit, `least` or more."""
    dtype: Dtype = "float"
    return Column(
        name=name, dtype=dtype, meaning=meaning, unit=unit, bounds=(least, math.inf), nullable=nullable
    )


def difference(name: str, meaning: str) -> Column:
    """Declare a difference of two shares."""
    return Column(
        name=name, dtype="float", meaning=meaning, unit="share, -1 to 1", bounds=(-1, 1), nullable=True
    )


def correlation(name: str, meaning: str) -> Column:
    """Declare a correlation, which may be undefined."""
    return Column(name=name, dtype="float", meaning=meaning, unit="-1 to 1", bounds=(-1, 1), nullable=True)


def stamp(nullable: bool = False) -> tuple[Column, ...]:
    """Declare the columns that say which run made a row, with what."""
    return (
        text("run", "name of the run", nullable=nullable),
        text("config_digest", "digest of the configuration that made the row", nullable=nullable),
        text("encoder", "encoder, by name or folder", nullable=nullable),
        text("versions", "versions of mcbert and of the libraries that figures depend on", nullable=nullable),
        Column(
            name="transfer",
            dtype="string",
            meaning="how labels reached the target languages: zero-shot (trained on source-language texts), "
            "translate-train-all (on them and their translations into every target language), "
            "translate-train-<language> (on their translations into that language alone), translate-test "
            "(trained as zero-shot, dev and test texts translated into the source language)",
            form=_TRANSFER,
            form_meaning=_TRANSFER_MEANING,
            nullable=nullable,
        ),
    )


def published_source() -> tuple[Column, ...]:
    """Declare the columns that say where a published figure stands."""
    return (
        text("note", "what to know before comparing", nullable=True),
        text("citation", "the source: a paper, a post or a page, by its title"),
        text("table", "where in the source: table and row, section or file"),
        Column(
            name="url",
            dtype="string",
            meaning="address of the source; empty where only its title is known",
            form=r"https://\S+",
            form_meaning="an address that begins with https://",
            nullable=True,
        ),
    )
