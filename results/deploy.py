"""The model of a run to deploy: the search's classifier or a trained one, whichever scores best on dev.

    deploy.json: {"model": "models/probe", "system": "probe", "there": true, "protocol": "source-dev", ...}

Dev texts of the run's protocol alone choose, never test; of equals the simpler one is taken, the search's
classifier first.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import files
from results.schema import PREDICTIONS, SYSTEMS
from results.stream import Rows

NAME = "deploy.json"
PROBE = "probe"
_SEARCHED, _TRAINED = "predictions_gridsearch.csv", "predictions_finetune.csv"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored:
    """A model of a run and its dev score."""

    system: str
    """As in predictions_*.csv."""

    model: str
    """Its folder, from the run's."""

    accuracy: float
    """Dev accuracy in the languages that the protocol looks at, their mean."""

    there: bool
    """Whether the folder holds it."""


def looks_at(protocol: str) -> str:
    """Return the protocol whose dev score compares models: `last` looks at no score."""
    return protocol if protocol == "target-dev" else "source-dev"


def dev_accuracies(folder: Path, protocol: str, source_language: str) -> dict[str, float]:
    """Return the dev accuracy of each system's model in a run's folder, by what the protocol looks at.

    Parameters
    ----------
    folder : Path
        With predictions_gridsearch.csv, predictions_finetune.csv or both. Of several seeds the first counts:
        its weights are the ones kept.
    protocol : str
        ``target-dev``: the mean over the target languages; any other: the source language.

    Returns
    -------
    dict
        By system; on the texts that the search's classifier labelled, where there is one. Empty where such
        texts are missing.
    """
    right: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    known, kept = set[str](), dict[str, str]()
    for name in (_SEARCHED, _TRAINED):
        columns = ("system", "seed", "id", "language", "split", "label", "predicted")
        rows = Rows(PREDICTIONS, folder / name, columns) if (folder / name).is_file() else ()
        for system, seed, text, language, split, label, predicted in rows:
            if split != "dev" or kept.setdefault(system, seed) != seed:
                continue
            if name == _SEARCHED:
                known.add(text)
            if not known or text in known:
                right[system][language].append(label == predicted)
    found = {}
    for system, languages in right.items():
        watched = [
            sum(answers) / len(answers)
            for language, answers in languages.items()
            if (language == source_language) == (looks_at(protocol) == "source-dev")
        ]
        if watched:
            found[system] = sum(watched) / len(watched)
    return found


def below_probe(accuracies: Mapping[str, float]) -> dict[str, bool]:
    """Tell of each trained system whether it is below the search's classifier; empty where there is none."""
    if PROBE not in accuracies:
        return {}
    return {system: score < accuracies[PROBE] for system, score in accuracies.items() if system != PROBE}


def order(scored: Sequence[Scored]) -> list[Scored]:
    """Return models best first, of equals the simpler, as `SYSTEMS` has them."""
    return sorted(scored, key=lambda one: (-one.accuracy, SYSTEMS.index(one.system)))


def write(folder: Path, scored: Sequence[Scored], protocol: str, stamp: Mapping[str, object]) -> None:
    """Write deploy.json, or remove it where there is no model to name."""
    if not scored:
        (folder / NAME).unlink(missing_ok=True)
        return
    ranked = order(scored)
    record = {
        **dataclasses.asdict(ranked[0]),
        "protocol": looks_at(protocol),
        "split": "dev",
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
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _ = str(record["model"]), bool(record["there"]), str(record["protocol"]), float(record["accuracy"])
        _ = [Scored(**one) for one in record["compared"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{path}: damaged ({error}); remove it to have it made again") from error
    return record
