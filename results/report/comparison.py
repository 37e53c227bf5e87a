"""Runs side by side in one HTML file: their settings, then those tested on the same texts in groups.

python -m mcbert runs demo wider --html results/runs/comparison.html
"""

from __future__ import annotations

import dataclasses
import functools
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from mcbert import files
from mcbert.results import recorded, summaries
from mcbert.results.conclusions.conclude import overall
from mcbert.results.deploy import PROBE
from mcbert.results.leaderboard import grouped, is_known, shared
from mcbert.results.report import numbers, run_charts
from mcbert.results.report.charts import SYSTEM_NAMES, specification
from mcbert.results.report.figures import FOLDER, write_figures
from mcbert.results.report.report import Specs, as_json, attempt, environment, library
from mcbert.results.report.sections import Add, records
from mcbert.results.runs import KINDS, RunTables, read_results, unlike
from mcbert.results.schema.runs import NOT_TESTED
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.words import MEAN, SYSTEMS
from mcbert.results.table1 import correctness, measured, ordered_languages, same_texts

log = logging.getLogger(__name__)

FACTS = (
    ("encoder", "encoder"), ("corpus", "corpus"), ("languages", "target languages"), ("transfer", "transfer"),
    ("protocol", "protocol"), ("n_candidates", "candidates tried"), ("winner", "winner"),
    ("deploy", "model to deploy"),
)  # fmt: skip
"""Facts of each run above its scores: column of table RUNS, and words."""

DEPLOYED = "deployed"
"""Names the comparison of the models that two runs would deploy, where these are of unlike systems."""
DEPLOYED_NAME = "Models to deploy"


@dataclasses.dataclass(frozen=True)
class Group:
    """Runs tested on the same texts, the first of which the others are compared with."""

    number: int
    listed: pd.DataFrame
    """Their rows of table RUNS, in the order of the runs."""
    folders: Sequence[Path]
    runs: Sequence[RunTables]

    @property
    def names(self) -> list[str]:
        """Names of the runs."""
        return [run.name for run in self.runs]

    @property
    def is_known(self) -> bool:
        """Whether the test texts are known, so that scores compare."""
        return is_known(self.listed)


def build(folders: Sequence[Path], listed: pd.DataFrame, path: Path) -> Path:
    """Write the page, and every figure of it as SVG and PNG into a folder beside it, `NAME-figures`.

    Parameters
    ----------
    folders : sequence of Path
        Two runs or more; the first of those tested on the same texts is what these are compared with.
    listed : DataFrame
        Their rows of table RUNS.
    path : Path
        The page. A section that cannot be made says so in its place.

    Raises
    ------
    ValueError
        Fewer than two runs, or tables that break their declaration.
    """
    if len(folders) < 2:
        raise ValueError(f"runs: got {len(folders)} to compare, accepted: two or more")
    runs = [RunTables.read(folder) for folder in folders]
    specs: Specs = {}
    groups = groups_of(folders, runs, listed)

    def add(name: str, chart: alt.LayerChart, description: str) -> str:
        specs[name] = specification(chart, description)
        return name

    made: dict[str, Callable[[], Any]] = {"settings": lambda: settings(folders, listed)}
    for group in groups:
        made |= {
            f"facts-{group.number}": functools.partial(facts, group),
            f"systems-{group.number}": functools.partial(systems, group, add),
            f"paired-{group.number}": functools.partial(paired, group, add),
        }
    made["conclusions"] = lambda: conclusions(runs)
    tried = {name: attempt(name, make) for name, make in made.items()}
    content, failed = ({name: found[k] for name, found in tried.items()} for k in (0, 1))
    html = (
        environment()
        .get_template("comparison.html")
        .render(
            names=[run.name for run in runs],
            groups=groups,
            shared=shared,
            system_names=SYSTEM_NAMES,
            content=content,
            failed=failed,
            specs=as_json(specs),
            library=library() if specs else "",
        )
    )
    files.write_text(path, html)
    if specs:
        write_figures(specs, path.with_name(f"{path.stem}-{FOLDER}"))
    log.info("runs: %d side by side -> %s", len(runs), path)
    return path


def groups_of(folders: Sequence[Path], runs: Sequence[RunTables], listed: pd.DataFrame) -> list[Group]:
    """Return the runs in groups of the same test texts, groups and runs in the order of the folders."""
    places = {folder.name: place for place, folder in enumerate(folders)}
    ordered = listed[listed["run"].isin(list(places))].sort_values(
        "run", key=lambda names: names.map(places), kind="stable"
    )
    found = []
    for number, part in enumerate(grouped(ordered), 1):
        chosen = [places[name] for name in part["run"]]
        found.append(Group(number, part, [folders[k] for k in chosen], [runs[k] for k in chosen]))
    return found


def settings(folders: Sequence[Path], listed: pd.DataFrame) -> dict[str, Any]:
    """Return the settings and contents of files in which runs differ, with a value for each run."""
    found = [recorded.Recorded.read(folder) for folder in folders]
    by_run = listed.set_index("run")["versions"]
    versions = [str(by_run.get(folder.name, "")) for folder in folders]
    return {
        "differing": recorded.differing_settings(found),
        "contents": recorded.differing_contents(found),
        "versions": versions if len(set(versions)) > 1 else [],
        "unrecorded": [folder.name for folder, one in zip(folders, found, strict=True) if not one.settings],
    }


def facts(group: Group) -> dict[str, Any]:
    """Return what each run of a group is and its scores, one row a quantity; and in what the runs differ."""
    rows = records(group.listed)
    for row, run in zip(rows, group.runs, strict=True):
        tried = run.tried
        n = "" if pd.isna(row["n_candidates"]) else f"{row['n_candidates']:,}"
        row["n_candidates"] = f"{n} of {tried['of']:,}" if n and tried else n
        languages = row["languages"].split()
        if len(languages) > summaries.MOST_PANELS:
            row["languages"] = f"{len(languages)} languages"
    means: dict[str, dict[str, Any]] = {}
    for run in group.runs:
        if (table := run.table("table1")) is not None:
            for row in records(table[table["language"] == MEAN]):
                means.setdefault(row["system"], {})[run.name] = row
    return {
        "rows": rows,
        "facts": [fact for fact in FACTS if any(row[fact[0]] for row in rows)],
        "means": {name: means.get(name, {}) for name in SYSTEMS if name in means or name == PROBE},
        "unlike": [(KINDS[kind], found) for kind, found in _differing(group).items()],
    }


def systems(group: Group, add: Add) -> dict[str, Any] | None:
    """Return each system's test accuracy by run and language, with figures on one range; None without any."""
    rows = pd.concat([_accuracies(run) for run in group.runs], ignore_index=True)
    if rows.empty:
        return None
    first = group.runs[0].source_language
    languages = [MEAN, *ordered_languages(set(rows["language"]) - {MEAN}, first)]
    within = run_charts.accuracy_range(rows["percent"])
    panels = []
    for system in (name for name in SYSTEMS if name in set(rows["system"])):
        own = rows[rows["system"] == system]
        names = [name for name in group.names if name in set(own["run"])]
        title = f"Test accuracy of {SYSTEM_NAMES[system]} by language and run"
        there = [name for name in languages if name in set(own["language"])]
        drawn = own[["run", "language", "percent"]].round(2)
        if _each_drawn(there, names):
            chart = run_charts.accuracies(drawn, group.names, there, within)
        else:
            is_mean = drawn["language"] == MEAN
            chart = run_charts.accuracy_strips(drawn[~is_mean], drawn[is_mean], names, within)
        panels.append(
            {
                "name": SYSTEM_NAMES[system],
                "figure": add(f"system-{group.number}-{system}", chart, title),
                "numbers": numbers.by_run(own, group.names, there),
            }
        )
    return {"panels": panels, "within": within, "many": not _each_drawn(languages, group.names)}


def paired(group: Group, add: Add) -> dict[str, Any] | None:
    """Compare each run's systems with the first run's, paired over the texts that both were tested on.

    Returns
    -------
    dict or None
        rows: by run a row for each system, the difference of the means over the target languages with its
        interval, and in how many languages it is better, worse or neither. panels: figure and numbers by
        language. None where nothing can be paired.
    """
    found = pd.DataFrame(differences(group)) if group.is_known else pd.DataFrame()
    if found.empty:
        return None
    points = found.assign(
        **{name: (100 * found[name]).round(2) for name in ("low", "high")},
        points=(100 * found["difference"]).round(2),
    )
    within = run_charts.difference_range(points[["points", "low", "high"]].to_numpy().ravel())
    first = group.runs[0].source_language
    panels = []
    parts = points.groupby("comparison", sort=False)
    for key, own in sorted(parts, key=lambda part: part[0] != DEPLOYED):
        names = [name for name in group.names if name in set(own["run"])]
        languages = [MEAN, *ordered_languages(set(own["language"]) - {MEAN}, first)]
        languages = [name for name in languages if name in set(own["language"])]
        drawn = own[["run", "language", "points", "low", "high", "verdict"]]
        if _each_drawn(languages, names):
            chart = run_charts.differences(drawn, group.names, languages, within)
        else:
            chart = run_charts.difference_strips(drawn[drawn["language"] != MEAN], names, within)
        name = DEPLOYED_NAME if key == DEPLOYED else SYSTEM_NAMES[str(key)]
        figure = f"difference-{group.number}-{key}"
        title = f"{name}: difference of test accuracy to {group.names[0]} by language"
        cells = {(row["run"], row["language"]): row for row in records(found[found["comparison"] == key])}
        panels.append(
            {
                "name": name,
                "figure": add(figure, chart, title),
                "runs": names,
                "languages": languages,
                "cells": cells,
            }
        )
    many = not _each_drawn(sorted(set(found["language"])), group.names)
    return {"rows": _summed_up(found), "panels": panels, "within": within, "many": many}


def differences(group: Group) -> list[dict[str, Any]]:
    """Return the difference of each run's systems to the first run's, by language and over the targets.

    Returns
    -------
    list of dict
        run, comparison (the system, or `DEPLOYED`), name (words for it), language, difference, low, high
        (its 95% interval, paired over texts), verdict.
    """
    correct = [_correct(folder) for folder in group.folders]
    first, reference = group.runs[0], correct[0]
    found = []
    for run, own in zip(group.runs[1:], correct[1:], strict=True):
        models = (run.deploy.get("system"), first.deploy.get("system"))
        pairs = [(name, name, name) for name in SYSTEMS if name in own and name in reference]
        if models[0] in own and models[1] in reference and models[0] != models[1]:
            pairs.insert(0, (DEPLOYED, str(models[0]), str(models[1])))
        for comparison, system, other in pairs:
            if not same_texts(own[system], reference[other]):
                continue
            name = SYSTEM_NAMES[system]
            if system != other:
                name = f"{name} against {SYSTEM_NAMES[other]}"
            if (system, other) == models:
                name += " (to deploy)" if system == other else " (each to deploy)"
            found += [
                {
                    "run": run.name,
                    "comparison": comparison,
                    "name": name,
                    **{key: row[key] for key in ("language", "difference", "low", "high")},
                    "verdict": verdict(row["low"], row["high"]),
                }
                for row in measured(own[system], reference[other], run.source_language)
            ]
    return found


def verdict(low: float, high: float) -> str:
    """Return the meaning of the interval of a difference in words."""
    return run_charts.BETTER if low > 0 else run_charts.WORSE if high < 0 else run_charts.SAME


def _summed_up(found: pd.DataFrame) -> dict[str, list[dict[str, Any]]]:
    """Return by run, for each comparison, the mean over the targets, and languages by their verdict."""
    rows: dict[str, list[dict[str, Any]]] = {}
    for (run, _), own in found.groupby(["run", "comparison"], sort=False):
        by_language = own[own["language"] != MEAN]
        mean = own[own["language"] == MEAN]
        counts = by_language["verdict"].value_counts()
        rows.setdefault(str(run), []).append(
            records(mean if len(mean) else by_language)[0]
            | {word: int(counts.get(word, 0)) for word in (run_charts.BETTER, run_charts.WORSE)}
            | {"n_languages": len(by_language)}
        )
    return rows


def _each_drawn(languages: Sequence[str], runs: Sequence[str]) -> bool:
    """Return whether there is room for a mark for each run in each language."""
    return len(languages) <= summaries.MOST_PANELS + 1 and len(runs) <= run_charts.MOST_RUNS


def _accuracies(run: RunTables) -> pd.DataFrame:
    """Return a run's test accuracy by system and language, the probe's from the search if need be."""
    columns = ["system", "language", "accuracy"]
    table, candidates = run.table("table1"), run.table("gridsearch")
    rows = pd.DataFrame(columns=columns)
    if table is not None:
        rows = table[columns]
    if PROBE not in set(rows["system"]) and candidates is not None:
        best = summaries.finished(candidates).iloc[:1]
        scores = best[[name for name in best.columns if str(name).startswith("test_f1_micro_")]]
        own = scores.rename(columns=lambda name: str(name).removeprefix("test_f1_micro_"))
        own = own.melt(var_name="language", value_name="accuracy").dropna().assign(system=PROBE)
        rows = pd.concat([part for part in (rows, own[columns]) if len(part)] or [rows], ignore_index=True)
    return rows.assign(run=run.name, percent=100 * rows["accuracy"].astype(float))


def conclusions(runs: Sequence[RunTables]) -> list[dict[str, Any]]:
    """Return each claim of the published conclusions that a run tested, with its verdict by run."""
    tables = {run.name: table for run in runs if (table := run.table("conclusions")) is not None}
    claims = dict.fromkeys(
        (int(number), str(claim))
        for table in tables.values()
        for number, claim in zip(table["number"], table["conclusion"], strict=True)
    )
    found = []
    for number, claim in sorted(claims, key=lambda key: key[0]):
        verdicts = {
            name: overall(table.loc[table["conclusion"] == claim, "verdict"].tolist())
            for name, table in tables.items()
        }
        if set(verdicts.values()) != {NOT_TESTED}:
            found.append({"number": number, "claim": claim, "verdicts": verdicts})
    return found


def _correct(folder: Path) -> dict[str, pd.DataFrame]:
    if not any(folder.glob(PREDICTIONS.file_name)):
        return {}
    frame = read_results("predictions", folder)
    test = frame[frame["split"] == "test"]
    return {str(system): correctness(rows) for system, rows in test.groupby("system")}


def _differing(group: Group) -> dict[str, list[str]]:
    """Find in what the runs of a group differ, by the first of these tables that all have."""
    for name in ("table1", "gridsearch", "corpus"):
        found = [run.table(name) for run in group.runs]
        frames = [frame for frame in found if frame is not None]
        if len(frames) == len(group.runs):
            return unlike(group.folders, frames)
    return unlike(group.folders, [pd.DataFrame()] * len(group.folders))
