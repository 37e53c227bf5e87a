"""The leaderboard, a row per run from its tables: winner, scores of the systems, texts, protocol.

python -m mcbert runs
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
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
_TEST = "test_f1_micro_"
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
        Columns of table RUNS, in groups of the same test texts, in each the best winner on dev first; corpus,
        stages and finished are left empty: the tables do not tell them.
    """
    columns = RUNS.order(column.name for column in RUNS.columns)
    frame = pd.DataFrame([summarise(folder) for folder in folders], columns=columns)
    texts = [column.name for column in RUNS.columns if column.dtype == "string"]
    frame[texts] = frame[texts].astype("object").where(frame[texts].notna(), "").astype("str")
    frame = frame.astype({"n_candidates": "Int64"})
    parts = [
        part.sort_values(["winner_dev", "run"], ascending=[False, True]) if is_known(part) else part
        for part in grouped(frame.sort_values("run", kind="stable"))
    ]
    return pd.concat(parts, ignore_index=True) if parts else frame


def grouped(frame: pd.DataFrame) -> list[pd.DataFrame]:
    """Split runs into groups whose scores compare: those of the same test texts and target languages.

    Parameters
    ----------
    frame : DataFrame
        Rows of table RUNS.

    Returns
    -------
    list of DataFrame
        In the order of their first rows; runs whose test texts are not known, which do not compare, last.
    """
    known = frame["test_texts"] != ""
    parts = [part for _, part in frame[known].groupby(["test_texts", "languages"], sort=False)]
    return parts if known.all() else [*parts, frame[~known]]


def is_known(group: pd.DataFrame) -> bool:
    """Return whether the test texts of a group are known, so that its runs compare."""
    return bool((group["test_texts"] != "").all())


def shared(group: pd.DataFrame) -> str:
    """Say in words on what the runs of a group (`grouped`) were tested: corpus, languages, digest."""
    if not is_known(group):
        return "test texts not known (neither texts.csv nor predictions): not ranked"
    corpora = set(group["corpus"]) - {""}
    languages = str(group["languages"].iloc[0]).split()
    named = ", ".join(languages) if len(languages) <= summaries.MOST_PANELS else f"{len(languages)} languages"
    parts = [*(corpora if len(corpora) == 1 else ()), named, f"texts {group['test_texts'].iloc[0]}"]
    return "; ".join(part for part in parts if part)


def summarise(folder: Path) -> dict[str, Any]:
    """Make the row of one run, as far as its tables allow."""
    found, problems = _tables(folder)
    source = source_language(found, {})
    try:
        model = deploy.told(deploy.read(folder))
    except ValueError as error:
        model, problems = "", [*problems, " ".join(str(error).split())]
    row = {"test_texts": digest_of_test(folder), "problem": "; ".join(problems), "deploy": model}
    targets = _scored(found) - {source}
    row["languages"] = " ".join(ordered_languages(targets, source))
    for frame in reversed(found.values()):
        stamps = frame[frame["run"] != ""].iloc[:1].to_dict("records")
        row |= {name: stamp[name] for stamp in stamps for name in STAMP}
    return row | _searched(found, source) | _tuned(found) | {"run": folder.name}


def _scored(found: Mapping[str, pd.DataFrame]) -> set[str]:
    """Return the languages that a run's scores are of: the search may look at some of the corpus's only."""
    if "gridsearch" in found:
        names = (str(column) for column in found["gridsearch"].columns)
        return {name.removeprefix(_TEST) for name in names if name.startswith(_TEST)} - {MEAN}
    return set(found["corpus"]["language"]) if "corpus" in found else set()


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
