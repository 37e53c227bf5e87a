"""The leaderboard, a row per run from its tables: winner, scores of the systems, texts, protocol.

python -m mcbert runs
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert.results import csv_files, deploy, summaries
from mcbert.results.runs import digest_of_test, source_language
from mcbert.results.schema.runs import RUNS
from mcbert.results.schema.search import GRIDSEARCH, TOP
from mcbert.results.schema.texts import CORPUS
from mcbert.results.schema.training import TABLE1
from mcbert.results.schema.words import MEAN, STAMP
from mcbert.results.table1 import BASELINE, UNFROZEN, ordered_languages

_READ = {"gridsearch": GRIDSEARCH, "top": TOP, "table1": TABLE1, "corpus": CORPUS}
_GAIN = ["versus_baseline", "versus_baseline_low", "versus_baseline_high"]
SYSTEMS = (BASELINE, UNFROZEN, "mcbert_wf")


def leaderboard(folders: Sequence[Path]) -> pd.DataFrame:
    """Sum up runs.

    Parameters
    ----------
    folders : sequence of Path
        The runs' folders. A table that cannot be read leaves its columns empty and is told in `problem`.

    Returns
    -------
    DataFrame
        Columns of table RUNS, best winner on dev first; corpus, stages and finished are left empty: the
        tables do not tell them.
    """
    columns = RUNS.order(column.name for column in RUNS.columns)
    frame = pd.DataFrame([summarise(folder) for folder in folders], columns=columns)
    texts = [column.name for column in RUNS.columns if column.dtype == "string"]
    frame[texts] = frame[texts].astype("object").where(frame[texts].notna(), "").astype("str")
    frame = frame.astype({"n_candidates": "Int64"})
    ranked = frame.sort_values(["winner_dev", "run"], ascending=[False, True], kind="stable")
    return ranked.reset_index(drop=True)


def summarise(folder: Path) -> dict[str, Any]:
    """Make the row of one run, as far as its tables allow."""
    found, problems = _tables(folder)
    source = source_language(found, {})
    try:
        model = deploy.told(deploy.read(folder))
    except ValueError as error:
        model, problems = "", [*problems, " ".join(str(error).split())]
    row = {"test_texts": digest_of_test(folder), "problem": "; ".join(problems), "deploy": model}
    if "corpus" in found:
        targets = set(found["corpus"]["language"]) - {source}
        row["languages"] = " ".join(ordered_languages(targets, source))
    for frame in reversed(found.values()):
        stamps = frame[frame["run"] != ""].iloc[:1].to_dict("records")
        row |= {name: stamp[name] for stamp in stamps for name in STAMP}
    return row | _searched(found, source) | _tuned(found) | {"run": folder.name}


def _tables(folder: Path) -> tuple[dict[str, pd.DataFrame], list[str]]:
    """Return the tables that are there, and an error for each that cannot be read."""
    found, problems = {}, []
    for name, table in _READ.items():
        if (folder / table.file_name).is_file():
            try:
                found[name] = csv_files.read_with_sums(table, folder / table.file_name)
            except ValueError as error:
                problems.append(" ".join(str(error).split()))
    return found, problems


def _searched(found: dict[str, pd.DataFrame], source: str) -> dict[str, Any]:
    """Return the winner's scores, with their interval where it was measured."""
    fine = summaries.finished(found["gridsearch"]) if "gridsearch" in found else pd.DataFrame()
    if fine.empty:
        return {}
    best = fine.iloc[0]
    shown = {split: MEAN if pd.notna(best[f"{split}_f1_micro_mean"]) else source for split in ("dev", "test")}
    row = {
        "protocol": best["protocol"],
        "winner": best["candidate_id"],
        "n_candidates": len(summaries.searched(fine)),
        "winner_dev": best[f"dev_f1_micro_{shown['dev']}"],
        "winner_test": best[f"test_f1_micro_{shown['test']}"],
    }
    if "top" in found:
        top = found["top"]
        own = top[(top["rank"] == 1) & (top["split"] == "test") & (top["language"] == shown["test"])]
        row |= {
            f"winner_test_{end}": float(own.iloc[0][f"score_{end}"]) for end in ("low", "high") if len(own)
        }
    return row


def _tuned(found: dict[str, pd.DataFrame]) -> dict[str, Any]:
    """Return the systems' test accuracy and what mcbert adds to the baseline."""
    if "table1" not in found:
        return {}
    means = found["table1"]
    means = means[means["language"] == MEAN].set_index("system")
    accuracy = means["accuracy"].to_dict()
    row = {system: accuracy[system] for system in SYSTEMS if system in accuracy}
    if UNFROZEN in accuracy:
        gain = [float(value) for value in means.loc[UNFROZEN, _GAIN].to_numpy(dtype=float)]
        names = [f"mcbert_versus_baseline{end}" for end in ("", "_low", "_high")]
        row |= {name: value for name, value in zip(names, gain, strict=True) if not math.isnan(value)}
    return row
