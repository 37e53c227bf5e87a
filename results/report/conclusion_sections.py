"""What the report says of the published conclusions, and of the settings tried on dev.

python -m pytest tests/results/report/test_conclusion_sections.py
"""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from mcbert.results.conclusions.conclude import overall
from mcbert.results.report import charts
from mcbert.results.report.sections import Add, Run, records
from mcbert.results.schema.conclusions import VERDICTS
from mcbert.results.summaries import shown_language

_LETTERS = "abcdefgh"


def conclusions(run: Run, add: Add) -> dict[str, Any] | None:
    """Each claim with its verdict and comparisons, and the figure of all effects."""
    table = run.table("conclusions")
    if table is None:
        return None
    rows = marked(table)
    groups = [
        {
            "number": number,
            "claim": claim,
            "verdict": overall(part["verdict"].tolist()),
            "rows": records(part),
        }
        for (number, claim), part in rows.groupby(["number", "conclusion"], sort=False)
    ]
    verdicts = [group["verdict"] for group in groups]
    return {
        "groups": groups,
        "counts": {verdict: verdicts.count(verdict) for verdict in VERDICTS if verdict in verdicts},
        "chart": _figure(rows, add),
    }


def _figure(rows: pd.DataFrame, add: Add) -> str | None:
    tested = rows[rows["low"].notna()]
    if tested.empty:
        return None
    words = "Effect and 95% interval of every comparison, by conclusion"
    return add("conclusions", charts.forest(tested), words)


def tune(run: Run) -> dict[str, Any] | None:
    """Tell of phase two's settings tried on dev, best first, beside the settings as they are."""
    table = run.table("tune")
    if table is None:
        return None
    tried = table[table["status"] == "ok"]
    mean = shown_language(tried, run.source_language)
    by_language = {(row["trial"], row["language"]): row for row in records(tried)}
    trials = records(tried[tried["language"] == mean].sort_values(["rank", "trial"]))
    failed = table[table["status"] == "error"]
    return {
        "trials": [
            trial
            | {
                "words": _settings(trial["changes"]),
                "source": by_language.get((trial["trial"], run.source_language)),
            }
            for trial in trials
        ],
        "failed": [row | {"words": _settings(row["changes"])} for row in records(failed)],
        "mean": mean,
        "ranked_by": table["ranked_by"].iloc[0],
        "protocol": table["protocol"].iloc[0],
        "n_seeds": int(tried["n_seeds"].max()) if len(tried) else 0,
    }


def _settings(changes: str) -> str:
    """Write what a trial changes in words."""
    changed = json.loads(changes).items()
    return ", ".join(f"{name} {json.dumps(value)}" for name, value in changed) or "as they are"


def marked(table: pd.DataFrame) -> pd.DataFrame:
    """Add a column mark, and make `n` None where it is not known.

    The mark is the number of a row's conclusion, with a letter where it has several rows.
    """
    place = table.groupby("number").cumcount()
    several = table.groupby("number")["number"].transform("size") > 1
    marks = [
        f"{number}{_LETTERS[at]}" if many else f"{number}"
        for number, at, many in zip(table["number"], place, several, strict=True)
    ]
    known = table["n"].astype("object").where(table["n"].notna(), None)
    return table.assign(mark=marks, n=known)
