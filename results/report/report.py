"""The report: one HTML file made of a run's CSV files, whole in itself; nothing in it loads from a network.

python -m mcbert report --run demo        (or, for any folder: results.report.report.build(folder))
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import altair as alt
import jinja2
import vl_convert
from markupsafe import Markup

from mcbert import files
from mcbert.results import runs
from mcbert.results.report import (
    errors,
    headline,
    languages,
    misread,
    numbers,
    search_sections,
    sections,
    systems,
)
from mcbert.results.report.charts import SYSTEM_NAMES, specification
from mcbert.results.report.figures import FOLDER, vega_version, write_figures
from mcbert.results.report.sections import Add
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import PREDICTIONS, SCORES
from mcbert.results.schema.words import STAMP

log = logging.getLogger(__name__)

NAME = "report.html"
Specs = dict[str, dict[str, Any]]
"""Vega-Lite specifications of figures by their id."""

_OF_SYSTEMS = ("sts", "tatoeba", "reductions")
"""Tables whose rows name the encoder of a system, not the run's."""
MESSAGE_LENGTH = 200
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
    run = RunTables.read(run_dir)
    html, specs = render(run, provenance(run_dir, run))
    path = run_dir / NAME
    files.write_text(path, html)
    seconds = time.monotonic() - began
    log.info("report: %s, %.1f MB, %.1f s", path, path.stat().st_size / 1e6, seconds)
    return [path, *(write_figures(specs, run_dir / FOLDER) if figures else [])]


def provenance(run_dir: Path, run: RunTables) -> dict[str, Any]:
    """Collect the rows' stamps, the stages' records, and every CSV file with its bytes and SHA-256."""
    stamps: dict[str, list[str]] = {name: [] for name in STAMP}
    for table, frame in run.tables.items():
        for name in STAMP if table not in _OF_SYSTEMS else set(STAMP) - {"encoder"}:
            stamps[name] += [value for value in frame[name].unique() if value and value not in stamps[name]]
    listed = [name for table in (*runs.SHOWN.values(), SCORES, PREDICTIONS) for name in table.file_names]
    found = sorted({path for pattern in listed for path in run_dir.glob(pattern)})
    return {
        "stages": runs.stages(run_dir),
        "stamps": stamps,
        "files": [
            {"name": path.name, "bytes": path.stat().st_size, "sha256": files.sha256(path)} for path in found
        ],
    }


@dataclasses.dataclass(frozen=True)
class Section:
    """A section of the page: its template is `<name>.html`."""

    name: str
    """Its id in the page."""

    title: str
    """Its title in the navigation, and where it cannot be made."""

    make: Callable[[RunTables, Add], Any]
    """Returns its content; None where the run has nothing to show in it."""

    stage: str = ""
    """The stage that it shows; where there is nothing, the page says that this was not run."""


SECTIONS = (
    Section("headline", "", lambda run, _: headline.headline(run)),
    Section("systems", "Systems", lambda run, _: systems.systems(run)),
    Section("languages", "Languages", lambda run, _: languages.languages(run)),
    Section("misread", "Errors to read", lambda run, _: misread.errors(run)),
    Section("confusion", "Labels", errors.confusion),
    Section("training", "Fine-tuning", sections.training, "finetune"),
    Section("tune", "Settings", lambda run, _: sections.tune(run), "tune"),
    Section("search", "Search", search_sections.search, "gridsearch"),
    Section("candidates", "Candidates", lambda run, _: search_sections.candidates(run)),
    Section("protocols", "Protocols", lambda run, _: search_sections.protocols(run)),
    Section("embeddings", "Sentence embeddings", lambda run, _: sections.embeddings(run), "embeddings"),
    Section("corpus", "Corpus", sections.corpus, "extract"),
    Section("paper", "The paper", sections.paper),
)
"""The sections in their order; after them comes where the figures are from."""


def render(run: RunTables, origin: dict[str, Any]) -> tuple[str, Specs]:
    """Make the HTML of a run, and the specifications of the figures in it by their id.

    A section that cannot be made says so in its place; the page is made all the same.

    Parameters
    ----------
    run : RunTables
        Its tables.
    origin : dict
        From `provenance`.
    """
    specs: Specs = {}

    def add(name: str, chart: alt.LayerChart, description: str) -> str:
        specs[name] = specification(chart, description)
        return name

    filled, contents, parts = environment(), {}, []
    for section in SECTIONS:
        content, failure = attempt(section.name, section.make, run, add)
        if content is None and not failure:
            continue
        contents[section.name] = content
        html, unfilled = attempt(section.name, _fill, filled, section, content, run) if content else ("", "")
        if failure or unfilled:
            html = filled.get_template("failed.html").render(section=section, failure=failure or unfilled)
        parts.append((section, Markup(html)))
    shown = {section.name for section, _ in parts}
    html = filled.get_template("report.html").render(
        run=run,
        parts=parts,
        absent=[section for section in SECTIONS if section.stage and section.name not in shown],
        provenance=origin,
        specs=as_json(specs),
        library=library() if specs else "",
        data={name: as_json(contents[name]["data"]) for name in _FILTERED if contents.get(name)},
    )
    return html, specs


_FILTERED = ("misread", "candidates")
"""Sections whose rows are filtered in the page."""


def _fill(filled: jinja2.Environment, section: Section, content: Any, run: RunTables) -> str:
    shown = {section.name: content, "run": run, "system_names": SYSTEM_NAMES}
    return filled.get_template(f"{section.name}.html").render(**shown)


def attempt(name: str, make: Callable[..., Any], *given: Any) -> tuple[Any, str]:
    """Return what a section makes, and why it could not; an empty text: it could."""
    try:
        return make(*given), ""
    except Exception as error:
        log.warning("the section %s could not be made", name, exc_info=True)
        return None, f"{type(error).__name__}: {' '.join(str(error).split())[:MESSAGE_LENGTH]}"


def as_json(value: Any) -> Markup:
    """Return JSON that can stand inside a script element: no `<` that could close it."""
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
    filled.filters |= {"percent": numbers.percent, "points": numbers.points, "features": numbers.features}
    filled.globals["heading"] = numbers.heading
    return filled


@functools.cache
def library() -> Markup:
    """Return Vega, Vega-Lite and Vega-Embed as one script, in the version that Altair writes charts for."""
    bundle = str(vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", vega_version()))
    return Markup(bundle.replace("</script", "<\\/script"))
