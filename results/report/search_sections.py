"""What the report says of the search: scores, what each choice adds, how the best stand, what protocols cost.

python -m pytest tests/results/report/test_search_sections.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.chance import standings
from mcbert.results.report import charts, numbers, tiles
from mcbert.results.report.sections import Add, Run, records
from mcbert.results.report.wording import spoken
from mcbert.results.schema import MEAN, PROTOCOLS
from mcbert.results.schema.words import metric_words

FACTOR_NAMES = {
    "layer": "layer", "pooling": "pooling", "classifier": "classifier", "n_layers": "number of layers",
}  # fmt: skip


def search(run: Run, add: Add) -> dict[str, Any] | None:
    """Heat maps, scores by number of layers, how the best stand beside the winner, and the failures."""
    gridsearch = run.table("gridsearch")
    if gridsearch is None:
        return None
    languages = [*summaries.languages(gridsearch, run.source_language)]
    cells = {language: summaries.layer_by_pooling(gridsearch, language) for language in [MEAN, *languages]}
    cells = {language: frame for language, frame in cells.items() if not frame.empty}
    failed = gridsearch[gridsearch["status"] == "error"]
    return {
        "heat": _heat_maps(cells, add),
        "heat_numbers": numbers.heat_maps(cells),
        "effects": effects(run, add),
        "sizes": _sizes(gridsearch, add),
        "top": top(run),
        "n_failed": len(failed),
        "failures": failed["message"].value_counts().head(5).to_dict(),
        "protocol": gridsearch["protocol"].iloc[0],
        "metric": metric_words(str(gridsearch["metric"].iloc[0])),
    }


def effects(run: Run, add: Add) -> dict[str, Any] | None:
    """Charts of the main effects by factor, and in words which of them are more than chance."""
    table = run.table("effects")
    if table is None:
        return None
    rows = summaries.effects(table, run.source_language)
    split = _reported(rows)
    found = []
    for place, (factor, part) in enumerate(rows.groupby("factor", sort=False)):
        judged = part[part["split"] == split].sort_values("effect", ascending=False)
        found.append(
            {
                "factor": FACTOR_NAMES[str(factor)],
                "chart": add(
                    f"effect-{factor}",
                    charts.effects(part, FACTOR_NAMES[str(factor)], legend=place == 0),
                    f"Main effects by {FACTOR_NAMES[str(factor)]}",
                ),
                "helps": records(judged[judged["sign"] > 0]),
                "harms": records(judged[judged["sign"] < 0]),
                "unclear": judged.loc[judged["sign"] == 0, "level"].tolist(),
            }
        )
    return {
        "factors": found,
        "numbers": numbers.effects(rows, FACTOR_NAMES),
        "split": split,
        "language": summaries.shown_language(table, run.source_language),
    }


def top(run: Run) -> dict[str, Any] | None:
    """Say of each of the best candidates how far it is from the winner, and whether chance explains that."""
    table = run.table("top")
    if table is None:
        return None
    split = _reported(table)
    by_id = summaries.against_winner(table, run.source_language)
    splits = [name for name in ("dev", "test") if name in set(table["split"])]
    shown = {}
    for name in splits:  # dev has no mean where the targets have no labelled dev texts
        rows = table[table["split"] == name]
        language = summaries.shown_language(rows, run.source_language)
        shown[name] = {"language": language, "counts": standings(rows[rows["language"] == language])}
    return {
        "by_id": by_id,
        "splits": splits,
        "standings": shown,
        "n_others": len(by_id) - 1,
        "differing": summaries.differing(table, split),
    }


def protocols(run: Run) -> dict[str, Any] | None:
    """Tell what each protocol would have chosen, how that scores and what having no target labels costs."""
    table, gridsearch = run.table("protocols"), run.table("gridsearch")
    if table is None:
        return None
    known = {} if gridsearch is None else {row["candidate_id"]: row for row in records(gridsearch)}
    shown, split = summaries.shown_language(table, run.source_language), _reported(table)
    rows = []
    for protocol, part in table.groupby("protocol", sort=False):
        scores = {(row["split"], row["language"]): row for row in records(part)}
        choice = str(part["candidate_id"].iloc[0])
        rows.append(
            {
                "protocol": protocol,
                "used": bool(part["used"].iloc[0]),
                "choice": known.get(choice),
                "candidate_id": choice,
                "dev": scores.get(("dev", shown)),
                "main": scores.get((split, shown)),
                "by_language": {
                    language: row for (part_of, language), row in scores.items() if part_of == split
                },
            }
        )
    order = (*PROTOCOLS, "random")
    languages = [name for name in dict.fromkeys(table["language"]) if name != MEAN]
    missing = [name for name in PROTOCOLS if name not in set(table["protocol"])]
    rows.sort(key=lambda row: order.index(str(row["protocol"])))
    return {"rows": rows, "languages": languages, "split": split, "shown": shown, "missing": missing}


def _sizes(gridsearch: pd.DataFrame, add: Add) -> dict[str, Any] | None:
    sizes = summaries.by_n_layers(gridsearch)
    if sizes["n_layers"].nunique() < 2:
        return None
    figure = add("sizes", charts.by_n_layers(sizes), "Best and median dev micro-F1 by number of layers")
    return {"chart": figure, "numbers": numbers.sizes(sizes)}


def _reported(table: pd.DataFrame) -> str:
    """Give the split that is reported: test, or dev where there are no test rows."""
    return "test" if "test" in set(table["split"]) else "dev"


def _heat_maps(cells: Mapping[str, pd.DataFrame], add: Add) -> list[tuple[str, str]]:
    """Draw the mean on its own scale and the languages on one of theirs."""
    spans = {MEAN: cells[MEAN]["f1"]} if MEAN in cells else {}
    others = [frame["f1"] for language, frame in cells.items() if language != MEAN]
    shared = pd.concat(others) if others else pd.Series(dtype="float64")
    return [
        (
            language,
            add(
                f"heat-{language}",
                tiles.heat_map(
                    frame,
                    (spans.get(language, shared).min(), spans.get(language, shared).max()),
                    digits=1 if language == MEAN else 0,
                ),
                f"Best dev micro-F1 by layer and pooling, {spoken(language)}",
            ),
        )
        for language, frame in cells.items()
    ]
