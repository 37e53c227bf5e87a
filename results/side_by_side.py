"""Sentence embeddings in one table: what a run measured, and below it, apart, what is published.

print(side_by_side(Path("results/runs/demo")))
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from results.schema import PUBLISHED_STS, PUBLISHED_TATOEBA, REDUCTIONS, STS, TATOEBA
from results.tables import read

PUBLISHED = Path(__file__).parent / "published"
SYSTEM = ["system", "encoder", "layers", "pooling"]
MEASURED_HEADER = (
    *SYSTEM,
    "STS test Spearman (95%)",
    "above the best frozen (95%)",
    "Tatoeba test error (95%)",
    "errors avoided beside the last layer's mean (95%)",
)
PUBLISHED_HEADER = ("system", "casing", "protocol", "STS test Spearman", "Tatoeba error", "languages")
_APART = (
    "Published elsewhere, on other terms (casing, protocol, versions of the data: results/published/): to be "
    "read beside the table above, not ranked with it."
)
_BOTH = {"split": "test", "score": "cosine", "direction": "both"}


def side_by_side(folder: Path) -> str:
    """Draw the test figures of a run's sts.csv and tatoeba.csv, as far as they are there, as Markdown.

    The similarity is the cosine; Tatoeba's is the error over both directions, in the mean over the languages.
    """
    sts = _rows(STS, folder, {"split": "test", "similarity": "cosine"})
    tatoeba = _last_of(_rows(TATOEBA, folder, _BOTH))
    reductions = _last_of(_rows(REDUCTIONS, folder, _BOTH))
    against = reductions[reductions["baseline_pooling"].eq("mean")]
    cuts = {_key(row): row for row in reversed(against.to_dict("records"))}
    judged = {_key(row): row for row in sts.to_dict("records")}
    found = {_key(row): row for row in tatoeba.to_dict("records")}
    shown = list(judged) or list(found)
    shown += [key for key in found if key not in judged and not key[0].startswith("frozen")]
    lines = [_measured(key, judged.get(key), found.get(key), cuts.get(key)) for key in dict.fromkeys(shown)]
    return f"{_table(MEASURED_HEADER, lines)}\n{_APART}\n\n{_table(PUBLISHED_HEADER, published())}"


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


def _rows(table: Any, folder: Path, wanted: dict[str, str]) -> pd.DataFrame:
    path = folder / table.file_name
    if not path.is_file():
        return pd.DataFrame(columns=[column.name for column in table.columns])
    frame = read(table, path)
    for name, value in wanted.items():
        frame = frame[frame[name].eq(value)]
    return frame


def _last_of(frame: pd.DataFrame) -> pd.DataFrame:
    """Keep the mean over the languages, which is the language itself where there is one."""
    several = frame["language"].eq("mean").any()
    return frame[frame["language"].eq("mean")] if several else frame


def _key(row: dict[Any, Any]) -> tuple[str, ...]:
    return tuple(str(row[name]) for name in SYSTEM)


def _measured(
    key: tuple[str, ...],
    judged: dict[Any, Any] | None,
    found: dict[Any, Any] | None,
    cut: dict[Any, Any] | None,
) -> tuple[str, ...]:
    ends = "low", "high"
    versus = "versus_frozen", "versus_frozen_low", "versus_frozen_high"
    return (
        *key,
        _interval(judged, ("spearman", *ends), ""),
        _interval(judged, versus, "+"),
        _interval(found, ("error_rate", *ends), ""),
        _interval(cut, ("reduction", *ends), "+"),
    )


def _interval(row: dict[Any, Any] | None, names: Sequence[str], sign: str) -> str:
    if row is None or pd.isna(row[names[0]]):
        return ""
    value, low, high = (format(float(row[name]), f"{sign}.3f") for name in names)
    return f"{value} [{low}, {high}]"


def _table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    cells = [header, ["---"] * len(header), *lines]
    return "".join("| " + " | ".join(line) + " |\n" for line in cells)
