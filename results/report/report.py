"""The report: one HTML file made of a run's CSV files, whole in itself; nothing in it loads from a network.

python -m mcbert report --run demo        (or, for any folder: results.report.build(folder))
"""

from __future__ import annotations

import functools
import json
import logging
import os
import time
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import pandas as pd
import vl_convert
from markupsafe import Markup

from mcbert import files
from mcbert.files.objects import Types, read_object
from mcbert.results import deploy, overall
from mcbert.results.report import conclusion_sections, search_sections, sections, wording
from mcbert.results.report.candidates import candidates
from mcbert.results.report.canvas import specification
from mcbert.results.report.charts import SYSTEM_NAMES
from mcbert.results.report.figures import FOLDER, vega_version, write_figures
from mcbert.results.report.headings import heading
from mcbert.results.schema import (
    CONCLUSIONS,
    CONFUSION,
    CORPUS,
    EFFECTS,
    FINETUNE,
    FREEZING,
    GRIDSEARCH,
    PREDICTIONS,
    PROTOCOL_CHOICES,
    REDUCTIONS,
    SCORES,
    STAMP,
    STS,
    TABLE1,
    TATOEBA,
    TOP,
    TUNE,
)

log = logging.getLogger(__name__)

NAME = "report.html"
TABLES = {
    "corpus": CORPUS,
    "gridsearch": GRIDSEARCH,
    "confusion": CONFUSION,
    "top": TOP,
    "effects": EFFECTS,
    "protocols": PROTOCOL_CHOICES,
    "finetune": FINETUNE,
    "freezing": FREEZING,
    "table1": TABLE1,
    "tune": TUNE,
    "conclusions": CONCLUSIONS,
    "sts": STS,
    "tatoeba": TATOEBA,
    "reductions": REDUCTIONS,
}
"""The tables that the report shows, by the name of their file without `.csv`."""

Specs = dict[str, dict[str, Any]]
"""Vega-Lite specifications of figures by their id."""

_RECORD: Types = {"seconds": (int, float), "machine": dict, "versions": dict, "inputs": dict}
_OF_SYSTEMS = ("sts", "tatoeba", "reductions")
"""Tables whose rows name the encoder of a system, not the run's."""
_ORDER = (
    "prepare", "extract", "gridsearch", "export", "tune", "finetune", "pairs", "embeddings", "retrieval",
    "similarity", "report",
)  # fmt: skip
_TEMPLATES = Path(__file__).parent / "templates"


def build(run_dir: str | os.PathLike[str], *, figures: bool = False) -> list[Path]:
    """Write `report.html` into a run's folder from the CSV files (and winner.json) that are there.

    Parameters
    ----------
    run_dir : Path
        The run's folder. A table that is not there makes its section say that the stage was not run.
    figures : bool
        Whether to write every figure beside it too, into `figures/`, as SVG and PNG.

    Returns
    -------
    list of Path
        The report, then the figures.

    Raises
    ------
    ValueError
        If the folder holds none of the tables, or one of them breaks its declaration.
    """
    began, run_dir = time.monotonic(), Path(run_dir)
    run = read_run(run_dir)
    html, specs = render(run, provenance(run_dir, run))
    path = run_dir / NAME
    files.write_text(path, html)
    seconds = time.monotonic() - began
    log.info("report: %s, %.1f MB, %.1f s", path, path.stat().st_size / 1e6, seconds)
    return [path, *(write_figures(specs, run_dir / FOLDER) if figures else [])]


def read_run(run_dir: Path) -> sections.Run:
    """Read the tables of a run's folder that are there.

    Raises
    ------
    ValueError
        If there are none, or one of them breaks its declaration.
    OSError
        If the folder holds a link: it is not followed.
    """
    files.require_own(run_dir)
    frames = {
        name: overall.read(table, run_dir / table.file_name)
        for name, table in TABLES.items()
        if (run_dir / table.file_name).is_file()
    }
    if not frames:
        accepted = ", ".join(table.file_name for table in TABLES.values())
        raise ValueError(f"{run_dir}: no results to report; accepted: a folder with any of {accepted}")
    path = run_dir / "winner.json"
    winner = read_object(path) if os.path.lexists(path) else {}
    source = source_language(frames, winner)
    return sections.Run(run_dir.resolve().name, frames, winner, source, deploy.read(run_dir))


def source_language(frames: dict[str, pd.DataFrame], winner: dict[str, Any]) -> str:
    """Tell the source language: winner.json's, else the only one with texts to train on, else en."""
    if isinstance(winner.get("source_language"), str):
        return str(winner["source_language"])
    corpus = frames.get("corpus")
    trained: set[str] = set()
    if corpus is not None:  # of translated texts none tells what they were translated from
        rows = (corpus["split"] == "train") & ~corpus["transfer"].str.startswith("translate-train")
        trained = set(corpus.loc[rows, "language"])
    return trained.pop() if len(trained) == 1 else "en"


def provenance(run_dir: Path, run: sections.Run) -> dict[str, Any]:
    """Collect the rows' stamps, the stages' records, and every CSV file with its bytes and SHA-256."""
    stamps: dict[str, list[str]] = {name: [] for name in STAMP}
    for table, frame in run.tables.items():
        for name in STAMP if table not in _OF_SYSTEMS else set(STAMP) - {"encoder"}:
            stamps[name] += [value for value in frame[name].unique() if value and value not in stamps[name]]
    listed = [name for table in (*TABLES.values(), SCORES, PREDICTIONS) for name in table.file_names]
    found = sorted({path for pattern in listed for path in run_dir.glob(pattern)})
    return {
        "stages": stages(run_dir),
        "stamps": stamps,
        "files": [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in found
        ],
    }


def stages(run_dir: Path) -> list[dict[str, Any]]:
    """List the stages that a run's folder has records of, in the order of the method.

    Returns
    -------
    list of dict
        name, seconds, machine and versions (texts by name; empty where the record has none), settings (the
        stage's inputs as JSON).
    """
    found = []
    for path in stage_records(run_dir):
        record = read_object(path, optional=_RECORD)
        found.append(
            {
                "name": path.stem,
                "seconds": record.get("seconds"),
                "machine": record.get("machine", {}),
                "versions": record.get("versions", {}),
                "settings": json.dumps(
                    record.get("inputs", {}), indent=1, ensure_ascii=False, sort_keys=True
                ),
            }
        )
    return found


def stage_records(run_dir: Path) -> list[Path]:
    """List the records of a run's finished stages, in the order of the method."""
    return sorted((run_dir / "stages").glob("*.json"), key=_place)


def _place(record: Path) -> tuple[int, str]:
    """Order records of stages; not by their times, which a copy of the run's folder need not keep."""
    stage = record.stem.split("-")[0]
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER) - 1, record.stem


def render(run: sections.Run, origin: dict[str, Any]) -> tuple[str, Specs]:
    """Make the HTML of a run, and the specifications of the figures in it by their id.

    Parameters
    ----------
    run : Run
        Its tables.
    origin : dict
        From `provenance`.
    """
    specs: Specs = {}

    def add(name: str, chart: alt.LayerChart, description: str) -> str:
        specs[name] = specification(chart, description)
        return name

    listed = candidates(run)
    shown = {
        "run": run,
        "headline": sections.headline(run),
        "conclusions": conclusion_sections.conclusions(run, add),
        "tune": conclusion_sections.tune(run),
        "search": search_sections.search(run, add),
        "candidates": listed,
        "protocols": search_sections.protocols(run),
        "confusion": sections.confusion(run, add),
        "training": sections.training(run, add),
        "table1": sections.table1(run),
        "embeddings": sections.embeddings(run),
        "corpus": sections.corpus(run, add),
        "provenance": origin,
        "system_names": SYSTEM_NAMES,
    }
    html = (
        environment()
        .get_template("report.html")
        .render(
            **shown,
            specs=as_json(specs),
            library=library() if specs else "",
            candidate_data=as_json(listed["data"]) if listed else "",
        )
    )
    return html, specs


def as_json(value: Any) -> Markup:
    """Give JSON that can stand inside a script element: no `<` that could close it."""
    return Markup(json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c"))


def environment() -> jinja2.Environment:
    """Make the environment in which the pages' templates are filled in."""
    filled = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    filled.filters |= {"percent": wording.percent, "points": wording.points}
    filled.globals["heading"] = heading
    return filled


@functools.cache
def library() -> Markup:
    """Give Vega, Vega-Lite and Vega-Embed as one script, in the version that Altair writes charts for."""
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vega_version()))
    return Markup(bundle.replace("</script", "<\\/script"))
