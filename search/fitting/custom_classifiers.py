"""A user's own classifiers for `python -m mcbert gridsearch`, added in the configuration by name.

    [gridsearch]
    classifiers = ["ridge", "my_svm"]
    factories.my_svm = "my_module:make"
    params.my_svm = {C = [0.1, 1.0]}

`make` is called with the parameters as keywords and returns an object with `fit` and `predict`, as
scikit-learn has them; it is fitted on the standardised columns, float64 (n_texts, n_columns), and label
codes, and predicts label codes. A configuration that names a factory names code, which is run as the user
who starts the search: it is the user's own file. Workers import the module themselves, by its name, so it
must be on the Python path of each (PYTHONPATH); no code travels to them.
"""

import hashlib
import importlib
import inspect
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from mcbert.results.schema.words import ENSEMBLE
from mcbert.search.fitting.classifiers import CLASSIFIERS, Classifier, Parameter, ParamValue, unknown

NAME = re.compile(r"[a-z][a-z0-9_]*")
_PLAIN = Parameter(default=None, accepted="a number, text, true or false", accepts=lambda value: True)
_KEYWORDS = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


class AnyName(Mapping[str, Parameter]):
    """The parameters of a callable that takes any keyword."""

    def __getitem__(self, name: str) -> Parameter:
        """Return the parameter that accepts any value."""
        return _PLAIN

    def __contains__(self, name: object) -> bool:
        """Return True for any text."""
        return isinstance(name, str)

    def __iter__(self) -> Any:
        """Iterate over nothing: no name is known beforehand."""
        return iter(())

    def __len__(self) -> int:
        """Return 0: no name is known beforehand."""
        return 0


@dataclass(frozen=True, kw_only=True)
class Factory(Classifier):
    """A classifier of the user, made by a callable.

    Attributes
    ----------
    name : str
        Its name in the configuration.
    path : str
        "module:callable".
    """

    name: str
    path: str

    def make(self, params: Mapping[str, ParamValue]) -> Any:
        """Return a new estimator.

        Raises
        ------
        ValueError
            If the callable fails, or returns something without fit and predict.
        """
        where = f"gridsearch.factories.{self.name}: {self.path}({_call(params)})"
        try:
            estimator = self.factory(**params)
        except Exception as error:
            text = " ".join(f"{type(error).__name__}: {error}".split())
            raise ValueError(f"{where}: {text}; gridsearch.params.{self.name} has the parameters") from error
        for method in ("fit", "predict"):
            if isinstance(estimator, type) or not callable(getattr(estimator, method, None)):
                raise ValueError(
                    f"{where}: got {_shown(estimator)}, which has no {method}, "
                    "accepted: an estimator with fit and predict"
                )
        return estimator

    def identity(self, params: Mapping[str, ParamValue]) -> dict[str, str]:
        """Return path, class, and version or source digest of both modules; see `identities`."""
        kind = type(self.make(params))
        module = inspect.getmodule(self.factory)
        return {
            "path": self.path,
            "estimator": f"{kind.__module__}.{kind.__qualname__}",
            "made_by": _version(module),
            "made_of": _version(inspect.getmodule(kind)),
        }


def classifier(name: str, path: str = "") -> Classifier:
    """Return a classifier by its name in the table, or a user's by the path of its factory.

    Parameters
    ----------
    name : str
        Key of `search.fitting.classifiers.CLASSIFIERS`, or the user's name.
    path : str
        "module:callable" of the user's; empty for the table's.

    Raises
    ------
    ValueError
        If there is no such module or callable.
    """
    return custom(name, path) if path else CLASSIFIERS[name]


@lru_cache(maxsize=64)  # a signature of scikit-learn's takes milliseconds to inspect
def custom(name: str, path: str) -> Factory:
    """Return a user's classifier by the path of its factory; raises as `classifier` does."""
    factory = _imported(f"gridsearch.factories.{name}", path)
    return Factory(name=name, path=path, factory=factory, parameters=_parameters(factory))


def require_name(name: object) -> None:
    """Raise ValueError unless a user's classifier may have this name."""
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(
            f"gridsearch.factories: got the name {name!r}, accepted: lower-case letters, digits and _, "
            "a letter first"
        )
    taken = (*CLASSIFIERS, ENSEMBLE)
    if name in taken:
        raise ValueError(
            f"gridsearch.factories.{name}: the name is taken, accepted: any but {', '.join(taken)}"
        )


def seed_parameters(estimator: Any) -> list[str]:
    """Return the parameters that take a seed, those of a pipeline's steps too; empty where none is known."""
    known = estimator.get_params() if hasattr(estimator, "get_params") else {}
    return [name for name in sorted(known) if name.split("__")[-1] == "random_state"]


def _imported(where: str, path: object) -> Any:
    module_name, colon, attribute = path.partition(":") if isinstance(path, str) else ("", "", "")
    if not (module_name and colon and attribute):
        raise ValueError(f'{where}: got {path!r}, accepted: "module:callable"')
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        text = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(
            f"{where}: module {module_name!r} cannot be imported ({text}), "
            "accepted: one on the Python path (PYTHONPATH)"
        ) from error
    factory = getattr(module, attribute, None)
    if not callable(factory):
        public = tuple(name for name, item in vars(module).items() if callable(item) and name[0] != "_")
        raise ValueError(unknown(f"{where}: callable of module {module_name!r}", attribute, public))
    return factory


def _parameters(factory: Any) -> Mapping[str, Parameter]:
    try:
        found = inspect.signature(factory).parameters.values()
    except ValueError:  # a callable without a signature
        return AnyName()
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in found):
        return AnyName()
    return {parameter.name: _PLAIN for parameter in found if parameter.kind in _KEYWORDS}


def _version(module: Any) -> str:
    """Return a module's distribution and version, else the digest of its file."""
    if module is None:
        return "unknown"
    top = module.__name__.partition(".")[0]
    distributions = packages_distributions().get(top)
    if distributions:
        return f"{distributions[0]} {version(distributions[0])}"
    file = getattr(module, "__file__", None)
    return f"sha256 {hashlib.sha256(Path(file).read_bytes()).hexdigest()}" if file else "unknown"


def identities(
    factories: Mapping[str, str], params: Mapping[str, Mapping[str, ParamValue]]
) -> dict[str, Any]:
    """Return everything beside the parameters that the results of a user's classifiers depend on.

    Parameters
    ----------
    factories : mapping of name to "module:callable"
    params : mapping of name to one combination of parameters
        Used to make an estimator and look at its class.

    Returns
    -------
    dict
        For each name its path, the estimator's class, and of the callable's and of the class's module the
        distribution and version, or the digest of the file where it belongs to none.
    """
    return {name: custom(name, path).identity(params[name]) for name, path in factories.items()}


def _call(params: Mapping[str, ParamValue]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in params.items())


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
