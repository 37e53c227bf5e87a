"""Settings of the search: its space, its budget and how its winner is chosen.

python -m mcbert gridsearch --config demo gridsearch.max_layers=1
"""

import itertools
from dataclasses import field
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from mcbert.features.spec import Pooling
from mcbert.results.schema.words import Metric, Protocol
from mcbert.search.fitting.classifiers import (
    CLASSIFIERS,
    Classifier,
    ClassWeight,
    Params,
    ParamValue,
    unknown,
)
from mcbert.search.fitting.custom_classifiers import Factory, classifier, require_name, seed_parameters
from mcbert.settings import HERE, Distinct, Filled, Number, Positive, Whole, require_default, section

Chosen = Literal["auto", Protocol]
AUTO: Literal["auto"] = "auto"
Mixed = Literal["none", "greedy", "beam"]


def _ascending(layers: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(sorted(layers))


@section("gridsearch")
class GridsearchSettings:
    """The search space of the gridsearch stage and the choice of its winner.

    Raises
    ------
    ValueError
        From the constructor, naming the field as `gridsearch.<field>`.
    """

    layers: Annotated[Filled[Whole], AfterValidator(_ascending)] = (5, 6, 7, 8, 9, 10, 11, 12)
    """Layers whose subsets are searched; 0 is the embedding output."""
    poolings: Filled[Pooling] = ("max", "mean", "cls")
    """Poolings searched, of max, mean, cls, last, as far as `extract.poolings` has them."""
    classifiers: Filled[str] = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
    """Names in `search.fitting.classifiers.CLASSIFIERS` or of `factories`."""
    params: dict[str, dict[str, object]] = field(default_factory=dict)
    """Per classifier, its parameters: a value, or a list of values to search them all."""
    factories: dict[str, str] = field(default_factory=dict)
    """The user's own classifiers: name = "module:callable", code that is run
    (`search.fitting.custom_classifiers`)."""
    seeds: Filled[Whole] = (0,)
    """Each a candidate of the classifiers that draw random numbers; others have one, with the first, which
    draws the sample of a budget and `train_texts`, too."""
    train_texts: Whole = 0
    """Train texts of the source language that phase one encodes and fits on, drawn by label, with their
    translations in train; 0: all. Phase two trains on all of them whatever this says."""
    max_layers: Whole = 0
    """Largest subset of layers; 0 for all sizes."""
    mixed: Mixed = "none"
    """Search sets with a different pooling per layer after those of one: greedy, beam (`search.order`)."""
    beam_width: Positive = 5
    """Best feature sets of a size that a beam search adds a pooled layer to."""
    mixed_steps: Positive = 8
    """Most steps of the mixed search; greedy: a pooled layer added and one removed, beam: one added."""
    budget: Whole = 0
    """Most candidates scored, those of earlier runs included: a sample of all (docs/search.md); 0 for all."""
    budget_seconds: Number = 0.0
    """Seconds after which no more candidates are started in this run; 0 for no limit."""
    protocol: Chosen = AUTO
    """How the winner is chosen: agreement, source-dev, target-dev or last (`search.selection`). auto:
    agreement where texts and their translations are there, else source-dev; the log says so before anything
    is extracted. target-dev reads labels of the target languages: an oracle."""
    parallel: str = ""
    """Folder of sentences and their translations, as ``retrieval.tatoeba``, for the agreement in target
    languages where the corpus has no translations of its dev texts; empty: none."""
    ensemble: Whole = 100
    """Linear candidates whose mean is the winner, chosen by the protocol's scores (`search.ensemble`); 0: the
    best candidate alone. With protocol last there is none."""
    metric: Metric = "f1_micro"
    """Dev score that chooses the winner, the steps of a mixed search and which of the best are tied:
    f1_micro, accuracy (the same where a text has one label, as here) or f1_macro, in which labels weigh
    equally."""
    top: Positive = 20
    """Best candidates whose confusion matrices are written."""
    class_weight: ClassWeight = "none"
    """balanced: rare labels weigh as much as frequent ones, for logistic_regression, linear_svm, ridge and a
    user's classifier that has the parameter; others ignore it. `params` may set it for one of them."""
    target_languages: Distinct[str] = ()
    """Languages scored beside the source; empty for all of the corpus."""

    @model_validator(mode="after")
    def _check_classifiers(self) -> Self:
        self._check_factories()
        accepted = (*CLASSIFIERS, *self.factories)
        for name in self.classifiers:
            if name not in accepted:
                raise ValueError(unknown(f"{HERE}.classifiers", name, accepted))
        self._check_params()
        return self

    @model_validator(mode="after")
    def _check_sets(self) -> Self:
        if self.max_layers > len(self.layers):
            raise ValueError(f"{HERE}.max_layers: got {self.max_layers}, accepted: 0 to {len(self.layers)}")
        for name, used in (("beam_width", ("beam",)), ("mixed_steps", ("greedy", "beam"))):
            if self.mixed not in used:
                why = f"with {HERE}.mixed {self.mixed!r}, but with {' or '.join(used)}"
                require_default(self, (name,), why)
        if self.mixed != "none" and self.protocol == "last":
            raise ValueError(
                f"{HERE}.mixed: got {self.mixed!r} with protocol 'last', which scores nothing to go by, "
                "accepted: none, or another protocol"
            )
        return self

    def _check_factories(self) -> None:
        for name in self.factories:
            require_name(name)
            if name not in self.classifiers:
                raise ValueError(
                    f"gridsearch.factories.{name}: not searched, accepted: a name in gridsearch.classifiers"
                )

    def _check_params(self) -> None:
        for name in self.params:
            if name not in self.classifiers:
                raise ValueError(unknown("gridsearch.params", name, self.classifiers))
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
        chosen: dict[str, list[ParamValue]] = {
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
