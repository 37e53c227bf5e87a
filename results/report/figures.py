"""The report's figures as files for slides and papers: every one as SVG and PNG, drawn without a browser.

python -m pytest tests/results/report/test_figures.py
"""

from __future__ import annotations

import copy
import logging
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from mcbert import files
from mcbert.results.report.charts import INK

log = logging.getLogger(__name__)

FOLDER = "figures"
WIDTH = 480
"""Pixels across which the data are drawn; axes and legends come on top."""

_PAPER, _DARK_INK = "#ffffff", "#171c25"
_SCALE = 2


def vega_version() -> str:
    """Return the version of Vega-Lite that Altair writes charts for, as `vl_convert` names it."""
    return ".".join(alt.SCHEMA_VERSION.split(".")[:2])


def write_figures(specs: Mapping[str, dict[str, Any]], folder: Path) -> list[Path]:
    """Write every figure as SVG and PNG into a folder; others of these kinds in it are removed.

    Parameters
    ----------
    specs : mapping of str to dict
        Vega-Lite specifications by the figure's id.
    folder : Path
        Made where it is not there.

    Returns
    -------
    list of Path
        The files. The same figures make the same bytes, where the same fonts are installed.
    """
    began = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, spec in zip(file_names(list(specs)), specs.values(), strict=True):
        svg = draw(spec)
        written += [folder / f"{name}.svg", folder / f"{name}.png"]
        files.write_bytes(written[-2], svg.encode("utf-8"))
        files.write_bytes(written[-1], bytes(vl_convert.svg_to_png(svg, scale=_SCALE)))
    for path in {*folder.glob("*.svg"), *folder.glob("*.png")}.difference(written):
        path.unlink()
    log.info("report: %d figures in %s, %.1f s", len(specs), folder, time.monotonic() - began)
    return written


def draw(spec: Mapping[str, Any]) -> str:
    """Draw one figure as SVG that stands alone: on white, its description as the title, nothing loaded."""
    svg = vl_convert.vegalite_to_svg(alone(spec), vl_version=vega_version(), allowed_base_urls=[])
    return str(svg)


def alone(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Fit a figure of the report to a page of its own."""
    single: dict[str, Any] = _inked(copy.deepcopy(dict(spec)))
    single |= {"width": WIDTH, "title": {"text": single.get("description", ""), "anchor": "start"}}
    single["config"] |= {"background": _PAPER, "font": "sans-serif"}
    single["config"]["title"] = {"color": _DARK_INK, "fontSize": 13, "offset": 12}
    return single


def file_names(ids: list[str]) -> list[str]:
    """Turn ids, which hold names of languages, into names of files; no two alike."""
    plain = [re.sub(r"[^A-Za-z0-9._-]", "_", name) for name in ids]
    lower = [name.lower() for name in plain]
    return [
        name if lower.count(name.lower()) == 1 else f"{name}-{number}" for number, name in enumerate(plain, 1)
    ]


def _inked(part: Any) -> Any:
    """Replace the page's colour, which a file of its own has not."""
    if isinstance(part, dict):
        return {key: _inked(value) for key, value in part.items()}
    if isinstance(part, list):
        return [_inked(value) for value in part]
    return _DARK_INK if part == INK else part
