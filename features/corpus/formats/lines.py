"""The physical lines of a text file, plain or gzipped, in a declared encoding; where bytes do not fit it."""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

from mcbert.features.corpus.errors import CorpusError, key
from mcbert.files import RefusedFileError, open_file
from mcbert.files.lines import LONGEST, LongLineError, lines

UNPACKED = 1 << 24  # bytes that an archive may always unpack to; as blank lines they take 10 s
RATIO = 100  # times its size that it may beyond; texts take 3 to 10 times, at most 1,032 are possible
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
            No such file, a folder, a named pipe, no permission, a broken archive or one that unpacks to far
            more than it is, a line of more than `files.lines.LONGEST` characters, or bytes that cannot be
            given a line.
        """
        errors = "surrogateescape" if self._by_line else "strict"
        with reading(self.path):
            try:
                with self._open() as file, io.TextIOWrapper(file, self.encoding, errors, newline="") as text:
                    yield from self._marked(lines(text))
            except LongLineError as error:
                raise CorpusError(f"{self.path}: {error}") from error
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
        return f"{key('encoding')} may name another{looks}"

    def _open(self) -> BinaryIO:
        file = os.fdopen(open_file(self.path, links=True), "rb")
        if self.path.suffix.lower() == ".gz":
            return cast(BinaryIO, io.BufferedReader(_Unpacked(file), 1 << 16))
        return file


class RowLines:
    """Lines, as many as make a row; quoted line ends could make one of a whole file."""

    def __init__(self, lines: Lines) -> None:
        self.path, self._lines = lines.path, lines
        self.held = 0
        """Characters since the last row."""

    def __iter__(self) -> Iterator[str]:
        """Yield the lines; raise `CorpusError` where a row has too many characters."""
        for number, line in enumerate(self._lines, start=1):
            self.held += len(line)
            if self.held > LONGEST:
                raise CorpusError(
                    f"{self.path}: line {number}: a row of more than {LONGEST:,} characters ends here or "
                    "later; accepted: fewer; does a quote before it never close?"
                )
            yield line


class _Unpacked(io.RawIOBase):
    """Unpacked stream of a gzip archive, refused beyond `RATIO` times the archive."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._content = file, gzip.GzipFile(fileobj=file)
        self._left = max(UNPACKED, RATIO * os.fstat(file.fileno()).st_size)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        n_bytes = self._content.readinto(buffer)
        self._left -= n_bytes
        if self._left < 0:
            raise gzip.BadGzipFile(f"it unpacks to more than {RATIO} times its size; accepted: less")
        return n_bytes

    def close(self) -> None:
        self._content.close()
        self._file.close()
        super().close()


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what the file system says about `path` into one line."""
    try:
        yield
    except RefusedFileError as error:
        raise CorpusError(f"{path}: {error.strerror}") from error
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
