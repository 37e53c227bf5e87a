import io

import pytest

from mcbert.files.lines import LONGEST, LongLineError, lines


def test_lines_keep_their_ends():
    text = "a\nb\r\n\nlast"
    assert list(lines(io.StringIO(text, newline=""))) == ["a\n", "b\r\n", "\n", "last"]


def test_a_line_of_the_longest_is_read_and_a_longer_one_is_not():
    whole = "x" * (LONGEST - 1) + "\n"
    assert list(lines(io.StringIO(f"a\n{whole}b"))) == ["a\n", whole, "b"]
    with pytest.raises(LongLineError, match="line 2: more than 16,777,216 characters") as refused:
        list(lines(io.StringIO(f"a\nx{whole}b")))
    assert refused.value.number == 2


class Endless(io.RawIOBase):
    """A line without end."""

    given = 0

    def readable(self):
        return True

    def readinto(self, buffer):
        buffer[:] = b"x" * len(buffer)
        self.given += len(buffer)
        return len(buffer)


def test_a_line_without_end_is_not_read_to_its_end():
    endless = Endless()
    with pytest.raises(LongLineError, match="line 1"):
        list(lines(io.TextIOWrapper(io.BufferedReader(endless), "utf-8")))
    assert endless.given < 2 * LONGEST
