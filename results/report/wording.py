"""How the report writes numbers and languages.

python -m pytest tests/results/report/test_wording.py
"""

from __future__ import annotations

import math

from mcbert.results.schema import MEAN


def spoken(language: str) -> str:
    """Write a language, or the mean over the targets, as figures and headings name it."""
    return "mean over target languages" if language == MEAN else language


def percent(value: float, digits: int = 1) -> str:
    """Write a share as a percentage without its sign; a missing one as a dash."""
    return "\u2013" if value is None or math.isnan(value) else f"{value * 100:.{digits}f}"


def points(value: float, digits: int = 1) -> str:
    """Write a difference of shares in percentage points, with a real minus sign."""
    if value is None or math.isnan(value):
        return "\u2013"
    rounded = round(value * 100, digits) + 0.0  # no minus sign before a zero
    return f"{rounded:+.{digits}f}".replace("-", "\u2212") if rounded else f"{rounded:.{digits}f}"
