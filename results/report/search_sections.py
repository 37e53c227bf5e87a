"""The sections of the search: scores, effects of each choice, the best beside the winner, all candidates.

python -m pytest tests/results/report/test_search_sections.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mcbert.results import summaries
from mcbert.results.report import charts, heatmaps, numbers
from mcbert.results.report.numbers import spoken
from mcbert.results.report.sections import Add, records, versus_reference
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import UNCHOSEN
from mcbert.results.schema.words import ENSEMBLE, MEAN, PROTOCOLS, metric_words

FACTOR_NAMES = {
    "layer": "layer", "pooling": "pooling", "classifier": "classifier", "n_layers": "number of layers",
}  # fmt: skip

N_SHOWN = 20
"""Candidates shown at a time."""

_SPLITS = ("dev", "test")
_DIGITS = 6


def search(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return heat maps, effects, scores by number of layers, the failures, and how much was tried."""
    gridsearch = run.table("gridsearch")
    if gridsearch is None:
        return None
    languages = [*summaries.languages(gridsearch, run.source_language)]
    cells = {language: summaries.layer_by_pooling(gridsearch, language) for language in [MEAN, *languages]}
    cells = {language: frame for language, frame in cells.items() if not frame.empty}
    strip = _best_strip(cells, languages, add) if len(cells) - 1 > summaries.MOST_PANELS else None
    if strip:
        best = {language: float(frame["f1"].max()) for language, frame in cells.items()}
        apart = summaries.drawn_apart([name for name in cells if name != MEAN], best, run.source_language)
        cells = {language: frame for language, frame in cells.items() if language in (MEAN, *apart)}
    failed = gridsearch[gridsearch["status"] == "error"]
    return {
        "heat": _heat_maps(cells, add),
        "strip": strip,
        "n_languages": len(languages),
        "heat_numbers": numbers.heat_maps(cells),
        "effects": effects(run, add),
        "sizes": _sizes(gridsearch, add),
        "n_failed": len(failed),
        "failures": failed["message"].value_counts().head(5).to_dict(),
        "protocol": gridsearch["protocol"].iloc[0],
        "metric": metric_words(str(gridsearch["metric"].iloc[0])),
        "n_ok": len(summaries.searched(gridsearch)),
        "n_candidates": int((gridsearch["classifier"] != ENSEMBLE).sum()),
        "tried": run.tried,
        "train_texts": run.train_texts,
    }


def _best_strip(cells: Mapping[str, pd.DataFrame], languages: Sequence[str], add: Add) -> str:
    best = {language: cells[language]["f1"].max() for language in languages if language in cells}
    rows = pd.DataFrame({"name": list(best), "series": "best of one layer", "value": list(best.values())})
    words = "Best dev micro-F1 of a single layer by language"
    return add("heat-best", charts.strip(rows, "dev micro-F1, %"), words)


def effects(run: RunTables, add: Add) -> dict[str, Any] | None:
    """Return charts of the main effects by factor, and the levels whose effect is significant."""
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


def top(run: RunTables) -> dict[str, Any] | None:
    """Return how each of the best candidates compares with the winner, and how many differ significantly."""
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
        counts = summaries.standings(rows[rows["language"] == language])
        shown[name] = {"language": language, "counts": counts}
    return {
        "by_id": by_id,
        "splits": splits,
        "standings": shown,
        "n_others": len(by_id) - 1,
        "differing": summaries.differing(table, split),
    }


def protocols(run: RunTables) -> dict[str, Any] | None:
    """Return each protocol's choice, its scores and the cost of having no target labels."""
    table, gridsearch = run.table("protocols"), run.table("gridsearch")
    if table is None:
        return None
    known = {} if gridsearch is None else {row["candidate_id"]: row for row in records(gridsearch)}
    shown, split = summaries.shown_language(table, run.source_language), _reported(table)
    rows = []
    for protocol, part in table.groupby("protocol", sort=False):
        scores = {(row["split"], row["language"]): row for row in records(part)}
        choice = str(part["candidate_id"].iloc[0])
        main = scores.get((split, shown))
        rows.append(
            {
                "protocol": protocol,
                "used": bool(part["used"].iloc[0]),
                "choice": known.get(choice),
                "candidate_id": choice,
                "dev": scores.get(("dev", shown)),
                "main": main,
                "versus_reference": versus_reference(main),
                "by_language": {
                    language: row for (part_of, language), row in scores.items() if part_of == split
                },
            }
        )
    order = (*PROTOCOLS, *UNCHOSEN)
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
    """Return the split that is reported: test, or dev where there are no test rows."""
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
                heatmaps.heat_map(
                    frame,
                    (spans.get(language, shared).min(), spans.get(language, shared).max()),
                    digits=1 if language == MEAN else 0,
                ),
                f"Best dev micro-F1 by layer and pooling, {spoken(language)}",
            ),
        )
        for language, frame in cells.items()
    ]


def candidates(run: RunTables) -> dict[str, Any] | None:
    """Return the first candidates as rows, and all that were fitted and scored as data for the page.

    An ensemble, which has the first rank, is none of them.

    Returns
    -------
    dict or None
        languages (name and words; the first is shown first), splits, rows (the best, with their distance from
        the winner where it is known), poolings, classifiers and sizes to choose from, and data: for every
        candidate rank, layers, pooling, classifier, parameters and the scores of every split and language;
        distances from the winner by rank, language and split.
    """
    gridsearch = run.table("gridsearch")
    fine = pd.DataFrame() if gridsearch is None else summaries.searched(gridsearch)
    if fine.empty:
        return None
    languages = [MEAN, *summaries.languages(fine, run.source_language)]
    known = [name for name in languages if any(_known(fine, split, name) for split in _SPLITS)]
    shown = known[: summaries.MOST_PANELS + 1]
    splits = [split for split in _SPLITS if any(_known(fine, split, name) for name in shown)]
    beside = _against_winner(run.table("top"))
    standings = _standings(run.table("top"), shown, splits)
    parameters = [_words(text) for text in fine["params"]]
    first = [
        row | {"words": words, "beside": beside.get(int(row["rank"]), {}).get(shown[0], {})}
        for row, words in zip(records(fine.head(N_SHOWN)), parameters, strict=False)
    ]
    return {
        "languages": [(name, spoken(name)) for name in shown],
        "n_hidden": len(known) - len(shown),
        "splits": splits,
        "rows": first,
        "poolings": list(dict.fromkeys(fine["pooling"])),
        "classifiers": list(dict.fromkeys(fine["classifier"])),
        "sizes": sorted({int(n) for n in fine["n_layers"]}),
        "n": len(fine),
        "begins": int(fine["rank"].iloc[0]),
        "beside": standings,
        "n_measured": 1 + max(beside, default=0),
        "metric": metric_words(str(fine["metric"].iloc[0])),
        "data": {
            "shown": N_SHOWN,
            "splits": splits,
            "languages": shown,
            "rows": _rows(fine, parameters, splits, shown),
            "beside": beside,
            "standings": standings,
        },
    }


def _standings(top: pd.DataFrame | None, languages: Sequence[str], splits: Sequence[str]) -> dict[str, str]:
    """Return in words how the best compare with the winner, by the language whose scores are shown."""
    found: dict[str, str] = {}
    if top is None:
        return found
    for language in languages:
        said = []
        for split in splits:
            rows = top[(top["language"] == language) & (top["split"] == split) & (top["rank"] > 1)]
            if len(rows):
                said.append(f"on {split} {summaries.told(summaries.standings(rows))} ({len(rows)} compared)")
        if said:
            found[language] = f"Beside the winner, {spoken(language)}: {'; '.join(said)}."
    return found


def _known(fine: pd.DataFrame, split: str, language: str) -> bool:
    return bool(fine[f"{split}_f1_micro_{language}"].notna().any())


def _rows(
    fine: pd.DataFrame, parameters: list[str], splits: list[str], languages: list[str]
) -> list[list[object]]:
    """Return each candidate as rank, layers, pooling, classifier, parameters and its scores."""
    scores = fine[[f"{split}_f1_micro_{name}" for split in splits for name in languages]].round(_DIGITS)
    known = scores.astype("object").where(scores.notna(), None).to_numpy().tolist()
    ranks = fine["rank"].astype("int64").tolist()
    what = zip(ranks, fine["layers"], fine["pooling"], fine["classifier"], parameters, strict=True)
    return [[*row, *values] for row, values in zip(what, known, strict=True)]


def _against_winner(top: pd.DataFrame | None) -> dict[int, dict[str, dict[str, list[object]]]]:
    """Return difference to the winner, interval and standing by rank, language and split."""
    found: dict[int, dict[str, dict[str, list[object]]]] = {}
    if top is None:
        return found
    columns = ["versus_winner", "versus_winner_low", "versus_winner_high"]
    measured = top[columns].notna().all(axis=1)  # JSON has no not-a-number
    for row in records(top[measured & (top["rank"] > 1)]):
        values: list[object] = [round(float(row[column]), _DIGITS) for column in columns]
        by_language = found.setdefault(int(row["rank"]), {})
        by_language.setdefault(str(row["language"]), {})[str(row["split"])] = [*values, str(row["standing"])]
    return found


def _words(params: str) -> str:
    """Write parameters in words: C 0.001."""
    return ", ".join(f"{name} {value}" for name, value in json.loads(params).items())
