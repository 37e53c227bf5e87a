"""Errors to read: misclassified test texts and their labels, as many as the page has room for.

python -m pytest tests/results/report/test_misread.py
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mcbert.results.csv_rows import CsvStream, header
from mcbert.results.predicted import of_system, unit
from mcbert.results.report import systems
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.sections import records
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.table1 import ordered_languages

MOST = 1_000
"""Errors in the page."""

MOST_BYTES = 1_000_000
"""Bytes of their texts in the page: with the figures and candidates it stays below 5 MB."""

LONGEST = 5_000
"""Characters of a text; the rest is in texts.csv."""

N_SHOWN = 20
"""Errors shown at a time."""

_TEXTS = ("text", "text_pair")
Error = dict[str, Any]


def errors(run: RunTables) -> dict[str, Any] | None:
    """Return misclassified test texts of the model to deploy, or else of the system of the highest mean.

    Drawn in turn from each language and true label, of each the most confident first, up to `MOST` errors or
    `MOST_BYTES` of text; listed by probability, the most confident first.

    Returns
    -------
    dict or None
        system, name, model, split, languages, labels, predicted (to choose from), rows (the first), n_texts,
        n_errors, n, cut (whether a text was), probable (whether probabilities are known), and data for the
        page: rows of language, true label, predicted label, probability, text, second text, original.
        None without predictions.
    """
    system = systems.best(run)
    rows = of_system(run.predictions, system)
    if rows.empty or run.folder is None:
        return None
    wrong = rows[rows["label"] != rows["predicted"]]
    found = records(wrong)
    _complete(found, run.folder, system)
    drawn = draw(found, ordered_languages(set(rows["language"]), run.source_language))
    probable = any(not math.isnan(row["probability"]) for row in drawn)
    listed = sorted(drawn, key=_by_confidence)
    originals = _originals([row for row in listed if row["language"] != run.source_language], run)
    data = [[row[name] for name in ("language", "label", "predicted")]
            + [None if math.isnan(row["probability"]) else row["probability"]]
            + [row[name][:LONGEST] for name in _TEXTS] + [originals.get(row["id"], "")]
            for row in listed]  # fmt: skip
    return {
        "system": system,
        "name": SYSTEM_NAMES.get(system, system),
        "model": run.deploy["model"] if run.deploy and run.deploy["system"] == system else "",
        "split": rows["split"].iloc[0],
        "languages": ordered_languages({row["language"] for row in listed}, run.source_language),
        "labels": sorted({row["label"] for row in listed}),
        "predicted": sorted({row["predicted"] for row in listed}),
        "rows": data[:N_SHOWN],
        "n_texts": len(rows),
        "n_errors": len(wrong),
        "n": len(listed),
        "cut": any(len(row[name]) > LONGEST for row in listed for name in _TEXTS),
        "probable": probable,
        "data": {"shown": N_SHOWN, "probable": probable, "rows": data},
    }


def draw(errors: Iterable[Error], languages: list[str]) -> list[Error]:
    """Draw errors in turn from each language (in this order) and true label, the most confident first.

    Parameters
    ----------
    errors : iterable of dict
        With language, label, id, probability, text and text_pair.

    Returns
    -------
    list of dict
        At most `MOST`, of at most `MOST_BYTES` of text: an error whose text has no room left ends its group.
    """
    groups: dict[tuple[int, str], list[Error]] = {}
    for error in sorted(errors, key=_by_confidence):
        groups.setdefault((languages.index(error["language"]), error["label"]), []).append(error)
    drawn: list[Error] = []
    room = MOST_BYTES
    waiting = [iter(groups[key]) for key in sorted(groups)]
    while waiting:
        going = []
        for group in waiting:
            for error in itertools.islice(group, 1):
                needed = sum(size(error[name][:LONGEST]) for name in _TEXTS)
                if len(drawn) < MOST and needed <= room:
                    drawn.append(error)
                    room -= needed
                    going.append(group)
        waiting = going
    return drawn


def size(text: str) -> int:
    """Return the bytes that a text takes in the page, as JSON in a script element."""
    return len(json.dumps(text, ensure_ascii=False).replace("<", "\\u003c").encode("utf-8", "surrogatepass"))


def _by_confidence(error: Error) -> tuple[float, str, str]:
    probability = error["probability"]
    return -1.0 if math.isnan(probability) else -probability, error["language"], error["id"]


def _complete(errors: list[Error], folder: Path, system: str) -> None:
    """Add probability, text and text_pair: from predictions_*.csv, of earlier versions from texts.csv."""
    wanted: dict[tuple[str, ...], Error] = {
        (row["id"], row["language"], row["seed"], row["split"]): row for row in errors
    }
    for row in errors:
        row.update(probability=math.nan, text="", text_pair="")
    keys = ("system", "id", "language", "seed", "split")
    for path in sorted(folder.glob(PREDICTIONS.file_name)):
        more = [name for name in ("probability", *_TEXTS) if name in header(path)]
        for cells in CsvStream(PREDICTIONS, path, (*keys, *more)) if more else ():
            error = wanted.get(tuple(cells[1 : len(keys)])) if cells[0] == system else None
            if error is not None:
                error.update(zip(more, cells[len(keys) :], strict=True))
    for row in errors:
        row["probability"] = float(row["probability"] or math.nan)
    _add_texts([row for row in errors if not row["text"]], folder)


def _add_texts(errors: list[Error], folder: Path) -> None:
    """Add the texts that a run's texts.csv has."""
    path, by_id = folder / TEXTS.file_name, {row["id"]: row for row in errors}
    if by_id and path.is_file():
        for name, *texts in CsvStream(TEXTS, path, ("id", *_TEXTS)):
            if name in by_id:
                by_id[name].update(zip(_TEXTS, texts, strict=True))


def _originals(translated: list[Error], run: RunTables) -> Mapping[str, str]:
    """Return what each error translates, of a pair both texts in lines, by id; nothing without texts.csv."""
    path = (run.folder or Path()) / TEXTS.file_name
    ids: dict[str, list[str]] = {}
    for row in translated:
        ids.setdefault(row["unit"], []).append(row["id"])
    if not ids or not path.is_file():
        return {}
    room, found = MOST_BYTES // 2, dict[str, str]()
    for name, language, *texts in CsvStream(TEXTS, path, ("id", "language", *_TEXTS)):
        if language == run.source_language and unit(name, language) in ids:
            original = "\n".join(text for text in texts if text)[:LONGEST]
            room -= size(original) * len(ids[unit(name, language)])
            if room < 0:
                break
            found.update(dict.fromkeys(ids[unit(name, language)], original))
    return found
