"""Read the lines of a text one at a time, each bounded in length.

python -m pytest tests/files/test_lines.py
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TextIO

LONGEST = 1 << 24
"""Characters of a line, a field or a row of a table: 5,000 pages; csv's own limit of a field is 131,072."""


class LongLineError(ValueError):
    """A line of more than `LONGEST` characters.

    Attributes
    ----------
    number : int
        Which, from 1.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"line {number}: more than {LONGEST:,} characters; accepted: fewer")
        self.number = number


def lines(text: TextIO) -> Iterator[str]:
    """Yield lines with their ends; of one that is too long no more than `LONGEST` characters are read.

    Raises
    ------
    LongLineError
        Names the first such line.
    """
    number = 0
    while line := text.readline(LONGEST + 1):
        number += 1
        if len(line) > LONGEST:
            raise LongLineError(number)
        yield line
