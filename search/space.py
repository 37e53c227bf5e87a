"""Candidates as data, in a fixed order, with stable ids; see `python -m mcbert gridsearch`."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mcbert.features.spec import FeatureSpec
from mcbert.results.schema.words import ENSEMBLE
from mcbert.search.fitting.classifiers import CLASSIFIERS, Params

if TYPE_CHECKING:  # a worker is given candidates, and starts without the validation of settings
    from mcbert.search.settings import GridsearchSettings


@dataclass(frozen=True, kw_only=True, order=True)
class Candidate:
    """One model of the search.

    Attributes
    ----------
    features : FeatureSpec
        Its columns; a layer may occur under several poolings (`search.order`).
    classifier : str
    params : tuple of (name, value)
    seed : int
        For a classifier that draws random numbers.
    seeded : bool
        Whether it does: only then is the seed part of the id.
    factory : str
        "module:callable" of a user's classifier; empty for those of the table.
    """

    features: FeatureSpec
    classifier: str
    params: Params
    seed: int = 0
    seeded: bool = False
    factory: str = ""

    @property
    def layers(self) -> tuple[int, ...]:
        """Those of `features`."""
        return self.features.layers

    @property
    def pooling(self) -> str:
        """The poolings of `features`, as text."""
        return self.features.pooling

    @property
    def id(self) -> str:
        """The same text for the same candidate in every search, such as "6+8+11-max-ridge-alpha=1000.0".

        An ensemble has no name but its size: its members depend on all scores.
        """
        params = "".join(f"-{name}={value!r}" for name, value in self.params)
        seed = f"-seed={self.seed}" if self.seeded else ""
        features = "" if self.classifier == ENSEMBLE else f"{self.features}-"
        return f"{features}{self.classifier}{params}{seed}"


def reference(layers: Sequence[int], poolings: Collection[str]) -> Candidate | None:
    """Return what a choice has to beat: the mean of the deepest layer, logistic regression at its defaults.

    None where the cache's layers and poolings lack it.
    """
    if "mean" not in poolings:
        return None
    parameters = CLASSIFIERS["logistic_regression"].parameters.items()
    defaults = tuple(sorted((name, p.default) for name, p in parameters if p.default is not None))
    features = FeatureSpec((max(layers),), ("mean",))
    return Candidate(features=features, classifier="logistic_regression", params=defaults)


class Space:
    """All candidates of one pooling: sized, iterated pooling by pooling, then by subset, then by classifier.

    Poolings come outermost because a worker holds the kernels of one; subsets come by size, then by their
    layers. Within a feature set: classifier, parameters, seed. On a budget `search.order` takes some.
    """

    def __init__(self, settings: GridsearchSettings) -> None:
        self._settings = settings
        self._models: list[dict[str, Any]] = [
            {
                "classifier": name,
                "params": params,
                "seed": seed,
                "seeded": settings.draws(name),
                "factory": settings.factories.get(name, ""),
            }
            for name in settings.classifiers
            for params in settings.values(name)
            for seed in (settings.seeds if settings.draws(name) else settings.seeds[:1])
        ]

    def feature_sets(self) -> Iterator[FeatureSpec]:
        """Yield every subset of the layers under every pooling."""
        settings = self._settings
        sizes = range(1, (settings.max_layers or len(settings.layers)) + 1)
        for pooling, size in itertools.product(settings.poolings, sizes):
            for layers in itertools.combinations(settings.layers, size):
                yield FeatureSpec(layers, (pooling,) * size)

    def models(self, features: FeatureSpec) -> Iterator[Candidate]:
        """Yield every candidate of one feature set."""
        for model in self._models:
            yield Candidate(features=features, **model)

    def __iter__(self) -> Iterator[Candidate]:
        for features in self.feature_sets():
            yield from self.models(features)

    def __len__(self) -> int:
        return sum(1 for _ in self.feature_sets()) * len(self._models)
