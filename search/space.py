"""Candidates as data: settings, fixed order, stable ids; see `python -m pipeline gridsearch`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from search.classifiers import CLASSIFIERS, Number, unknown

Protocol = Literal["source-dev", "target-dev", "last"]
PROTOCOLS: tuple[Protocol, ...] = get_args(Protocol)
POOLINGS = ("max", "mean", "cls")


@dataclass(frozen=True, kw_only=True)
class GridsearchSettings:
    """What the gridsearch stage searches and how it chooses.

    Raises
    ------
    ValueError
        From the constructor, naming the field as `gridsearch.<field>`.
    """

    layers: tuple[int, ...] = (5, 6, 7, 8, 9, 10, 11, 12)
    """Layers whose subsets are searched; 0 is the embedding output."""
    poolings: tuple[str, ...] = POOLINGS
    """Poolings searched, of max, mean, cls."""
    classifiers: tuple[str, ...] = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
    """Names in `search.classifiers.CLASSIFIERS`."""
    params: dict[str, dict[str, object]] = field(default_factory=dict)
    """Per classifier, its parameters: a number, or a list of numbers to search them all."""
    max_layers: int = 0
    """Largest subset of layers; 0 for all sizes."""
    protocol: Protocol = "target-dev"
    """How the winner is chosen: source-dev, target-dev or last (`search.choose`)."""
    seed: int = 0
    """Seed of classifiers that draw random numbers; the five built in draw none. Stamped on every row."""
    top: int = 20
    """Best candidates whose confusion matrices are written."""
    target_languages: tuple[str, ...] = ()
    """Languages scored beside the source; empty for all of the corpus."""

    def __post_init__(self) -> None:
        """Check every field and turn lists into tuples."""
        for name in ("layers", "poolings", "classifiers", "target_languages"):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        self._check_layers()
        for name, accepted in (("poolings", POOLINGS), ("classifiers", tuple(CLASSIFIERS))):
            for item in getattr(self, name):
                if item not in accepted:
                    raise ValueError(unknown(f"gridsearch.{name}", item, accepted))
        if self.protocol not in PROTOCOLS:
            raise ValueError(unknown("gridsearch.protocol", self.protocol, PROTOCOLS))
        for name, least in (("max_layers", 0), ("seed", 0), ("top", 1)):
            _require_whole(f"gridsearch.{name}", getattr(self, name), least)
        if self.max_layers > len(self.layers):
            raise ValueError(
                f"gridsearch.max_layers: got {self.max_layers}, accepted: 0 to {len(self.layers)}"
            )
        self._check_params()

    def _check_layers(self) -> None:
        for layer in self.layers:
            _require_whole("gridsearch.layers", layer, 0)
        object.__setattr__(self, "layers", tuple(sorted(self.layers)))

    def _check_params(self) -> None:
        if not isinstance(self.params, Mapping):
            raise ValueError(f"gridsearch.params: got {self.params!r}, accepted: a table per classifier")
        for classifier, params in self.params.items():
            if classifier not in self.classifiers:
                raise ValueError(unknown("gridsearch.params", classifier, self.classifiers))
            if not isinstance(params, Mapping):
                raise ValueError(f"gridsearch.params.{classifier}: got {params!r}, accepted: a table")
        for classifier in self.classifiers:
            self.values(classifier)

    def values(self, classifier: str) -> tuple[tuple[tuple[str, Number], ...], ...]:
        """Return every combination of a classifier's parameters, as sorted (name, value) pairs."""
        entry, where = CLASSIFIERS[classifier], f"gridsearch.params.{classifier}"
        chosen: dict[str, list[Number]] = {name: [p.default] for name, p in entry.parameters.items()}
        for name, given in self.params.get(classifier, {}).items():
            several = list(given) if isinstance(given, list | tuple) else [given]
            checked = [entry.check(where, name, value) for value in several]
            if not checked or len(set(checked)) < len(checked):
                raise ValueError(f"{where}.{name}: got {given!r}, accepted: at least one value, each once")
            chosen[name] = checked
        names = sorted(chosen)
        return tuple(
            tuple(zip(names, values, strict=True))
            for values in itertools.product(*(chosen[name] for name in names))
        )


def _listed(name: str, value: object) -> tuple[object, ...]:
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise ValueError(f"gridsearch.{name}: got {value!r}, accepted: a list")
    repeated = [item for position, item in enumerate(value) if item in value[:position]]
    if repeated:
        raise ValueError(f"gridsearch.{name}: got {repeated[0]!r} twice, accepted: each once")
    if not value and name != "target_languages":
        raise ValueError(f"gridsearch.{name}: got an empty list, accepted: at least one entry")
    return tuple(value)


def _require_whole(where: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{where}: got {value!r}, accepted: a whole number from {least}")


@dataclass(frozen=True, kw_only=True, order=True)
class Candidate:
    """One model of the search."""

    layers: tuple[int, ...]
    pooling: str
    classifier: str
    params: tuple[tuple[str, Number], ...]

    @property
    def id(self) -> str:
        """The same text for the same candidate in every search, such as "6+8+11-max-ridge-alpha=1000.0"."""
        params = "".join(f"-{name}={value!r}" for name, value in self.params)
        return f"{layers_text(self.layers)}-{self.pooling}-{self.classifier}{params}"


def layers_text(layers: Sequence[int]) -> str:
    """Return layers as the tables have them: "6+8+11"."""
    return "+".join(str(layer) for layer in layers)


class Space:
    """All candidates of a search: sized, iterated pooling by pooling, then by subset, then by classifier.

    Poolings come outermost because a worker holds the kernels of one; subsets come by size, then by their
    layers.
    """

    def __init__(self, settings: GridsearchSettings) -> None:
        self._settings = settings
        self._values = {name: settings.values(name) for name in settings.classifiers}

    def feature_sets(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """Yield every (layers, pooling)."""
        largest = self._settings.max_layers or len(self._settings.layers)
        for pooling in self._settings.poolings:
            for size in range(1, largest + 1):
                for layers in itertools.combinations(self._settings.layers, size):
                    yield layers, pooling

    def models(self, layers: tuple[int, ...], pooling: str) -> Iterator[Candidate]:
        """Yield every candidate of one feature set."""
        for classifier, combinations in self._values.items():
            for params in combinations:
                yield Candidate(layers=layers, pooling=pooling, classifier=classifier, params=params)

    def __iter__(self) -> Iterator[Candidate]:
        for layers, pooling in self.feature_sets():
            yield from self.models(layers, pooling)

    def __len__(self) -> int:
        return sum(1 for _ in self.feature_sets()) * sum(len(values) for values in self._values.values())
