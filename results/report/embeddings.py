"""Tables of sentence embeddings: figures measured by a run and, set apart, published ones.

python -m pytest tests/results/report/test_embeddings.py
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert.features.spec import parse_layers
from mcbert.results import csv_files
from mcbert.results.column import Table
from mcbert.results.csv_files import read
from mcbert.results.report.numbers import Heading, heading
from mcbert.results.schema.embeddings import PUBLISHED_STS, PUBLISHED_TATOEBA, REDUCTIONS, STS, TATOEBA

PUBLISHED = Path(__file__).parents[1] / "published"
SYSTEM = ["system", "encoder", "layers", "pooling"]
MEASURED_HEADER = (
    *(heading(f"sts.{name}") for name in SYSTEM),
    heading("sts.spearman", "STS test Spearman (95%)"),
    heading("sts.versus_frozen", "STS gain over the best frozen (95%)"),
    heading("tatoeba_overall.error_rate", "Tatoeba test error (95%)"),
    heading("reductions_overall.reduction", "error reduction over the last layer's mean (95%)"),
)
PUBLISHED_HEADER = (
    *(heading(f"published/tatoeba.{name}") for name in ("system", "casing", "protocol")),
    heading("published/sts.spearman", "STS test Spearman"),
    heading("published/tatoeba.error_rate", "Tatoeba error"),
    heading("published/tatoeba.language", "languages"),
)
APART = (
    "Published elsewhere under other conditions (casing, protocol, versions of the data: "
    "results/published/): for context, not to be ranked with the table above."
)
_BOTH = {"split": "test", "score": "cosine", "direction": "both"}


def side_by_side(folder: Path) -> str:
    """Draw the test figures of a run's sts.csv and tatoeba.csv, as far as they are there, as Markdown.

    The similarity is the cosine; Tatoeba's is the error over both directions, in the mean over the languages.
    """
    paths = [(table, folder / table.file_name) for table in (STS, TATOEBA, REDUCTIONS)]
    found = (csv_files.read_with_sums(table, path) if path.is_file() else None for table, path in paths)
    sts, tatoeba, reductions = found
    lines = measured(sts, tatoeba, reductions)
    return f"{_table(MEASURED_HEADER, lines)}\n{APART}\n\n{_table(PUBLISHED_HEADER, published())}"


def measured(
    sts: pd.DataFrame | None, tatoeba: pd.DataFrame | None, reductions: pd.DataFrame | None
) -> list[tuple[str, ...]]:
    """Return a line per system under `MEASURED_HEADER`: those of sts.csv on test, and all sentence encoders.

    Parameters
    ----------
    sts, tatoeba, reductions : DataFrame, optional
        The tables, where they are there.
    """
    judged = _by_system(STS, sts, {"split": "test", "similarity": "cosine"})
    found = _by_system(TATOEBA, tatoeba, _BOTH)
    cuts = _by_system(REDUCTIONS, reductions, _BOTH | {"baseline_pooling": "mean"})
    encoders = [key for key in found if not key[0].startswith("frozen")]
    shown = dict.fromkeys([*(judged or found), *encoders])
    return [_line(key, judged.get(key), found.get(key), cuts.get(key)) for key in shown]


def highest(tatoeba: pd.DataFrame | None, sts: pd.DataFrame | None) -> dict[str, Any] | None:
    """Return the system that finds most translations, else that of the highest Spearman; None without any.

    Returns
    -------
    dict or None
        Of its test row in tatoeba.csv: value (share of translations found), low, high, table; in sts.csv:
        value (Spearman); and system, encoder, layers, pooling, n_systems.
    """
    found = _by_system(TATOEBA, tatoeba, _BOTH)
    if found:
        row = min(found.values(), key=lambda row: row["error_rate"])
        ends = {
            "value": 1 - row["error_rate"],
            "low": 1 - row["error_rate_high"],
            "high": 1 - row["error_rate_low"],
        }
        return {**row, **ends, "table": "tatoeba", "n_systems": len(found)}
    found = _by_system(STS, sts, {"split": "test", "similarity": "cosine"})
    if found:
        row = max(found.values(), key=lambda row: row["spearman"])
        return {**row, "value": row["spearman"], "table": "sts", "n_systems": len(found)}
    return None


def published() -> list[tuple[str, ...]]:
    """Return a line per published system: Spearman of the cosine, or of what the source means, and error."""
    sts = read(PUBLISHED_STS, PUBLISHED / "sts.csv")
    tatoeba = read(PUBLISHED_TATOEBA, PUBLISHED / "tatoeba.csv")
    judged = sts[sts["split"].eq("test") & sts["similarity"].isin(("cosine", "not stated"))]
    spearman = dict(zip(judged["system"], judged["spearman"], strict=True))
    lines: list[tuple[str, ...]] = []
    for name in dict.fromkeys([*tatoeba["system"], *judged["system"]]):
        rows = tatoeba[tatoeba["system"].eq(name)]
        about = pd.concat([rows, judged[judged["system"].eq(name)]]).iloc[0]
        error = f"{rows['error_rate'].mean():.3f}" if len(rows) else ""
        languages = " ".join(dict.fromkeys(rows["language"]))
        similarity = f"{spearman[name]:.3f}" if name in spearman else ""
        lines.append((name, about["casing"], about["protocol"], similarity, error, languages))
    return lines


def _by_system(
    table: Table, frame: pd.DataFrame | None, wanted: dict[str, str]
) -> dict[tuple[str, ...], dict[Any, Any]]:
    """Return the row of each system that has the values wanted, in the mean over the languages."""
    if frame is None:
        return {}
    for name, value in wanted.items():
        frame = frame[frame[name].eq(value)]
    if table is not STS and frame["language"].eq("mean").any():  # a single language is its own mean
        frame = frame[frame["language"].eq("mean")]
    rows = frame.to_dict("records")
    # of the baselines, the last layer comes before a system's own
    rows.sort(key=lambda row: -_depth(row["baseline_layers"]) if table is REDUCTIONS else 0)
    found: dict[tuple[str, ...], dict[Any, Any]] = {}
    for row in rows:
        found.setdefault(tuple(str(row[name]) for name in SYSTEM), row)
    return found


def _depth(layers: str) -> float:
    """Order baselines: one layer, the deeper first, then joined ones."""
    numbers = parse_layers(layers)
    return -1.0 if len(numbers) > 1 else float(numbers[0])


def _line(
    key: tuple[str, ...],
    judged: dict[Any, Any] | None,
    found: dict[Any, Any] | None,
    cut: dict[Any, Any] | None,
) -> tuple[str, ...]:
    return (
        *key,
        _interval(judged, "spearman", ""),
        _interval(judged, "versus_frozen", "+"),
        _interval(found, "error_rate", ""),
        _interval(cut, "reduction", "+"),
    )


def _interval(row: dict[Any, Any] | None, name: str, sign: str) -> str:
    if row is None or pd.isna(row[name]):
        return ""
    value, low, high = (format(float(row[f"{name}{end}"]), f"{sign}.3f") for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


def _table(header: Sequence[Heading], lines: Sequence[Sequence[str]]) -> str:
    cells = [[each.words for each in header], ["---"] * len(header), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
