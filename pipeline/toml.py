"""Read untrusted TOML: input that would take Python's reader minutes or all of its stack is refused.

python -m pytest tests/pipeline/test_toml.py
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

MOST_PARTS = 16
"""Of a dotted key; Python's reader takes 70 s for 100,000 of them. Settings have at most four."""

MOST_NESTED = 32
"""Lists and tables within each other; Python's reader recurses."""

MOST_DIGITS = 4300
"""Of a number; Python reads no longer ones, and does not say of which key."""

_TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')
_COMMENT = re.compile(r"#.*")
_PIECE = re.compile(r"[^\w.\s-]")
_BRACKETS = {"[": 1, "{": 1, "]": -1, "}": -1}


class TooMuchError(ValueError):
    """A key of too many parts, a number of too many digits, or lists nested too deeply."""


def parse_toml(text: str) -> dict[str, Any]:
    """Return the tables of a text in TOML.

    Raises
    ------
    TooMuchError
        It holds what no setting has, and names line and key.
    ValueError
        It is not TOML.
    """
    depth = 0
    for number, line in enumerate(text.splitlines(), start=1):
        # texts go first: a path may hold as many dots, a label as many digits as it likes
        bare = _COMMENT.sub("", _TEXT.sub("_", line))
        _require_few_parts(bare, number)
        depth = _depth(bare, depth, number)
    try:
        return tomllib.loads(text)
    except RecursionError as error:
        raise TooMuchError("nested too deeply to be read") from error


def _require_few_parts(bare: str, number: int) -> None:
    where = f"line {number}: {bare.partition('=')[0].strip()[:40]}"
    for piece in _PIECE.split(bare):
        run = 0  # words with nothing but dots between, as in a key; in a sentence there are blanks, too
        for part in piece.split("."):
            words = part.split()
            run = run + 1 if len(words) == 1 else min(len(words), 1)
            if run > MOST_PARTS:
                raise TooMuchError(f"{where}: a key of more than {MOST_PARTS} parts")
            if any(len(word) > MOST_DIGITS and word.strip("+-").replace("_", "").isdigit() for word in words):
                raise TooMuchError(f"{where}: a number of more than {MOST_DIGITS:,} digits")


def _depth(bare: str, depth: int, number: int) -> int:
    """Return how deep the next line is; the brackets in a text of several lines count too, and may close."""
    for sign in bare:
        depth = max(0, depth + _BRACKETS.get(sign, 0))
        if depth > MOST_NESTED:
            raise TooMuchError(f"line {number}: lists or tables nested more than {MOST_NESTED} deep")
    return depth
