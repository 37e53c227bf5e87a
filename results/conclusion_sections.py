"""What the report says of the published conclusions, and of the settings tried on dev.

python -m pytest tests/results/test_conclusion_sections.py
"""

from __future__ import annotations

from typing import Any

import pandas as pd

from results import charts
from results.conclusions import overall
from results.sections import Add, Run, records

_LETTERS = "abcdefgh"


def conclusions(run: Run, add: Add) -> dict[str, Any] | None:
    """Each conclusion with its verdict and comparisons, and the figure of all effects."""
    table = run.table("conclusions")
    if table is None:
        return None
    rows = marked(table)
    groups = [
        {
            "number": number,
            "claim": part["conclusion"].iloc[0],
            "verdict": overall(part["verdict"].tolist()),
            "rows": records(part),
        }
        for number, part in rows.groupby("number")
    ]
    verdicts = [group["verdict"] for group in groups]
    return {
        "groups": groups,
        "counts": {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(sorted(verdicts))},
        "chart": _figure(rows, add),
    }


def _figure(rows: pd.DataFrame, add: Add) -> str | None:
    tested = rows[rows["low"].notna()]
    if tested.empty:
        return None
    words = "Effect and 95% interval of every comparison, by conclusion"
    return add("conclusions", charts.forest(tested), words)


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
