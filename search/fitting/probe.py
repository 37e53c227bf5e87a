"""A trained probe in numpy only; `python -m mcbert gridsearch` writes the winner's as probe.npz.

Three decision rules cover the classifiers: the largest of linear scores, one-vs-one votes of linear
classifiers (the SVM, as libsvm decides), votes of nearest neighbours. The search and the saved probe use the
same functions.
"""

import os
from dataclasses import dataclass, fields
from typing import Literal, TypeGuard, get_args

import numpy as np
import numpy.typing as npt

from mcbert.files.arrays import Arrays, read_arrays, require_shapes, write_arrays

Kind = Literal["linear", "pairwise", "neighbours"]  # as files have it: pairwise is one-vs-one
KINDS: tuple[Kind, ...] = get_args(Kind)
FORMAT = 1
ROWS_AT_ONCE = 1024  # that are standardised


def decide_linear(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the class of the largest score; `scores` is (n, n_classes), the lower class wins a tie."""
    return np.asarray(np.argmax(scores, axis=1), dtype=np.int64)


def decide_one_vs_one(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    """Return the class with the most one-vs-one votes; the lower class wins a tie, as in libsvm."""
    return decide_linear(one_vs_one_votes(scores))


def one_vs_one_votes(scores: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Return the one-vs-one votes of each class, (n, n_classes).

    `scores` is (n, n_pairs) over (0, 1), (0, 2), ..., positive where the first of a pair wins.
    """
    n_classes = (1 + int(np.sqrt(1 + 8 * scores.shape[1]))) // 2
    first, second = np.triu_indices(n_classes, k=1)
    votes = np.zeros((len(scores), n_classes))
    for pair, (a, b) in enumerate(zip(first, second, strict=True)):
        won = scores[:, pair] > 0
        votes[:, a] += won
        votes[:, b] += ~won
    return votes


def decide_neighbours(
    closeness: npt.NDArray[np.floating],
    classes: npt.NDArray[np.int64],
    *,
    counts: npt.NDArray[np.int64],
    n_neighbors: int,
    n_classes: int,
) -> npt.NDArray[np.int64]:
    """Return the class of most `neighbour_votes`; the lower class wins a tie."""
    return decide_linear(
        neighbour_votes(closeness, classes, counts=counts, n_neighbors=n_neighbors, n_classes=n_classes)
    )


def neighbour_votes(
    closeness: npt.NDArray[np.floating],
    classes: npt.NDArray[np.int64],
    *,
    counts: npt.NDArray[np.int64],
    n_neighbors: int,
    n_classes: int,
) -> npt.NDArray[np.float64]:
    """Return the votes of each class among the nearest train rows, (n, n_classes).

    Parameters
    ----------
    closeness : float array of shape (n, n_train)
        Larger is nearer; one column per distinct (text, label). Only its order within a row matters.
    classes, counts : int64 arrays of shape (n_train,)
        Label code of each column and the number of train rows that it stands for.
    n_neighbors, n_classes : int
    """
    n, n_train = closeness.shape
    k = min(n_neighbors, n_train)  # each column stands for at least one row, so k columns are enough
    nearest = np.argpartition(closeness, n_train - k, axis=1)[:, n_train - k :]  # (n, k)
    order = np.argsort(-np.take_along_axis(closeness, nearest, axis=1), axis=1, kind="stable")
    nearest = np.take_along_axis(nearest, order, axis=1)
    before = np.cumsum(counts[nearest], axis=1) - counts[nearest]
    taken = np.clip(n_neighbors - before, 0, counts[nearest])  # votes of each column's rows, (n, k)
    votes = np.zeros((n, n_classes))
    everyone = np.arange(n)
    for rank in range(k):
        votes[everyone, classes[nearest[:, rank]]] += taken[:, rank]
    return votes


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A classifier over the concatenated pooled states of some layers.

    Attributes
    ----------
    kind : linear, pairwise or neighbours
        The decision rule; pairwise is one-vs-one.
    layers, pooling : tuple of int, str
        The feature set: the columns that `predict` expects, layer by layer.
    labels : tuple of str
        The labels that the codes stand for.
    mean, scale : float64 arrays of shape (d,)
        Standardisation of the columns.
    weights : float array
        linear: (d, n_classes); pairwise: (d, n_pairs); neighbours: the standardised train texts, (n_train,
        d).
    intercept : float64 array
        (n_classes,) or (n_pairs,); empty for neighbours.
    classes, counts : int64 arrays of shape (n_train,)
        Only neighbours: label code of each stored text and the number of train rows it stands for.
    n_neighbors : int
        Only neighbours, else 0.
    """

    kind: Kind
    layers: tuple[int, ...]
    pooling: str
    labels: tuple[str, ...]
    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    weights: npt.NDArray[np.floating]
    intercept: npt.NDArray[np.float64]
    classes: npt.NDArray[np.int64]
    counts: npt.NDArray[np.int64]
    n_neighbors: int = 0

    def predict(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        """Return the label codes, int64 of shape (n,), of raw pooled states `X`, float of shape (n, d).

        Raises
        ------
        ValueError
            If X does not have the d columns of the probe's layers.
        """
        if X.ndim != 2 or X.shape[1] != len(self.mean):
            wanted = f"(n, {len(self.mean)}), the {self.pooling} states of layers {self.layers}"
            raise ValueError(f"probe: X: got shape {X.shape}, accepted: {wanted}")
        parts = [self._predict(X[start : start + ROWS_AT_ONCE]) for start in range(0, len(X), ROWS_AT_ONCE)]
        return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)

    def _predict(self, X: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
        standardised = (X - self.mean) / self.scale
        if self.kind == "neighbours":
            train = self.weights.astype(np.float64)
            closeness = standardised @ train.T - (train**2).sum(axis=1) / 2
            return decide_neighbours(
                closeness,
                self.classes,
                counts=self.counts,
                n_neighbors=self.n_neighbors,
                n_classes=len(self.labels),
            )
        scores = standardised @ self.weights + self.intercept
        return decide_linear(scores) if self.kind == "linear" else decide_one_vs_one(scores)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the probe as .npz without pickle; the file appears whole."""
        write_arrays(path, self.arrays() | {"format": np.asarray(FORMAT)})

    def arrays(self) -> Arrays:
        """Return the fields by name, as arrays."""
        return {name: np.asarray(getattr(self, name)) for name in _FIELDS}

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Probe":
        """Read a probe; nothing in the file is executed.

        Raises
        ------
        ValueError
            If the file is not a probe of this version.
        """
        stored = read_arrays(path, ("format", *_FIELDS), "a probe")
        require_shapes(path, stored, _SHAPES)
        kind = str(stored["kind"])
        if stored["format"] != FORMAT or not _is_kind(kind):
            raise ValueError(
                f"{path}: got kind {kind!r}, format {stored['format']}, "
                f"accepted: {', '.join(KINDS)}, {FORMAT}"
            )
        d, n_labels, n_train = (len(stored[name]) for name in ("mean", "labels", "classes"))
        scores = {"linear": n_labels, "pairwise": n_labels * (n_labels - 1) // 2, "neighbours": 0}[kind]
        weights = (n_train, d) if kind == "neighbours" else (d, scores)
        require_shapes(path, stored, {"weights": ("f", weights), "intercept": ("f", (scores,))})
        if (
            (stored["classes"] < 0).any()
            or (stored["classes"] >= n_labels).any()
            or not stored["scale"].all()
        ):
            raise ValueError(f"{path}: got a class of no label, or a scale of 0")
        return cls(
            kind=kind,
            layers=tuple(stored["layers"].tolist()),
            pooling=str(stored["pooling"]),
            labels=tuple(stored["labels"].tolist()),
            n_neighbors=int(stored["n_neighbors"]),
            mean=stored["mean"],
            scale=stored["scale"],
            weights=stored["weights"],
            intercept=stored["intercept"],
            classes=stored["classes"],
            counts=stored["counts"],
        )


_FIELDS = tuple(field.name for field in fields(Probe))
_SHAPES: dict[str, tuple[str, tuple[str | int, ...]]] = {
    **dict.fromkeys(("kind", "pooling"), ("U", ())),
    **dict.fromkeys(("format", "n_neighbors"), ("i", ())),
    **dict.fromkeys(("mean", "scale"), ("f", ("d",))),
    **dict.fromkeys(("classes", "counts"), ("i", ("n_train",))),
    "labels": ("U", ("labels",)),
    "layers": ("i", ("layers",)),
}


def _is_kind(text: str) -> TypeGuard[Kind]:
    return text in KINDS
