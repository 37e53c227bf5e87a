"""Score every candidate on the cache, choose the winner on dev: `python -m mcbert gridsearch`.

Reads a feature cache and examples.npz; writes gridsearch.csv, confusion.csv, predictions_gridsearch.csv,
probe.npz, winner.json and, to check them by, the files of `search.outcome.evidence`. gridsearch.jsonl is the
ledger: with it, a killed search resumes where it was and ends with the same tables.
"""

import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import pandas as pd
import sklearn

from mcbert.execution import Execute, Track, Triple, untracked
from mcbert.features.cache import FeatureStore, StoreError
from mcbert.features.spec import FeatureSpec
from mcbert.files.ledger import Ledger
from mcbert.results.schema.words import metric_words
from mcbert.search import ensemble
from mcbert.search.checks import check
from mcbert.search.data import Examples
from mcbert.search.fitting import fast_fits
from mcbert.search.fitting.classifiers import score_per_label
from mcbert.search.fitting.custom_classifiers import identities
from mcbert.search.fitting.probe import Probe, decide_linear
from mcbert.search.fitting.representation import clear_cache, represent
from mcbert.search.order import Place, Rounds, coverage, described
from mcbert.search.outcome import artifacts
from mcbert.search.outcome.artifacts import Outcome
from mcbert.search.outcome.evidence import write_evidence
from mcbert.search.scoring import SCORERS
from mcbert.search.selection import places
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs, Source, open_source
from mcbert.search.space import Candidate, Space, reference
from mcbert.search.task import Task, Unreadable, error_rows, fit, one_thread, require_row, row_of, run

LOG = logging.getLogger(__name__)
VERSION = 4  # of the rows of a candidate: raise it when a change alters them

Rows = list[dict[str, Any]]


def gridsearch(
    settings: GridsearchSettings,
    inputs: Inputs,
    *,
    out: Path,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = untracked,
) -> None:
    """Score every candidate that has no row in the ledger yet, then write the tables and the winner.

    Parameters
    ----------
    settings : GridsearchSettings
        The space, and how to choose.
    inputs : Inputs
        The feature cache, the examples, and pairs of texts and their translations.
    out : Path
        Folder of the results; must exist.
    execute : Execute
        Runs the tasks: `execute(run, tasks)` yields (task, rows, error message) as they finish.
    stamp : mapping
        Columns that every row carries: run, config_digest, encoder, versions, transfer.
    track : Track
        Wraps the finished tasks with a progress display: `track(finished, how many, description, note)`, the
        note telling the best scores so far.

    Raises
    ------
    ValueError
        If the search cannot run (`search.checks`), the ledger belongs to another one, or every candidate
        failed.
    """
    start = time.perf_counter()
    cache, corpus = FeatureStore.open(inputs.store), Examples.read(inputs.examples)
    settings, languages = check(settings, cache, corpus, inputs)
    source = _source(inputs, cache, corpus, languages)
    space = Space(settings)
    most = max(len(corpus.y), len(open_source(source)[2].eval_rows))  # the one with duplicates, not the other
    require = partial(require_row, n_classes=len(corpus.labels), n_texts=most)
    identity = _identity(settings, source, corpus)
    with Ledger(out / "gridsearch.jsonl", identity, require=require) as ledger:
        n_rows, known = len(ledger.rows), sum(candidate.id in ledger.rows for candidate in space)
        best = BestScores(languages, len(corpus.labels), ledger.rows.values(), metric=settings.metric)
        LOG.info(
            "gridsearch: %d candidates, %d of them known, %d languages", len(space), known, len(languages)
        )
        outcome = Outcome(
            settings=settings,
            candidates=(),
            rows=ledger.rows,
            examples=corpus,
            languages=languages,
            stamp=stamp,
        )
        rounds = Rounds(settings, partial(_places, outcome, space))
        for number, candidates in enumerate(rounds):
            tasks = list(tasks_left(candidates, source, set(ledger.rows), mixed=number > 0))
            finished = execute(run, rounds.in_time(tasks))
            step = f"gridsearch, mixed step {number}" if number else "gridsearch"
            _keep(track(finished, len(tasks), f"{step} (feature sets)", best.note), ledger, best)
        base = reference(cache.layers, cache.poolings)
        if base and (left := list(tasks_left([base], source, set(ledger.rows)))):
            _keep(execute(run, left), ledger, best)
    scored = [candidate for candidate in rounds.planned if candidate.id in ledger.rows]
    tried = _tell_untried(settings, scored, space) if rounds.cut else None
    if not scored:
        raise ValueError(
            f"gridsearch.budget_seconds: no candidate was scored in {settings.budget_seconds:g} s, "
            "accepted: more seconds"
        )
    outcome = replace(outcome, candidates=scored, tried=tried, reference=base)
    _finish(outcome, source, cache.digest, out, texts=inputs.texts)
    seconds = time.perf_counter() - start
    LOG.info("gridsearch: %d candidates in %.1f s", len(ledger.rows) - n_rows, seconds)


def _tell_untried(
    settings: GridsearchSettings, scored: Sequence[Candidate], space: Space
) -> dict[str, Any] | None:
    """Warn of candidates that the budget left out; return how many were tried, None if all were."""
    everything = list(dict.fromkeys([*space, *scored]))  # the steps of a mixed search have others
    counts = coverage(scored, everything)
    more = "" if settings.mixed == "none" else " and the steps of the mixed search"
    LOG.warning("gridsearch: the budget is spent: %d of %d candidates%s", counts["n"], counts["of"], more)
    if counts["n"] == counts["of"]:
        return None
    LOG.warning("gridsearch: a sample, nothing is concluded from it; tried: %s", described(counts))
    return counts


def _keep(finished: Iterable[Triple[Task, Rows | Unreadable]], ledger: Ledger, best: "BestScores") -> None:
    """Write the rows of tasks to the ledger as they finish."""
    for task, answer, error in finished:
        if isinstance(answer, Unreadable):
            raise StoreError(answer.message)
        rows = answer if answer is not None else error_rows(task.candidates, error or "no result")
        ledger.append(rows)
        best.update(rows)


class BestScores:
    """The best dev score so far of each language, for the progress line.

    Parameters
    ----------
    languages : sequence of str
        In the order shown.
    n_classes : int
        Labels.
    rows : iterable of mapping
        Rows of an earlier, killed search.
    metric : str
        The score shown, a key of `search.scoring.SCORERS`.
    """

    def __init__(
        self,
        languages: Sequence[str],
        n_classes: int,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        metric: str = "f1_micro",
    ) -> None:
        self._n_classes, self._metric = n_classes, metric
        self._best = dict.fromkeys(languages, 0.0)
        self.update(rows)

    def update(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take rows of the ledger into account; 9 microseconds each for seven languages and four classes."""
        for row in rows:
            for language, splits in row["matrices"].items():
                score = float(SCORERS[self._metric](splits.get("dev", ()), self._n_classes))
                self._best[language] = max(score, self._best[language])

    def note(self) -> str:
        """Return "best dev micro-F1: en 0.712, de 0.431"; nothing while there is none."""
        known = ", ".join(f"{language} {score:.3f}" for language, score in self._best.items() if score)
        return known and f"best dev {metric_words(self._metric)}: {known}"


def tasks_left(
    candidates: Iterable[Candidate], source: Source, known: set[str], *, mixed: bool = False
) -> Iterator[Task]:
    """Yield a task for each feature set with candidates that are not known, in their order."""
    for features, models in groupby(candidates, key=lambda candidate: candidate.features):
        left = tuple(candidate for candidate in models if candidate.id not in known)
        if left:
            yield Task(source=source, features=features, candidates=left, mixed=mixed)


def _places(outcome: Outcome, space: Space, sets: Sequence[FeatureSpec]) -> dict[FeatureSpec, Place]:
    """Return the places of feature sets that have rows; see `search.order`."""
    candidates = [candidate for feature_set in sets for candidate in space.models(feature_set)]
    return places(replace(outcome, candidates=candidates).ranking(outcome.protocol))


def _source(inputs: Inputs, cache: FeatureStore, corpus: Examples, languages: tuple[str, ...]) -> Source:
    """Return where workers find the data, by absolute paths: a worker may run in another folder."""
    parallel = inputs.parallel and FeatureStore.open(inputs.parallel)
    return Source(
        store=inputs.store.resolve(),
        examples=inputs.examples.resolve(),
        languages=languages,
        digests=(cache.digest, corpus.digest, *([parallel.digest] if parallel else [])),
        parallel=inputs.parallel and inputs.parallel.resolve(),
    )


def _identity(settings: GridsearchSettings, source: Source, corpus: Examples) -> dict[str, Any]:
    """Return everything that a row depends on; the protocol only chooses among rows."""
    features, _, *parallel = source.digests
    return {
        "version": VERSION,
        "scikit_learn": sklearn.__version__,
        "features": features,
        **({"parallel": parallel[0]} if parallel else {}),
        "examples": corpus.digest,
        "languages": source.languages,
        "layers": settings.layers,
        "poolings": settings.poolings,
        "max_layers": settings.max_layers,
        "classifiers": settings.classifiers,
        "params": {name: [dict(params) for params in settings.values(name)] for name in settings.classifiers},
        "seeds": settings.seeds,
        "factories": identities(
            settings.factories, {name: dict(settings.values(name)[0]) for name in settings.factories}
        ),
    }


def _finish(
    outcome: Outcome, source: Source, store_digest: str, out: Path, *, texts: pd.DataFrame | None
) -> None:
    """Choose, and write everything; winner.json comes last and means that the rest is there."""
    (out / "winner.json").unlink(missing_ok=True)
    failed = [row for c in outcome.candidates if (row := outcome.rows[c.id])["status"] == "error"]
    ranking = outcome.ranking(outcome.protocol)
    if not ranking:
        artifacts.write_gridsearch(outcome, ranking, out / "gridsearch.csv")
        raise ValueError(
            f"{out / 'gridsearch.csv'}: all {len(failed)} candidates failed; "
            f"the first: {failed[0]['message']}"
        )
    best, ensembled = ranking[0][0], _ensembled(outcome, source)
    if ensembled is not None:
        outcome, head = ensembled
        ranking = [*outcome.ranked_ensemble(), *ranking]
    else:
        head = _refitted(best, source, outcome.examples.labels)
    winner, score = ranking[0]
    artifacts.write_gridsearch(outcome, ranking, out / "gridsearch.csv")
    artifacts.write_confusion(outcome, ranking, out / "confusion.csv")
    write_evidence(outcome, ranking, open_source(source)[2], out)
    rows, path = open_source(source)[2], out / "predictions_gridsearch.csv"
    artifacts.write_predictions(outcome, head.scored, rows, path, seed=winner.seed, texts=texts)
    clear_cache()  # the driver continues with other stages
    probe = _write_probe(head.probe, winner, out)
    artifacts.write_winner(outcome, ranking, store_digest=store_digest, probe=probe, path=out / "winner.json")
    what = "agreement less log-loss" if outcome.protocol == "agreement" else outcome.settings.metric
    found = "" if score is None else f", {what} {score:.4f}"  # last looks at no score
    LOG.info("gridsearch: winner %s by %s%s", winner.id, outcome.protocol, found)
    if winner != best:
        n, words = outcome.settings.ensemble, winner.features.words
        LOG.info("gridsearch: it is the mean of %d candidates, %d of them distinct, over %s; the best of all "
                 "alone is %s", n, len(outcome.members), words, best.id)  # fmt: skip
    if failed:
        LOG.warning("gridsearch: %d candidates failed, for example: %s", len(failed), failed[0]["message"])


@dataclass(frozen=True)
class Head:
    """The winner, fitted: its probe, if it is one, and what it makes of the distinct evaluation texts."""

    probe: Probe | None
    scored: artifacts.Scored


def _refitted(winner: Candidate, source: Source, labels: Sequence[str]) -> Head:
    with one_thread():
        representation = represent(source, winner.features)
        fitted = fit(representation, winner)
        decided = fast_fits.predict(representation, fitted)
        graded = fast_fits.graded_scores(representation, fitted)
        scored = artifacts.Scored.of(decided, graded, representation.rows)
        return Head(artifacts.make_probe(representation, fitted, winner, labels), scored)


def _ensembled(outcome: Outcome, source: Source) -> tuple[Outcome, Head] | None:
    """Return the outcome with an ensemble, and its head; None where none is wanted or one is drawn alone."""
    n, labels = outcome.settings.ensemble, outcome.examples.labels
    if not n:
        return None
    start = time.perf_counter()
    merits = outcome.merits(score_per_label(len(labels)))
    agreeing = outcome.protocol == "agreement"
    members = ensemble.select(source, merits, n) if agreeing else ensemble.draw(merits, n)
    if len(members) < 2:
        return None
    probe, scores = ensemble.fold(source, members, labels)
    candidate = ensemble.candidate_of(members)
    now = time.perf_counter()  # the scores were added up with the head
    rows = open_source(source)[2]
    row = row_of(candidate, scores, rows, fit_seconds=now - start, began=now)
    found = replace(outcome, rows={**outcome.rows, candidate.id: row}, ensemble=candidate, members=members)
    return found, Head(probe, artifacts.Scored.of(decide_linear(scores), scores, rows))


def _write_probe(probe: Probe | None, winner: Candidate, out: Path) -> str | None:
    """Write the winner's probe; return the file's name, None where the winner has none."""
    (out / "probe.npz").unlink(missing_ok=True)
    if probe is None:
        LOG.warning("gridsearch: %s has no probe; it is fitted by scikit-learn only", winner.classifier)
        return None
    probe.save(out / "probe.npz")
    return "probe.npz"
