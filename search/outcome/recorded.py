"""What a row of the search's ledger must be: gridsearch.jsonl may come from elsewhere or another version.

python -m pytest tests/search/outcome/test_recorded.py
"""

from collections.abc import Mapping
from typing import Any

from mcbert.search.outcome.predictions import decode

STATUS = ("ok", "error")
SPLITS = ("dev", "test")
CENTURY = 100 * 366 * 24 * 3600.0  # seconds


def require_row(row: Mapping[str, Any], *, n_classes: int, n_texts: int) -> None:
    """Raise unless a row is one of a candidate, as `search.task.run` makes it.

    Parameters
    ----------
    n_classes : int
        Labels of the corpus.
    n_texts : int
        Rows of the corpus: no matrix counts more texts, no candidate predicts more.

    Raises
    ------
    ValueError
        Names the first field at fault.
    """
    if row["status"] not in STATUS:
        raise ValueError(f"status: got {row['status']!r}, accepted: {', '.join(STATUS)}")
    for name in ("message", "predictions"):
        if not isinstance(row[name], str):
            raise ValueError(f"{name}: accepted: text")
    for name in ("fit_seconds", "score_seconds"):
        if type(row[name]) not in (int, float) or not 0 <= row[name] < CENTURY:
            raise ValueError(f"{name}: accepted: a number of seconds")
    _require_matrices(row["matrices"], n_classes, n_texts)
    if row["status"] == "ok":
        codes = decode(row["predictions"], n_classes, most=n_texts)
        if codes.size and codes.max() >= n_classes:
            raise ValueError(f"predictions: got label {codes.max()}, accepted: 0 to {n_classes - 1}")


def _require_matrices(matrices: Mapping[str, Any], n_classes: int, n_texts: int) -> None:
    for language, splits in matrices.items():
        for split, packed in splits.items():
            if split not in SPLITS or not _is_matrix(packed, n_classes, n_texts):
                raise ValueError(f"matrices: {language}: {split}: accepted: counts of texts for dev and test")


def _is_matrix(packed: Any, n_classes: int, n_texts: int) -> bool:
    if not isinstance(packed, list) or len(packed) % 2 or any(type(n) is not int for n in packed):
        return False
    cells, counts = packed[::2], packed[1::2]
    rising = all(a < b for a, b in zip([-1, *cells], [*cells, n_classes**2], strict=True))
    return rising and min(counts, default=1) > 0 and sum(counts) <= n_texts
