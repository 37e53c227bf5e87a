"""Classifiers that are no head of weights (k-NN, MLP, a user's): scikit-learn's own object, kept by skops.

    estimator = read_estimator(Path("results/runs/demo/models/probe-skops"))

``model.skops`` is a zip of JSON and arrays, and no pickle: types that skops does not take for harmless are
written and built only where `TRUSTED` names them.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.features.encoder.files import EncoderError
from mcbert.results.probabilities import estimator_scores, softmax

log = logging.getLogger(__name__)

FILE = "model.skops"
TRUSTED = (
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
)
"""Types that an MLP keeps of its training, beyond those that skops itself takes for harmless."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimator:
    """A fitted scikit-learn classifier over raw pooled states, its standardisation the first step."""

    fitted: Any
    """Has predict and classes_, and predict_proba or decision_function."""

    temperature: float = 1.0
    """softmax(scores / temperature) are the probabilities; its own where it has some and this is 1."""

    @property
    def is_probabilistic(self) -> bool:
        """Whether the classifier has probabilities of its own."""
        return hasattr(self.fitted, "predict_proba")

    def scores(self, states: np.ndarray) -> np.ndarray:
        """Return float64 (n, n_labels) of states (n, d): logarithms of probabilities where it has some."""
        found = estimator_scores(self.fitted, states.astype(np.float64))
        if found is None:  # `require_exportable` refuses it, so a file that was changed
            raise ValueError(f"{FILE}: no scores of its labels; accepted: predict_proba, decision_function")
        return found

    def decide(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return codes, int64 (n,), and probabilities, float64 (n, n_labels), of raw states (n, d)."""
        columns = states.astype(np.float64)
        codes = np.asarray(self.fitted.predict(columns), dtype=np.int64)
        if self.is_probabilistic and self.temperature == 1:
            return codes, np.asarray(self.fitted.predict_proba(columns), dtype=np.float64)
        return codes, softmax(self.scores(states) / self.temperature)


def require_exportable(fitted: Any, n_labels: int, name: str) -> bytes:
    """Return what `FILE` shall hold of a classifier.

    Raises
    ------
    ValueError
        In a line: skops is not installed; a type that is not to be trusted; no score for each label.
    """
    io = _skops(name)
    try:
        content: bytes = io.dumps(fitted)
        unknown = set(io.get_untrusted_types(data=content)) - set(TRUSTED)
    except Exception as error:  # whatever an object of a user's does when it is taken apart
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ValueError(f"{name}: skops cannot keep it ({reason})") from error
    if unknown:
        raise ValueError(
            f"{name}: got a {min(unknown)}, which a reader would have to trust with running code; "
            f"accepted: classifiers made of types of scikit-learn that skops takes for harmless"
        )
    given = list(getattr(fitted, "classes_", ()))
    if given != list(range(n_labels)):
        raise ValueError(f"{name}: classes_: got {given[:5]}, accepted: the codes 0 to {n_labels - 1}")
    if not (hasattr(fitted, "predict_proba") or hasattr(fitted, "decision_function")):
        raise ValueError(f"{name}: got neither predict_proba nor decision_function; accepted: one of them")
    return content


def read_estimator(folder: Path, *, temperature: float, version: str) -> Estimator:
    """Read a folder's classifier; types that are not trusted are not built.

    Parameters
    ----------
    temperature : float
        Of `Estimator`.
    version : str
        scikit-learn's when it was written; another one is warned of.

    Raises
    ------
    EncoderError
        skops is not installed; the file is damaged or holds other types.
    """
    import sklearn  # a model whose head is weights needs none of it

    path = folder / FILE
    io = _skops(str(path))
    try:
        unknown = set(io.get_untrusted_types(file=path)) - set(TRUSTED)
        if unknown:
            raise EncoderError(f"{path}: got a {min(unknown)}, accepted: types of scikit-learn, {TRUSTED}")
        fitted = io.load(path, trusted=list(TRUSTED))
    except EncoderError:
        raise
    except Exception as error:  # a zip of JSON can be damaged in any way
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise EncoderError(f"{path}: not a classifier that export wrote ({reason})") from error
    if version != sklearn.__version__:
        log.warning("%s: made with scikit-learn %s, this is %s", path, version, sklearn.__version__)
    return Estimator(fitted=fitted, temperature=temperature)


def _skops(name: str) -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise EncoderError(
            f"{name}: needs skops, which is not installed: pip install 'mcbert[skops]'"
        ) from error
    return skops.io
