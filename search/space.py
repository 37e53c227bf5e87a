"""Candidates as data: settings, fixed order, stable ids; see `python -m mcbert gridsearch`."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from mcbert.features.spec import POOLINGS, FeatureSpec
from mcbert.results.schema.words import METRICS, Protocol
from mcbert.search.fitting.classifiers import (
    CLASS_WEIGHTS,
    CLASSIFIERS,
    Classifier,
    ClassWeight,
    Value,
    is_number,
    unknown,
)
from mcbert.search.fitting.custom_classifiers import Factory, classifier, require_name, seed_parameters

Chosen = Literal["auto", Protocol]
AUTO: Literal["auto"] = "auto"
Mixed = Literal["none", "greedy", "beam"]
MIXED: tuple[Mixed, ...] = get_args(Mixed)
Metric = Literal["micro_f1", "macro_f1", "accuracy"]
Params = tuple[tuple[str, Value], ...]

PooledLayer = tuple[int, str]  # layer, pooling


@dataclass(frozen=True, kw_only=True)
class GridsearchSettings:
    """The search space of the gridsearch stage and the choice of its winner.

    Raises
    ------
    ValueError
        From the constructor, naming the field as `gridsearch.<field>`.
    """

    layers: tuple[int, ...] = (5, 6, 7, 8, 9, 10, 11, 12)
    """Layers whose subsets are searched; 0 is the embedding output."""
    poolings: tuple[str, ...] = ("max", "mean", "cls")
    """Poolings searched, of max, mean, cls, last, as far as `extract.poolings` has them."""
    classifiers: tuple[str, ...] = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
    """Names in `search.fitting.classifiers.CLASSIFIERS` or of `factories`."""
    params: dict[str, dict[str, object]] = field(default_factory=dict)
    """Per classifier, its parameters: a value, or a list of values to search them all."""
    factories: dict[str, str] = field(default_factory=dict)
    """The user's own classifiers: name = "module:callable", code that is run
    (`search.fitting.custom_classifiers`)."""
    seeds: tuple[int, ...] = (0,)
    """Each a candidate of the classifiers that draw random numbers; others have one, with the first, which
    draws the sample of a budget, too."""
    max_layers: int = 0
    """Largest subset of layers; 0 for all sizes."""
    mixed: Mixed = "none"
    """Search sets with a different pooling per layer after those of one: greedy, beam (`search.order`)."""
    beam_width: int = 5
    """Best feature sets of a size that a beam search adds a pooled layer to."""
    mixed_steps: int = 8
    """Most steps of the mixed search; greedy: a pooled layer added and one removed, beam: one added."""
    budget: int = 0
    """Most candidates scored, those of earlier runs included: a sample of all (docs/search.md); 0 for all."""
    budget_seconds: float = 0.0
    """Seconds after which no more candidates are started in this run; 0 for no limit."""
    protocol: Chosen = AUTO
    """How the winner is chosen: source-dev, target-dev or last (`search.selection`). auto: target-dev where
    all target languages have labelled dev texts, else source-dev; the log says so before anything is
    extracted."""
    metric: Metric = "micro_f1"
    """Dev score that chooses the winner, the steps of a mixed search and which of the best are tied:
    micro_f1, accuracy (the same where a text has one label, as here) or macro_f1, in which labels weigh
    equally."""
    top: int = 20
    """Best candidates whose confusion matrices are written."""
    class_weight: ClassWeight = "none"
    """balanced: rare labels weigh as much as frequent ones, for logistic_regression, linear_svm, ridge and a
    user's classifier that has the parameter; others ignore it. `params` may set it for one of them."""
    target_languages: tuple[str, ...] = ()
    """Languages scored beside the source; empty for all of the corpus."""

    def __post_init__(self) -> None:
        """Check every field and turn lists into tuples."""
        for name in ("layers", "poolings", "classifiers", "seeds", "target_languages"):
            object.__setattr__(self, name, _listed(name, getattr(self, name)))
        for name in ("layers", "seeds"):
            for value in getattr(self, name):
                _require_whole(f"gridsearch.{name}", value, 0)
        object.__setattr__(self, "layers", tuple(sorted(self.layers)))
        self._check_factories()
        for name, items, accepted in (
            ("poolings", self.poolings, POOLINGS),
            ("classifiers", self.classifiers, (*CLASSIFIERS, *self.factories)),
            ("protocol", (self.protocol,), get_args(Chosen)),
            ("mixed", (self.mixed,), MIXED),
            ("metric", (self.metric,), METRICS),
            ("class_weight", (self.class_weight,), CLASS_WEIGHTS),
        ):
            for item in items:
                if item not in accepted:
                    raise ValueError(unknown(f"gridsearch.{name}", item, accepted))
        self._check_numbers()
        self._check_params()

    def _check_numbers(self) -> None:
        whole = {"max_layers": 0, "top": 1, "beam_width": 1, "mixed_steps": 1, "budget": 0}
        for name, least in whole.items():
            _require_whole(f"gridsearch.{name}", getattr(self, name), least)
        if self.max_layers > len(self.layers):
            raise ValueError(
                f"gridsearch.max_layers: got {self.max_layers}, accepted: 0 to {len(self.layers)}"
            )
        seconds = self.budget_seconds
        if not is_number(seconds) or not 0 <= seconds < float("inf"):
            raise ValueError(f"gridsearch.budget_seconds: got {seconds!r}, accepted: a number from 0")
        for name, used in (("beam_width", ("beam",)), ("mixed_steps", ("greedy", "beam"))):
            default = getattr(type(self), name)
            if getattr(self, name) != default and self.mixed not in used:
                raise ValueError(
                    f"gridsearch.{name}: means nothing with gridsearch.mixed {self.mixed!r}; leave it out "
                    f"(gridsearch.{name}={default}), or set gridsearch.mixed to {' or '.join(used)}"
                )
        if self.mixed != "none" and self.protocol == "last":
            raise ValueError(
                f"gridsearch.mixed: got {self.mixed!r} with protocol 'last', which scores nothing to go by, "
                "accepted: none, or another protocol"
            )

    def _check_factories(self) -> None:
        if not isinstance(self.factories, Mapping):
            raise ValueError(f"gridsearch.factories: got {self.factories!r}, accepted: a table of names")
        for name in self.factories:
            require_name(name)
            if name not in self.classifiers:
                raise ValueError(
                    f"gridsearch.factories.{name}: not searched, accepted: a name in gridsearch.classifiers"
                )

    def _check_params(self) -> None:
        if not isinstance(self.params, Mapping):
            raise ValueError(f"gridsearch.params: got {self.params!r}, accepted: a table per classifier")
        for name, params in self.params.items():
            if name not in self.classifiers:
                raise ValueError(unknown("gridsearch.params", name, self.classifiers))
            if not isinstance(params, Mapping):
                raise ValueError(f"gridsearch.params.{name}: got {params!r}, accepted: a table")
        for name in self.classifiers:
            entry = self._entry(name)
            for values in self.values(name):
                if isinstance(entry, Factory):
                    entry.make(dict(values))
        if self.class_weight != "none" and not any(map(self._weighs, self.classifiers)):
            raise ValueError(
                f"gridsearch.class_weight: got {self.class_weight!r}, which none of gridsearch.classifiers, "
                f"{', '.join(self.classifiers)}, has; accepted: none, or logistic_regression, linear_svm "
                "or ridge among them"
            )

    def _weighs(self, name: str) -> bool:
        """Return whether a classifier is known to have class weights; a callable of any keyword is not."""
        return "class_weight" in list(self._entry(name).parameters)

    def _entry(self, name: str) -> Classifier:
        return classifier(name, self.factories.get(name, ""))

    def draws(self, name: str) -> bool:
        """Return whether a classifier draws random numbers, and so has a candidate for each seed."""
        entry = self._entry(name)
        if isinstance(entry, Factory):
            return bool(seed_parameters(entry.make(dict(self.values(name)[0]))))
        return entry.stochastic

    def values(self, classifier: str) -> tuple[Params, ...]:
        """Return every combination of a classifier's parameters, as sorted (name, value) pairs."""
        entry, where = self._entry(classifier), f"gridsearch.params.{classifier}"
        chosen: dict[str, list[Value]] = {
            name: [p.default] for name, p in entry.parameters.items() if p.default is not None
        }
        if self.class_weight != "none" and self._weighs(classifier):
            chosen["class_weight"] = [self.class_weight]
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
        """The same text for the same candidate in every search, such as "6+8+11-max-ridge-alpha=1000.0"."""
        params = "".join(f"-{name}={value!r}" for name, value in self.params)
        seed = f"-seed={self.seed}" if self.seeded else ""
        return f"{self.features}-{self.classifier}{params}{seed}"


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
