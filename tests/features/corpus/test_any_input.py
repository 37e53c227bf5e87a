"""Whatever the bytes, a reader gives texts or one line that names the file; what is written is read again.

2,100 generated inputs.
"""

import csv
import io
import json

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.features.corpus.corpus import Corpus, checked_corpus
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.readers import TableForm, read_table
from mcbert.features.corpus.formats.rows import PLACE
from mcbert.features.corpus.settings import COLUMNS, CorpusSettings

AWKWARD = "'\"=+-@,;\t\r\n\0 \\{}[]:NAnul01\u200b\u202e\u2028\x85\ufeff\u00e9\u4e2d\U0001f600"
TEXT = st.text(st.sampled_from(AWKWARD) | st.characters(exclude_categories=["Cs"]), max_size=12)
ROWS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=5)
LOTS = {"database": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("any")


def cells(frame):
    return list(zip(frame["id"].tolist(), frame["text"].tolist(), strict=True))


@settings(max_examples=250, **LOTS)
@given(
    rows=ROWS,
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    delimiter=st.sampled_from(",;\t|"),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]),
)
def test_what_is_written_as_csv_is_read(folder, rows, end, delimiter, encoding):
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=delimiter, quoting=csv.QUOTE_ALL, lineterminator=end)
    lines = []
    for row in [("id", "text"), *rows]:
        lines.append(1 + len(io.StringIO(buffer.getvalue(), newline="").readlines()))
        writer.writerow(row)
    path = folder / "a.csv"
    path.write_bytes(buffer.getvalue().encode(encoding))
    form = TableForm(delimiter=delimiter, encoding=encoding.removesuffix("-sig"))
    frame = read_table(path, ("id", "text"), form=form)
    assert cells(frame) == rows
    assert frame["_row"].tolist() == list(range(1, len(rows) + 1))
    assert frame["_line"].tolist() == lines[1:]


@settings(max_examples=200, **LOTS)
@given(rows=ROWS, end=st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_as_tsv_is_read(folder, rows, end):
    rows = [tuple(cell.translate({9: " ", 10: " ", 13: " "}) for cell in row) for row in rows]
    path = folder / "a.tsv"
    path.write_bytes("".join("\t".join(row) + end for row in [("id", "text"), *rows]).encode())
    frame = read_table(path, ("id", "text"))
    assert cells(frame) == rows
    assert frame["_line"].tolist() == list(range(2, len(rows) + 2))


@settings(max_examples=200, **LOTS)
@given(rows=ROWS, ensure_ascii=st.booleans(), blank=st.booleans())
def test_what_is_written_as_json_lines_is_read(folder, rows, ensure_ascii, blank):
    path = folder / "a.jsonl"
    lines = [json.dumps({"id": a, "text": b}, ensure_ascii=ensure_ascii) for a, b in rows]
    path.write_bytes(("\n\n" if blank else "\n").join(lines).encode())
    frame = read_table(path, ("id", "text"))
    assert cells(frame) == rows
    assert frame["_line"].tolist() == [1 + k * (2 if blank else 1) for k in range(len(rows))]


@settings(max_examples=200, **LOTS)
@given(
    rows=ROWS, kind=st.sampled_from([pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())])
)
def test_what_is_written_as_parquet_is_read(folder, rows, kind):
    path = folder / "a.parquet"
    ids, texts = zip(*rows, strict=True)
    pq.write_table(pa.table({"id": pa.array(ids).cast(kind), "text": pa.array(texts).cast(kind)}), path)
    assert cells(read_table(path, ("id", "text"))) == rows


PIECES = {
    ".csv": [b"id,text\n", b'"', b",", b"\n", b"\r", b"1", b"a,b\n", b'"a\nb"', b"\xef\xbb\xbf", b"\0"],
    ".tsv": [b"id\ttext\n", b'"', b"\t", b"\n", b"\r", b"1", b"a\tb\n", b"\xef\xbb\xbf", b"\0"],
    ".jsonl": [b'{"id": "', b'", "text": "', b'"}\n', b'{"id": 1, "text": "a"}\n', b"null", b"\\ud800",
               b"[", b"{", b"}", b",", b":", b"1e999", b"NaN", b"\n", b"\\u", b"\\"],
}  # fmt: skip


@settings(max_examples=1000, **LOTS)
@given(data=st.data(), suffix=st.sampled_from(list(PIECES)), on_bad=st.sampled_from(["error", "skip"]))
def test_any_bytes_give_texts_or_one_line(folder, data, suffix, on_bad):
    pieces = st.lists(st.sampled_from(PIECES[suffix]) | st.binary(max_size=4), max_size=12).map(b"".join)
    header = data.draw(st.sampled_from([b"", PIECES[suffix][0] if suffix != ".jsonl" else b""]))
    path = folder / f"b{suffix}"
    path.write_bytes(header + data.draw(pieces))
    bad = BadRows(on_bad)
    try:
        frame = read_table(path, ("id", "text"), ("label",), bad=bad)
    except CorpusError as error:
        assert str(error).startswith(f"{path}: ")
        assert str(error).isprintable()
        return
    assert frame.columns.tolist() in (["id", "text", *PLACE], ["id", "text", "label", *PLACE])
    assert all(isinstance(cell, str) and cell.encode() is not None for row in cells(frame) for cell in row)
    assert frame["_row"].is_monotonic_increasing
    assert not set(frame["_row"]) & {row.place.row for row in bad.rows}
    assert all(str(cell).isprintable() for row in bad.frame().to_numpy() for cell in row)


CELL = TEXT | st.sampled_from(["", "x", "train", None, float("nan"), 1, b"y", "a\ud800"])
GOOD = [(f"good{k}", f"text {k}", "", "xy"[k % 2], "en", "train" if k < 4 else "dev") for k in range(6)]


@settings(max_examples=250, **LOTS)
@given(
    rows=st.lists(st.tuples(*[CELL] * len(COLUMNS)), max_size=4), on_bad=st.sampled_from(["error", "skip"])
)
def test_any_table_gives_a_corpus_or_one_line(rows, on_bad):
    table = pd.DataFrame([*GOOD, *rows], columns=list(COLUMNS), dtype=object)
    bad = BadRows(on_bad)
    try:
        corpus = checked_corpus(table, CorpusSettings(), "t", bad)
    except CorpusError as error:
        assert str(error).startswith("t: ")
        assert str(error).isprintable()
        return
    assert len(corpus.table) + bad.count == len(table)
    assert Corpus.of(corpus.table, "en", "again").table.equals(corpus.table)
    assert corpus.table["id"].is_unique
    assert [corpus.labels[code] for code in corpus.y] == corpus.table["label"].tolist()
