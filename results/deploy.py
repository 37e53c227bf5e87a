"""The model of a run to deploy: the search's classifier or a trained one, whichever scores best on dev.

    deploy.json: {"model": "models/probe", "system": "probe", "there": true, "metric": "f1_micro", ...}

The protocol that chose in the search compares the models, too, on dev texts, never on test: agreement less
log-loss, where every model has it of all dev texts, else the metric of the search. Of equals the simpler
one is taken, the search's classifier first. Where the source's dev texts alone compare, a trained model has
to be above that by more than chance: a text or two in the source say nothing of the other languages.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert import files
from mcbert.files.objects import parse, read_object
from mcbert.results.csv_rows import CsvStream
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE
from mcbert.results.schema.words import AGREEMENT, METRICS, SYSTEMS, metric_words
from mcbert.results.statistics import mcnemar

NAME = "deploy.json"
PROBE = "probe"
_SEARCHED, _TRAINED = "predictions_gridsearch.csv", "predictions_finetune.csv"
_WINNER = "winner.json"

CHANCE = 0.05  # of McNemar's test

Confusions = Counter[tuple[str, str]]  # (label, predicted) -> texts
Answers = dict[str, dict[str, bool]]  # system -> id of a text -> whether it is labelled rightly


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

    level: frozenset[str] = frozenset()
    """Trained systems that the source's dev texts do not tell from the search's classifier."""

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
    counted, answers = _counted(folder, source_language)
    found = {}
    for system, languages in counted.items():
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
    return DevScores(looked, metric, found, _level(answers) if looked == "source-dev" else frozenset())


def _level(answers: Mapping[str, Mapping[str, bool]]) -> frozenset[str]:
    """Return the systems that McNemar's test does not tell from the search's classifier, by right answers."""
    known = answers.get(PROBE, {})
    found = set()
    for system, given in answers.items():
        texts = sorted(known.keys() & given.keys())
        if system != PROBE and texts:
            both = [[of[text] for text in texts] for of in (given, known)]
            if mcnemar(*both) >= CHANCE:
                found.add(system)
    return frozenset(found)


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


def _counted(folder: Path, source_language: str) -> tuple[dict[str, dict[str, Confusions]], Answers]:
    """Count the dev texts of each system and language by their label and the predicted one.

    Second is which of the source's dev texts each system labels rightly.
    """
    counted: dict[str, dict[str, Confusions]] = defaultdict(lambda: defaultdict(Counter))
    answers: Answers = defaultdict(dict)
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
                if language == source_language:
                    answers[system][text] = label == predicted
    return counted, answers


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


def order(scored: Sequence[Scored], level: Collection[str] = ()) -> list[Scored]:
    """Return models best first, of equals the simpler, as `SYSTEMS` has them.

    Systems that are `level` with the search's classifier come after it, whatever their scores.
    """
    probe = next((one.score for one in scored if one.system == PROBE), math.inf)

    def place(one: Scored) -> tuple[float, bool, float, int]:
        is_level = one.system in level and one.score > probe
        return -probe if is_level else -one.score, is_level, -one.score, SYSTEMS.index(one.system)

    return sorted(scored, key=place)


def write(folder: Path, scored: Sequence[Scored], found: DevScores, stamp: Mapping[str, object]) -> None:
    """Write deploy.json, or remove it where there is no model to name."""
    if not scored:
        (folder / NAME).unlink(missing_ok=True)
        return
    ranked = order(scored, found.level)
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
    return model if record["there"] else f"{model} ({record.get('made_by') or 'mcbert export'} makes it)"
