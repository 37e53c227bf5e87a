"""Fit one candidate of a finished search again: `python -m mcbert export --candidate ID`.

Reads gridsearch.csv, winner.json and examples.npz of the run and the feature cache. Fits are deterministic:
the model labels texts as the candidate's row says.
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from mcbert.features.cache import FeatureStore
from mcbert.features.spec import POOLINGS, FeatureSpec, layers_text
from mcbert.files.objects import read_object
from mcbert.results.csv_files import read
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.words import ENSEMBLE
from mcbert.search import ensemble
from mcbert.search.data import Examples
from mcbert.search.fitting.classifiers import LINEAR, score_per_label
from mcbert.search.fitting.custom_classifiers import classifier
from mcbert.search.fitting.fast_fits import plain
from mcbert.search.fitting.probe import Probe
from mcbert.search.fitting.representation import Representation, clear_cache, represent
from mcbert.search.outcome.artifacts import make_probe
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Source
from mcbert.search.space import Candidate, Space
from mcbert.search.task import fit, one_thread


@dataclass(frozen=True, kw_only=True)
class Refitted:
    """A candidate, fitted again.

    Attributes
    ----------
    record : dict
        The content of winner.json, were it the winner, and its `rank`.
    probe : Probe or None
        Of a linear or one-vs-one classifier.
    estimator : scikit-learn Pipeline or None
        Of any other: standardisation, then the classifier; takes raw states.
    """

    record: dict[str, Any]
    probe: Probe | None
    estimator: Any


def find(name: str, out: Path) -> "pd.Series[Any]":
    """Return a candidate's row of gridsearch.csv.

    Parameters
    ----------
    name : str
        Its candidate_id, or its rank.
    out : Path
        The run's folder.

    Raises
    ------
    ValueError
        There is no such candidate, or it failed.
    """
    frame = read(GRIDSEARCH, out / "gridsearch.csv")
    chosen = frame[frame["rank"].eq(int(name)) if name.isdecimal() else frame["candidate_id"].eq(name)]
    if chosen.empty:
        near = difflib.get_close_matches(name, frame["candidate_id"].tolist(), n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise ValueError(
            f"--candidate: got {name!r}, accepted: a candidate_id of {out / 'gridsearch.csv'}, "
            f"or a rank, 1 to {frame['rank'].max()}{hint}"
        )
    row = chosen.iloc[0]
    if row["status"] != "ok":
        raise ValueError(f"--candidate: {row['candidate_id']} failed: {row['message']}")
    return row


def best_linear(out: Path) -> str:
    """Return a line that names the best linear candidate, and how to export it."""
    frame = read(GRIDSEARCH, out / "gridsearch.csv")
    linear = frame[frame["classifier"].isin(LINEAR) & frame["rank"].notna()]
    if linear.empty:
        return f"no candidate is linear; search with one of {', '.join(LINEAR)}"
    row = linear.iloc[0]
    return f"the best linear candidate is {row['candidate_id']}: export it by --candidate {row['rank']}"


def find_linear(
    out: Path, *, n_labels: int, layers: Sequence[int] = (), pooling: str = ""
) -> "pd.Series[Any]":
    """Return the row of the best candidate with a linear score for each label, by the search's protocol.

    Parameters
    ----------
    out : Path
        The run's folder.
    n_labels : int
        With more than two, an SVM is one-vs-one, and its votes are no such scores.
    layers, pooling
        Only candidates of these; empty: of any.

    Raises
    ------
    ValueError
        There is none.
    """
    frame = read(GRIDSEARCH, out / "gridsearch.csv")
    names = score_per_label(n_labels)
    wanted = frame["classifier"].isin(names) & frame["rank"].notna()
    text = layers_text(sorted(layers))
    for column, value in (("layers", text), ("pooling", pooling)):
        wanted &= frame[column].eq(value) if value else True
    if layers and not pooling:  # a mixed candidate's layers mean nothing without its poolings
        wanted &= frame["pooling"].isin(POOLINGS)
    if not wanted.any():
        among = "".join(
            f", {name} {value}" for name, value in (("layers", text), ("pooling", pooling)) if value
        )
        raise ValueError(
            f"{out / 'gridsearch.csv'}: got no candidate with a score for each label{among}; accepted: "
            f"gridsearch.classifiers with one of {', '.join(names)}"
        )
    return frame[wanted].sort_values("rank").iloc[0]


def refit(row: "pd.Series[Any]", settings: GridsearchSettings, *, store: Path, out: Path) -> Refitted:
    """Fit a candidate again.

    Parameters
    ----------
    row : Series
        From `find`.
    settings : GridsearchSettings
        Those of the search.
    store : Path
        Folder of the feature cache.
    out : Path
        The run's folder.

    Raises
    ------
    ValueError
        The row is of no candidate of these settings.
    """
    winner = read_object(out / "winner.json", {"source_language": str, "target_languages": list})
    record = {name: value for name, value in winner.items() if name not in ("best", "members")}
    cache, examples = FeatureStore.open(store), Examples.read(out / "examples.npz")
    source = Source(
        store=store,
        examples=out / "examples.npz",
        languages=(record["source_language"], *record["target_languages"]),
        digests=(cache.digest, examples.digest),
    )
    if row["classifier"] == ENSEMBLE:
        members = _members(winner, settings, out)
        folded, _ = ensemble.fold(source, members, examples.labels)
        clear_cache()
        whole = _described(row, ensemble.candidate_of(members))
        return Refitted(record=record | whole, probe=folded, estimator=None)
    candidate = _candidate(row, settings, out)
    with one_thread():
        representation = represent(source, candidate.features)
        fitted = fit(representation, candidate)
        if fitted.kind == "neighbours":
            entry = classifier(candidate.classifier, candidate.factory)
            fitted = plain(representation, entry.factory(**dict(candidate.params)))
        probe = make_probe(representation, fitted, candidate, examples.labels)
        estimator = None if probe else _pipeline(representation, fitted.estimator)
    clear_cache()
    return Refitted(record=record | _described(row, candidate), probe=probe, estimator=estimator)


def _members(winner: Mapping[str, Any], settings: GridsearchSettings, out: Path) -> dict[Candidate, int]:
    """Return the members of the run's ensemble and how often each was drawn, in the order of the search."""
    drawn: Mapping[str, int] = winner.get("members", {})
    rows = {row["candidate_id"]: row for _, row in read(GRIDSEARCH, out / "gridsearch.csv").iterrows()}
    unknown = [name for name in drawn if name not in rows]
    if unknown or not drawn:
        raise ValueError(
            f"{out / 'winner.json'}: members: got {unknown[:1]}, accepted: candidates of gridsearch.csv"
        )
    return {_candidate(rows[name], settings, out): times for name, times in drawn.items()}


def _candidate(row: "pd.Series[Any]", settings: GridsearchSettings, out: Path) -> Candidate:
    for candidate in Space(settings).models(FeatureSpec.of(row["layers"], row["pooling"])):
        if candidate.id == row["candidate_id"]:
            return candidate
    raise ValueError(f"{out / 'gridsearch.csv'}: {row['candidate_id']}: got no candidate of these settings")


def _pipeline(representation: Representation, estimator: Any) -> Pipeline:
    """Put the standardisation that the search made before a classifier of standardised columns."""
    scaler = StandardScaler()
    mean, scale = representation.mean, representation.scale
    fitted = {"mean_": mean, "scale_": scale, "var_": scale**2, "n_features_in_": len(scale)}
    vars(scaler).update(fitted, n_samples_seen_=len(representation.rows.train_y))
    return Pipeline([("standardise", scaler), ("classify", estimator)])


def _described(row: "pd.Series[Any]", candidate: Candidate) -> dict[str, Any]:
    scores = {
        f"{split}_f1_micro": {
            str(name).removeprefix(f"{split}_f1_micro_"): float(row[name])
            for name in row.index
            if str(name).startswith(f"{split}_f1_micro_")
            and str(name) != f"{split}_f1_micro_mean"
            and pd.notna(row[name])
        }
        for split in ("dev", "test")
    }
    return {
        "candidate_id": candidate.id,
        "rank": int(row["rank"]),
        "layers": list(candidate.layers),
        "pooling": candidate.pooling,
        "classifier": candidate.classifier,
        "params": dict(candidate.params),
        "seed": candidate.seed,
        "scores": scores,
    }
