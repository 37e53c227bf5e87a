"""Write tables and sentences of the pages from committed figures: last lines of benchmarks, tables of runs.

python .ci/figures.py            # writes those that differ
python .ci/figures.py --check    # names them, and ends with 1 when there are any

A comment names the files, JSON or CSV, and holds a template (jinja); the lines below it, as far as the next
empty one, are made of both:

<!-- docs/figures/extract.json
| way | s |
|---|---|
{% for way, took in mbert.seconds.items() %}
| {{ way }} | {{ took | median(2) }} |
{% endfor %}
-->
"""

import argparse
import csv
import json
import re
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

ROOT = Path(__file__).parents[1]
MADE = re.compile(
    r"(?P<head><!-- (?P<files>\S+\.(?:json|csv)(?: \S+)*)\n(?P<template>(?s:.*?))-->\n\n)"
    r"(?P<made>(?:.+\n)*)"
)


def figures(values: Iterable[float | None], digits: int) -> str:
    """Return cells."""
    return " | ".join(figure(value, digits) for value in values)


def figure(value: float | None, digits: int) -> str:
    """Return a number; nothing for none."""
    return "" if value is None else f"{float(value):.{digits}f}"


def short(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.3g}"


def median(values: Sequence[float], digits: int) -> str:
    """Return the median of rounds."""
    return figure(statistics.median(values), digits)


def spread(values: Sequence[float], digits: int) -> str:
    """Return the median and the range of rounds."""
    low, high = (figure(end, digits) for end in (min(values), max(values)))
    return f"{median(values, digits)} ({low}-{high})"


def interval(ends: Sequence[float] | None, digits: int, scale: float = 1) -> str:
    """Return a difference with its interval; nothing for none and for a difference to itself."""
    if not ends or not any(ends):
        return ""
    value, low, high = (f"{scale * float(end):+.{digits}f}" for end in ends)
    return f"{value} [{low}, {high}]"


def points(ends: Sequence[float] | None) -> str:
    """Return a difference of shares with its interval, in points."""
    return interval(ends, 1, 100)


FILTERS = {f.__name__: f for f in (figures, figure, short, median, spread, interval, points)}


def read(path: Path) -> Mapping[str, Any]:
    """Return a JSON file's object; of a CSV file its rows, under its name."""
    with path.open(encoding="utf-8", newline="") as file:
        return json.load(file) if path.suffix == ".json" else {path.stem: list(csv.DictReader(file))}


def written(page: str) -> str:
    """Return a page's text as the figures have it."""
    environment = Environment(
        trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, undefined=StrictUndefined
    )
    environment.filters |= FILTERS

    def made(match: re.Match[str]) -> str:
        known: dict[str, Any] = {}
        for name in match["files"].split():
            known |= read(ROOT / name)
        return match["head"] + environment.from_string(match["template"]).render(known)

    return MADE.sub(made, page)


def main() -> None:
    """Write or check the pages given, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true")
    parser.add_argument("pages", nargs="*", type=Path)
    args = parser.parse_args()
    stale = []
    for page in args.pages or [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]:
        found = page.read_text(encoding="utf-8")
        right = written(found)
        lines = zip(found.splitlines(), right.splitlines(), strict=False)
        stale += [f"{page}:{n}: {a}\n  is {b}" for n, (a, b) in enumerate(lines, 1) if a != b][:1]
        if found != right and not args.check:
            page.write_text(right, encoding="utf-8")
    if stale and args.check:
        sys.exit("\n".join([*stale, "they differ from docs/figures/: python .ci/figures.py writes them"]))


if __name__ == "__main__":
    main()
