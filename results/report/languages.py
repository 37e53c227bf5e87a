"""Which languages fail, and why one might think so: a row for each, the lowest first.

python -m pytest tests/results/report/test_languages.py
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from mcbert.results import summaries
from mcbert.results.predicted import likeness, of_system
from mcbert.results.report import systems
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.runs import RunTables
from mcbert.results.schema.words import MEAN

UNKNOWN = 0.02
"""Share of unknown tokens from which they are named as a reason; at it every 50th token carries nothing."""

MARKS = 0.10
"""Share of accents and vowel signs dropped from which that is."""

CUT = 0.05
"""Share of texts longer than the encoder reads from which that is."""

SPLIT = 1.5
"""Tokens a text, in those of the source language's texts, from which that is."""

UNLIKE = 0.08
"""How far the share of translations labelled like their originals lies below the median language's, from
which that is."""

FEW_DEV = 100
"""Labelled dev texts below which they are few: a score on so many is off by up to 10 points."""

CLOSE = 0.03
"""A language that is so close to the source language has not failed."""

N_SHOWN = 24
"""Languages listed at once; the others follow where one opens them."""

Figures = Mapping[str, Any]


def languages(run: RunTables) -> dict[str, Any] | None:
    """Return a row for each language with its score, what the corpus says of it, and reasons in plain words.

    Of the model to deploy, or else of the system of the highest mean; None without target languages.

    Returns
    -------
    dict or None
        system, name, rows (language, score, low, high, chance, near, unknown, cut, n_dev, n_test, likeness,
        tokens, reasons; not a number where not known) by score, the lowest first, and which of these are
        known of any.
    """
    system = systems.best(run)
    cells = systems.measured(run).get(system, {})
    scored = [language for language in cells if language != MEAN]
    if len(scored) < 2:
        return None
    chances, counted = systems.chance(run), _counted(run)
    alike = likeness(of_system(run.predictions, system), run.source_language)
    rows: list[dict[str, Any]] = []
    for language in scored:
        row: dict[str, Any] = {"language": language, "score": cells[language]["value"]}
        row |= {name: cells[language][name] for name in ("low", "high")}
        row |= {"chance": chances.get(language, {}).get("value", math.nan)}
        row |= {"likeness": alike.get(language, (math.nan, 0))[0], **_NONE, **counted.get(language, {})}
        rows.append(row | {"near": row["score"] - row["chance"] <= summaries.NEAR + 1e-12})
    rows.sort(key=lambda row: (row["score"], row["language"]))
    source = next((row for row in rows if row["language"] == run.source_language), None)
    targets = [row for row in rows if row is not source]
    protocol = _protocol(run)
    for row in rows:
        row["reasons"] = reasons(row, source, targets, protocol)
    names = ("likeness", "chance", *_NONE)
    return {
        "system": system,
        "name": SYSTEM_NAMES.get(system, system),
        "rows": rows,
        "n_shown": N_SHOWN,
        "known": {name for name in names if any(not math.isnan(row[name]) for row in rows)},
    }


_NONE = dict.fromkeys(("unknown", "marks_lost", "cut", "tokens", "n_dev", "n_test"), math.nan)


def reasons(row: Figures, source: Figures | None, targets: Sequence[Figures], protocol: str) -> list[str]:
    """Return in plain words what may explain a language's score; comparisons with not a number are false.

    Parameters
    ----------
    row, source : mapping
        Figures of the language and of the source language, as `languages` has them.
    targets : sequence of mapping
        Those of all target languages.
    protocol : str
        How the choice was made.
    """
    chance = f"near chance: always answering the most frequent label scores {row['chance']:.1%}"
    found = [chance] if row["near"] else []
    if row is source:
        return [*found, "check its texts and labels first"] if found else []
    if source is not None and row["score"] >= source["score"] - CLOSE:
        return [*found, "as good as the source language"]
    found += _signs(row, source, targets)
    if protocol == "target-dev" and row["n_dev"] < FEW_DEV:
        found.append(f"{row['n_dev']:.0f} labelled dev texts took part in the choice")
    mean = statistics.fmean([one["score"] for one in targets])
    if row["low"] <= mean <= row["high"]:
        return [*found, "not significantly different from the mean over the target languages"]
    return found or [
        "above the mean over the target languages" if row["score"] > mean
        else "nothing in these figures explains it: read its errors"
    ]  # fmt: skip


def _signs(row: Figures, source: Figures | None, targets: Sequence[Figures]) -> list[str]:
    """Return what the tokenizer makes of a language, and how unlike the source language it is labelled."""
    more = row["tokens"] / source["tokens"] if source is not None else math.nan
    known = [one["likeness"] for one in targets if not math.isnan(one["likeness"])]
    middle = statistics.median(known) if known else math.nan
    signs = [
        (row["unknown"] >= UNKNOWN, f"the encoder's vocabulary lacks {row['unknown']:.1%} of its tokens"),
        (row["marks_lost"] >= MARKS,
         f"the tokenizer drops {row['marks_lost']:.0%} of its accents and vowel signs"),
        (row["cut"] >= CUT, f"{row['cut']:.0%} of its texts are longer than the encoder reads, and cut"),
        (more >= SPLIT,
         f"its texts take {more:.1f} times as many tokens: the vocabulary has few of its words"),
        (row["likeness"] <= middle - UNLIKE,
         f"far from the source language: {row['likeness']:.0%} of the translations are labelled like their "
         f"originals, of the median language's {middle:.0%}"),
    ]  # fmt: skip
    return [words for holds, words in signs if holds]


def _counted(run: RunTables) -> dict[str, dict[str, float]]:
    """Return what corpus.csv says of each language: of its test texts, and how many labelled dev texts."""
    table = run.table("corpus")
    if table is None:
        return {}
    found: dict[str, dict[str, float]] = {}
    for row in summaries.corpus_counts(table, run.source_language).to_dict("records"):
        of = found.setdefault(str(row["language"]), {"n_dev": 0, "n_test": 0})
        if row["split"] != "train":
            of[f"n_{row['split']}"] = int(row["n_texts"])
        if row["split"] == "test":
            shares = {"unknown": "unknown_share", "marks_lost": "marks_lost_share", "cut": "truncated_share"}
            of |= {name: float(row[column]) for name, column in shares.items()}
            rows = table[(table["language"] == row["language"]) & (table["split"] == "test")]
            of["tokens"] = float(rows["n_tokens"].sum() / max(rows["n_texts"].sum(), 1))
    return found


def _protocol(run: RunTables) -> str:
    table = run.table("gridsearch")
    return "" if table is None else str(table["protocol"].iloc[0])
