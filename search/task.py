"""One unit of work of `python -m mcbert gridsearch`: a feature set and all its classifiers.

`run` is a top-level function of a small picklable task: it finds its data by path, so nothing larger than a
list of candidates crosses a process border, and it is the same in this process, under loky and on a cluster.
It returns rows of the ledger; `require_row` checks those of a ledger that may come from elsewhere.
"""

import logging
import math
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sklearn
from threadpoolctl import ThreadpoolController

from mcbert.features.cache import StoreError
from mcbert.features.spec import FeatureSpec
from mcbert.results.probabilities import agreement, log_loss, softmax, temperature
from mcbert.search.data import Ints, Reals, RowSelection
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.custom_classifiers import classifier, seed_parameters
from mcbert.search.fitting.probe import decide_linear
from mcbert.search.fitting.representation import Representation, represent
from mcbert.search.outcome.predictions import decode, encode
from mcbert.search.scoring import confusion_matrices, pack
from mcbert.search.source import Source
from mcbert.search.space import Candidate

LOG = logging.getLogger(__name__)
MESSAGE_LENGTH = 300
STATUS = ("ok", "error")
SPLITS = ("dev", "test")
CENTURY = 100 * 366 * 24 * 3600.0  # seconds


@dataclass(frozen=True, kw_only=True)
class Task:
    """A feature set and the candidates on it that are still to be scored."""

    source: Source
    features: FeatureSpec
    candidates: tuple[Candidate, ...]
    mixed: bool = False  # a step of a mixed search: the worker keeps all poolings


@dataclass(frozen=True)
class Unreadable:
    """Returned by `run` when its worker cannot read the data: no fault of a candidate, so no row."""

    message: str


def run(task: Task) -> list[dict[str, Any]] | Unreadable:
    """Fit and score the candidates of a task; return a row of the ledger for each, in their order.

    A row has candidate_id, status (ok or error), message, fit_seconds, score_seconds, matrices (language
    -> split -> confusion matrix, by `search.scoring.pack`), log_loss and agreement (by `transfer_scores`) and
    predictions (of the distinct evaluation texts, by `search.outcome.predictions.encode`). A candidate that
    fails has a row with status error; no exception of a classifier leaves this function. Where the cache or
    the examples cannot be read, or are not those of the search, it returns `Unreadable` instead.
    """
    with one_thread():
        start = time.perf_counter()
        try:
            representation = represent(task.source, task.features, mixed=task.mixed)
            representation.require_varying(task.features)
            representation.prepare()
        except StoreError as error:
            return Unreadable(f"worker on {socket.gethostname()}: {error}")
        except Exception as error:
            LOG.debug("task %s failed", task.features, exc_info=True)
            return error_rows(task.candidates, error)
        shared = (time.perf_counter() - start) / len(task.candidates)
        return [_score(representation, candidate, shared=shared) for candidate in task.candidates]


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit BLAS to one thread and skip scikit-learn's checks, already made, as for every fit here."""
    checked = sklearn.config_context(assume_finite=True, skip_parameter_validation=True)
    with _controller().limit(limits=1), checked:
        yield


def fit(representation: Representation, candidate: Candidate) -> fast_fits.Fitted:
    """Fit a candidate on its feature set."""
    entry = classifier(candidate.classifier, candidate.factory)
    return fast_fits.ROUTES[entry.route](representation, estimator_of(candidate))


def estimator_of(candidate: Candidate) -> Any:
    """Return a candidate's scikit-learn estimator, not fitted; random numbers in it come from its seed."""
    entry = classifier(candidate.classifier, candidate.factory)
    estimator = entry.factory(**dict(candidate.params))
    if seeds := seed_parameters(estimator):
        estimator.set_params(**dict.fromkeys(seeds, candidate.seed))
    return estimator


def error_rows(candidates: Sequence[Candidate], error: Exception | str) -> list[dict[str, Any]]:
    """Return the rows of candidates that could not be scored; the message is one line."""
    text = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
    message = " ".join(text.split())[:MESSAGE_LENGTH]
    return [
        {
            "candidate_id": candidate.id,
            "status": "error",
            "message": message,
            "fit_seconds": 0.0,
            "score_seconds": 0.0,
            "matrices": {},
            "log_loss": {},
            "agreement": {},
            "predictions": "",
        }
        for candidate in candidates
    ]


def _score(representation: Representation, candidate: Candidate, *, shared: float) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        fitted = fit(representation, candidate)
        between = time.perf_counter()
        scores = fast_fits.label_scores(representation, fitted)
        return row_of(
            candidate, scores, representation.rows, began=between, fit_seconds=between - start + shared
        )
    except Exception as error:
        LOG.debug("candidate %s failed", candidate.id, exc_info=True)
        return error_rows([candidate], error)[0]


def row_of(
    candidate: Candidate, scores: Reals, rows: RowSelection, *, fit_seconds: float, began: float
) -> dict[str, Any]:
    """Return the row of a candidate from its scores of the distinct evaluation texts, (n, n_classes).

    `began`: when these scores were begun, by `time.perf_counter`.
    """
    predicted = decide_linear(scores)
    scored = {"matrices": score(rows, predicted), **transfer_scores(scores, rows)}
    return {
        "candidate_id": candidate.id,
        "status": "ok",
        "message": "",
        "fit_seconds": round(fit_seconds, 6),
        "score_seconds": round(time.perf_counter() - began, 6),
        **scored,
        "predictions": encode(predicted, rows.n_classes),
    }


def score(rows: RowSelection, predicted: Ints) -> dict[str, dict[str, list[int]]]:
    """Return language -> split -> packed confusion matrix of predictions for the distinct texts."""
    counts = confusion_matrices(
        rows.scored_y,
        predicted[rows.scored_text],
        group=rows.scored_group,
        n_groups=len(rows.groups),
        n_classes=rows.n_classes,
    )
    matrices: dict[str, dict[str, list[int]]] = {}
    for (language, split), matrix in zip(rows.groups, counts, strict=True):
        matrices.setdefault(language, {})[split] = pack(matrix)
    return matrices


def transfer_scores(scores: Reals, rows: RowSelection) -> dict[str, dict[str, float]]:
    """Return what the protocols read of a candidate beside its right answers.

    Scores of unlike classifiers become probabilities by a temperature, fitted to the source language's dev
    texts (`results.probabilities`).

    Returns
    -------
    dict
        log_loss: mean -log of the true label's probability on dev, nats, by language. agreement: of the
        probabilities of source texts and of their translations, by target language. Both empty where the
        source language has no dev texts.
    """
    source = rows.dev.get(rows.source_language)
    if source is None:
        return {"log_loss": {}, "agreement": {}}
    watched = scores[rows.watched]
    text, y = source
    shares = softmax(watched / temperature(watched[text], y))
    return {
        "log_loss": {language: log_loss(shares[at], codes) for language, (at, codes) in rows.dev.items()},
        "agreement": {
            language: agreement(shares[a], shares[b]) for language, (a, b) in rows.translated.items()
        },
    }


def require_row(row: Mapping[str, Any], *, n_classes: int, n_texts: int) -> None:
    """Raise unless a row of the ledger is one of a candidate, as `run` makes it.

    Parameters
    ----------
    n_classes : int
        Labels of the corpus.
    n_texts : int
        Texts of the corpus and sentences beside it: no matrix counts more, no candidate predicts more.

    Raises
    ------
    ValueError
        Naming the first field at fault.
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
    for name, least, most in (("log_loss", 0.0, math.inf), ("agreement", -math.inf, 1 + 1e-9)):
        numbers = row[name].values()
        if not all(type(number) in (int, float) and least <= number <= most for number in numbers):
            raise ValueError(f"{name}: accepted: numbers by language")
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


@lru_cache(maxsize=1)  # finding the loaded BLAS libraries takes 1 ms, setting their threads microseconds
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
