"""The physical lines of a text file, plain or gzipped, in a declared encoding; where bytes do not fit it."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, cast

from features.corpus.formats.bad_rows import CorpusError

BYTE_ORDER_MARK = "\ufeff"
_UTF16 = ' (it begins like "utf-16")'
_BEGINNINGS = {
    b"\xff\xfe": _UTF16,
    b"\xfe\xff": _UTF16,
    b"\x1f\x8b": " (it begins like a gzip archive; accepted: it as .csv.gz)",
    b"PK": " (it begins like a workbook; accepted: it saved as CSV)",
}


class Lines:
    """The lines of one file, their ends kept, counted from 1.

    Parameters
    ----------
    path : Path
        The file; ``.gz`` is unpacked on the way.
    encoding : str
        Any of Python's text encodings. A byte-order mark is taken off; one of UTF-16 is believed where the
        encoding is UTF-8, as which such a file cannot be read.

    Attributes
    ----------
    undecodable : set of int
        Numbers of the lines met so far that hold bytes outside the encoding; such bytes are in the line as
        lone surrogates.
    """

    def __init__(self, path: Path, encoding: str = "utf-8") -> None:
        self.path, self.encoding = path, encoding
        self.encoding = self._marked_encoding()
        self.undecodable: set[int] = set()
        # in UTF-16 and its like one bad byte leaves no line to point at
        self._by_line = "\n".encode(self.encoding) == b"\n"
        self._bytes: dict[int, str] = {}

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        Raises
        ------
        CorpusError
            No such file, a folder, no permission, a broken archive, or bytes that cannot be given a line.
        """
        errors = "surrogateescape" if self._by_line else "strict"
        with reading(self.path):
            try:
                with self._open() as file, io.TextIOWrapper(file, self.encoding, errors, newline="") as text:
                    yield from self._marked(text)
            except UnicodeError as error:
                raise self._broken(error) from error

    def _marked_encoding(self) -> str:
        if codecs.lookup(self.encoding).name not in ("utf-8", "utf-8-sig"):
            return self.encoding
        try:
            with self._open() as file:
                start = file.read(4)
        except (OSError, EOFError, zlib.error):
            return self.encoding  # reading says what is wrong
        if start in (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE):
            return "utf-32"
        return "utf-16" if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else self.encoding

    def _marked(self, text: Iterable[str]) -> Iterator[str]:
        for number, line in enumerate(text, start=1):
            if not line.isascii() and not is_encodable(line):
                self.undecodable.add(number)
            yield line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line

    def undecodable_in(self, first: int, last: int) -> str:
        """Return what is wrong with the lines `first` to `last`; empty when all of them decode."""
        wrong = [n for n in range(first, last + 1) if n in self.undecodable] if self.undecodable else []
        if not wrong:
            return ""
        if wrong[0] not in self._bytes:
            self._bytes = self._locate()
        return self._bytes.get(wrong[0], f"it is not {self.encoding}; {self._hint()}")

    def _locate(self) -> dict[int, str]:
        out, offset = {}, 0
        with reading(self.path), self._open() as file:
            for number, line in enumerate(file.read().splitlines(keepends=True), start=1):
                try:
                    line.decode(self.encoding)
                except UnicodeDecodeError as error:
                    out[number] = self._said(line[error.start], offset + error.start)
                offset += len(line)
        return out

    def _broken(self, error: UnicodeError) -> CorpusError:
        with self._open() as file:
            data = file.read()
        try:
            data.decode(self.encoding)
        except UnicodeDecodeError as whole:  # a stream's decoder counts from its block, this from the start
            return CorpusError(f"{self.path}: {self._said(data[whole.start], whole.start)}")
        except UnicodeError as whole:
            error = whole
        return CorpusError(f"{self.path}: it is not {self.encoding}: {error}; {self._hint()}")

    def _said(self, byte: int, offset: int) -> str:
        return f"byte {byte:#04x} at offset {offset} is not {self.encoding}; {self._hint()}"

    def _hint(self) -> str:
        with self._open() as file:
            start = file.read(2)
        looks = _BEGINNINGS.get(start, "") if self._by_line else ""
        return f"corpus.encoding may name another{looks}"

    def _open(self) -> BinaryIO:
        if self.path.suffix.lower() == ".gz":
            return cast(BinaryIO, gzip.open(self.path, "rb"))
        return self.path.open("rb")


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the file system says about `path` into one line."""
    try:
        yield
    except FileNotFoundError as error:
        raise CorpusError(f"{path}: no such file") from error
    except IsADirectoryError as error:
        raise CorpusError(f"{path}: it is a folder; accepted: a file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CorpusError(f"{path}: the gzip archive is broken: {error}") from error
    except OSError as error:
        raise CorpusError(f"{path}: it cannot be read: {error.strerror or error}") from error


def is_encodable(text: str) -> bool:
    """Tell whether UTF-8 can hold the text: whether it has no lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
