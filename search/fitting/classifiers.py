"""The table of classifiers of `python -m mcbert gridsearch`: factory, parameters, route.

Columns are standardised, so an inner product grows with the number of columns, 128 to 6,144 here, and
penalties must be strong. The sums over a feature set are made once for all parameters; each value
then takes a factorisation of its own: one Cholesky of 1,500 texts takes 0.04 s, the eigendecomposition that
would serve all values 0.63 s. Results are those of the factory's estimator fitted on the standardised columns
of all train rows (`tests/search/fitting/test_fast_fits.py`).
"""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeGuard, get_args

ParamValue = int | float | str | bool
Params = tuple[tuple[str, ParamValue], ...]
"""Names and values, by name."""
ClassWeight = Literal["none", "balanced"]
CLASS_WEIGHTS: tuple[ClassWeight, ...] = get_args(ClassWeight)


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """A parameter of a classifier: default (None: the factory's own), accepted values in words, the check."""

    default: ParamValue | None
    accepted: str
    accepts: Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A classifier of the search.

    Attributes
    ----------
    factory : callable
        Makes the plain scikit-learn estimator from the parameters; its predictions define those of the
        route.
    parameters : dict of str to Parameter
        Those that a configuration may set.
    route : str
        Name in `search.fitting.fast_fits.ROUTES` of the function that fits the estimator's problem on a
        feature set; `plain` suits any estimator.
    stochastic : bool
        Whether fitting draws random numbers: then each seed is a candidate.
    """

    factory: Callable[..., Any]
    parameters: Mapping[str, Parameter]
    route: str = "plain"
    stochastic: bool = False

    def check(self, where: str, name: str, value: object) -> ParamValue:
        """Return the value of a parameter; a number is an int or a float as its default is.

        Raises
        ------
        ValueError
            If the classifier has no such parameter or it does not accept the value.
        """
        if name not in self.parameters:
            raise ValueError(unknown(where, name, tuple(self.parameters)))
        parameter = self.parameters[name]
        if not isinstance(value, ParamValue) or not parameter.accepts(value):
            raise ValueError(f"{where}.{name}: got {value!r}, accepted: {parameter.accepted}")
        return float(value) if isinstance(parameter.default, float) else value


def unknown(what: str, given: object, accepted: tuple[object, ...]) -> str:
    """Return the message for a name that is not among the accepted ones, with the nearest of them."""
    near = difflib.get_close_matches(str(given), [str(name) for name in accepted], n=1, cutoff=0.4)
    hint = f" (nearest: {near[0]})" if near else ""
    return f"{what}: got {given!r}, accepted: {', '.join(str(name) for name in accepted) or 'none'}{hint}"


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a value is a number; True and False are not."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _positive(default: float) -> Parameter:
    return Parameter(
        default=default,
        accepted="a number above 0",
        accepts=lambda value: is_number(value) and 0 < value < float("inf"),
    )


def _at_least_one(default: int) -> Parameter:
    return Parameter(
        default=default,
        accepted="a whole number from 1",
        accepts=lambda value: is_number(value) and isinstance(value, int) and value >= 1,
    )


_SHRINKAGE = Parameter(
    default=0.5,
    accepted="a number above 0, at most 1",
    accepts=lambda value: is_number(value) and 0 < value <= 1,
)


_CLASS_WEIGHT = Parameter(
    default=None,
    accepted=", ".join(CLASS_WEIGHTS),
    accepts=lambda value: value in CLASS_WEIGHTS,
)


# scikit-learn takes a second to import, and settings are read by commands that fit nothing
def _logistic_regression(C: float, class_weight: str = "none") -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, tol=1e-4, max_iter=1000, class_weight=_weighted(class_weight))


def _linear_svm(C: float, class_weight: str = "none") -> Any:
    from sklearn.svm import SVC

    return SVC(kernel="linear", C=C, class_weight=_weighted(class_weight))


def _ridge(alpha: float, class_weight: str = "none") -> Any:
    from sklearn.linear_model import RidgeClassifier

    return RidgeClassifier(alpha=alpha, class_weight=_weighted(class_weight))


def _weighted(class_weight: str) -> str | None:
    return None if class_weight == "none" else class_weight


def _lda(shrinkage: float) -> Any:
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    return LinearDiscriminantAnalysis(solver="lsqr", shrinkage=shrinkage)


def _knn(n_neighbors: int) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    return KNeighborsClassifier(n_neighbors=n_neighbors, algorithm="brute")


def _mlp(hidden_layer_sizes: int, alpha: float) -> Any:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(hidden_layer_sizes=hidden_layer_sizes, alpha=alpha, tol=1e-2)


# Defaults: in the middle of what worked on the dev texts of the sample corpus (618 train texts, 31 feature
# sets of 128 to 1,024 columns), between the best for the source language and the stronger penalty that is
# best for the target languages.
CLASSIFIERS: dict[str, Classifier] = {
    # source / target dev accuracy: C 1e-3 .66/.43, 3e-3 .69/.42, 1e-2 .71/.41, 1 .67/.38; a small C also
    # fits in half the time
    "logistic_regression": Classifier(
        factory=_logistic_regression,
        parameters={"C": _positive(0.003), "class_weight": _CLASS_WEIGHT},
        route="logistic_regression",
    ),
    # the kernel's diagonal is about the number of columns, so C of 1 / 1,000: 1e-4 .55/.40, 1e-3 .67/.43,
    # 1e-2 .67/.40
    "linear_svm": Classifier(
        factory=_linear_svm,
        parameters={"C": _positive(0.001), "class_weight": _CLASS_WEIGHT},
        route="linear_svm",
    ),
    # the scatter's eigenvalues average the number of train rows: 100 .70/.39, 1,000 .71/.42, 10,000 .64/.43
    "ridge": Classifier(
        factory=_ridge,
        parameters={"alpha": _positive(1000.0), "class_weight": _CLASS_WEIGHT},
        route="ridge",
    ),
    # with fewer texts than columns the covariance has no inverse: .1 .71/.38, .5 .72/.42, .8 .68/.43
    "lda": Classifier(
        factory=_lda,
        parameters={"shrinkage": _SHRINKAGE},
        route="lda",
    ),
    # 5 .45/.36, 20 .54/.39, 40 .54/.40: many neighbours, because duplicated train rows vote several times
    "knn": Classifier(
        factory=_knn,
        parameters={"n_neighbors": _at_least_one(20)},
        route="knn",
    ),
    # not among the default ones: 0.9 s a fit, ten times the others. Over 5 feature sets and 2 seeds, alpha
    # 1e-4 .68/.41, 1 .69/.42, 3 .70/.43, 10 .68/.44, 100 .34/.31; 32, 100 or 256 hidden units within .01. A
    # tol of 1e-2 stops when the loss falls no more and halves the time of scikit-learn's 1e-4;
    # early_stopping, which holds texts back, loses .02
    "mlp": Classifier(
        factory=_mlp,
        parameters={"hidden_layer_sizes": _at_least_one(100), "alpha": _positive(10.0)},
        stochastic=True,
    ),
}


LINEAR = ("logistic_regression", "linear_svm", "ridge", "lda")


def score_per_label(n_labels: int) -> list[str]:
    """Return the classifiers that have a linear score for each label; an SVM of more than two has votes."""
    return [name for name in LINEAR if n_labels == 2 or name != "linear_svm"]
