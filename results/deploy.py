"""The model of a run to deploy: the search's classifier or a trained one, whichever scores best on dev.

    deploy.json: {"model": "models/probe", "system": "probe", "there": true, "metric": "f1_micro", ...}

The protocol that chose in the search compares the models, too, on dev texts, never on test: agreement less
log-loss, where every model has it of all dev texts, else the metric of the search. Of equals the simpler
one is taken, the search's classifier first.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert import files
from mcbert.files.objects import parse, read_object
from mcbert.results.csv_rows import CsvStream
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE
from mcbert.results.schema.words import AGREEMENT, METRICS, SYSTEMS, metric_words

NAME = "deploy.json"
PROBE = "probe"
_SEARCHED, _TRAINED = "predictions_gridsearch.csv", "predictions_finetune.csv"
_WINNER = "winner.json"

Confusions = Counter[tuple[str, str]]  # (label, predicted) -> texts


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """A model of a run and its dev score."""

    system: str
    """As in predictions_*.csv."""

    model: str
    """Its folder, from the run's."""

    score: float
    """On dev, as `DevScores` has it."""

    there: bool
    """True if the folder holds it."""

    made_by: str = ""
    """The command that makes it; empty where it is there."""


@dataclasses.dataclass(frozen=True)
class DevScores:
    """How the models of a run compare on dev."""

    protocol: str
    """agreement, source-dev or target-dev: what was looked at."""

    metric: str
    """agreement, or a metric of the search: the mean over the languages that the protocol looks at."""

    scores: Mapping[str, float]
    """By system."""

    @property
    def words(self) -> str:
        """The metric as prose has it."""
        return metric_words(self.metric)

    def below_probe(self) -> dict[str, bool]:
        """Return of each trained system whether it is below the search's classifier; empty without one."""
        return below_probe(self.scores)


def _criterion(folder: Path) -> tuple[str, tuple[str, ...]]:
    """Return the metric and the labels of the search; no labels where none was made."""
    path = folder / _WINNER
    if not path.is_file():
        return METRICS[0], ()
    found = read_object(path, {"labels": list}, optional={"metric": str})
    metric = str(found.get("metric", METRICS[0]))
    if metric not in METRICS:
        raise ValueError(f"{path}: metric: got {metric!r}, accepted: {', '.join(METRICS)}")
    return metric, tuple(map(str, found["labels"]))


def dev_scores(folder: Path, protocol: str, source_language: str) -> DevScores:
    """Return the dev score of each system's model in a run's folder.

    Parameters
    ----------
    folder : Path
        With predictions_gridsearch.csv, predictions_finetune.csv or both; winner.json names the metric. Of
        several seeds the first counts: its weights are the ones kept.
    protocol : str
        ``agreement``: agreement less log-loss, as the search and the trainings found it, where each model has
        it of all the same texts; ``target-dev``: the mean of the metric over the target languages; any other,
        or without agreement: the metric on the source language.

    Returns
    -------
    DevScores
        On the texts that the search's classifier labelled, where there is one. Without scores where such
        texts are missing.

    Raises
    ------
    ValueError
        winner.json is damaged.
    """
    metric, labels = _criterion(folder)
    looked = "target-dev" if protocol == "target-dev" else "source-dev"
    found = {}
    for system, languages in _counted(folder).items():
        watched = [
            _score(pairs, metric, labels)
            for language, pairs in languages.items()
            if (language == source_language) == (looked == "source-dev")
        ]
        if watched:
            found[system] = math.fsum(watched) / len(watched)  # rounded once, in whatever order they come
    agreed = _agreed(folder, source_language) if protocol == AGREEMENT else {}
    if found and agreed.keys() >= found.keys():
        return DevScores(AGREEMENT, AGREEMENT, {system: agreed[system] for system in found})
    return DevScores(looked, metric, found)


def _agreed(folder: Path, source_language: str) -> dict[str, float]:
    """Return agreement less log-loss of the models that have it, of all dev texts and their pairs."""
    found, kept = dict[str, float](), dict[str, str]()
    columns = ("system", "seed", "language", "split", "chosen", "sample_of", "agreement", "log_loss")
    path = folder / FINETUNE.file_name
    for system, seed, language, split, chosen, sample, agreed, loss in (
        CsvStream(FINETUNE, path, columns) if path.is_file() else ()
    ):
        of_all = split == "dev" and language == source_language and chosen == "true" and not sample
        if of_all and kept.setdefault(system, seed) == seed and agreed and loss:
            found[system] = float(agreed) - float(loss)
    winner = folder / _WINNER
    if winner.is_file():
        searched = read_object(winner, {}, optional={"protocol": str, "scores": dict})
        if searched.get("protocol") == AGREEMENT:
            found[PROBE] = float(searched["scores"]["score"])
    return found


def _counted(folder: Path) -> dict[str, dict[str, Confusions]]:
    """Count the dev texts of each system and language by their label and the predicted one."""
    counted: dict[str, dict[str, Confusions]] = defaultdict(lambda: defaultdict(Counter))
    known, kept = set[str](), dict[str, str]()
    for name in (_SEARCHED, _TRAINED):
        columns = ("system", "seed", "id", "language", "split", "label", "predicted")
        rows = CsvStream(PREDICTIONS, folder / name, columns) if (folder / name).is_file() else ()
        for system, seed, text, language, split, label, predicted in rows:
            if split != "dev" or kept.setdefault(system, seed) != seed:
                continue
            if name == _SEARCHED:
                known.add(text)
            if not known or text in known:
                counted[system][language][label, predicted] += 1
    return counted


def _score(pairs: Confusions, metric: str, labels: Sequence[str]) -> float:
    """Return the share labelled rightly, which micro-F1 is, too; or the mean of the labels' F1.

    A label of the search that is neither given nor predicted counts 0, as there.
    """
    if metric != "f1_macro":
        return sum(n for (label, predicted), n in pairs.items() if label == predicted) / pairs.total()
    either = Counter[str]()
    for (label, predicted), n in pairs.items():
        either[label] += n
        either[predicted] += n
    f1 = [2 * pairs[label, label] / n for label, n in either.items()]
    return math.fsum(f1) / len(labels or either)


def below_probe(scores: Mapping[str, float]) -> dict[str, bool]:
    """Return of each trained system whether it is below the search's classifier; empty without one."""
    if PROBE not in scores:
        return {}
    return {system: score < scores[PROBE] for system, score in scores.items() if system != PROBE}


def order(scored: Sequence[Scored]) -> list[Scored]:
    """Return models best first, of equals the simpler, as `SYSTEMS` has them."""
    return sorted(scored, key=lambda one: (-one.score, SYSTEMS.index(one.system)))


def write(folder: Path, scored: Sequence[Scored], found: DevScores, stamp: Mapping[str, object]) -> None:
    """Write deploy.json, or remove it where there is no model to name."""
    if not scored:
        (folder / NAME).unlink(missing_ok=True)
        return
    ranked = order(scored)
    record = {
        **dataclasses.asdict(ranked[0]),
        "protocol": found.protocol,
        "split": "dev",
        "metric": found.metric,
        "compared": [dataclasses.asdict(one) for one in ranked],
        **stamp,
    }
    files.write_text(folder / NAME, json.dumps(record, indent=1, ensure_ascii=False) + "\n")


def read(folder: Path) -> dict[str, Any]:
    """Return what deploy.json of a run's folder says; nothing where there is none.

    Raises
    ------
    ValueError
        It is damaged.
    """
    path = folder / NAME
    if not path.is_file():
        return {}
    try:
        record: dict[str, Any] = parse(files.read_bytes(path))
        if "metric" not in record:  # as it was when accuracy was the only one
            record["metric"] = METRICS[-1]
            for one in (record, *record["compared"]):
                one["score"] = one.pop("accuracy")
        _ = str(record["model"]), bool(record["there"]), str(record["protocol"]), float(record["score"])
        _ = (*METRICS, AGREEMENT).index(record["metric"])
        _ = [(float(one["score"]), SYSTEMS.index(Scored(**one).system)) for one in record["compared"]]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{path}: damaged ({error}); remove it to have it made again") from error
    return record


def told(record: Mapping[str, Any]) -> str:
    """Return the model of a deploy.json, with the command that makes it where it is not there yet."""
    if not record:
        return ""
    model = str(record["model"])
    return model if record["there"] else f"{model} ({record.get('made_by') or 'make export'} makes it)"
