"""Tables that somebody sent: each is read, or refused in one line, in bounded time and memory."""

import gzip
import os
import resource

import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats import lines
from mcbert.features.corpus.formats.readers import read_table, stream_table
from mcbert.files.lines import LONGEST

HEADER = b"id,text\n"


def read(path):
    return read_table(path, ("id", "text"))


def streamed(path):
    return list(stream_table(path, ("id", "text"), size=100))


@pytest.fixture(params=[read, streamed], ids=["read", "streamed"])
def reader(request):
    return request.param


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_nobody_waits_at_a_named_pipe(reader, name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(CorpusError, match=f"{name}: it is a named pipe; accepted: a file"):
        reader(tmp_path / name)


def test_a_link_to_a_table_is_the_table(reader, tmp_path):
    (tmp_path / "data").write_bytes(HEADER + b"1,a\n")
    (tmp_path / "a.csv").symlink_to(tmp_path / "data")
    assert len(reader(tmp_path / "a.csv")) == 1


@pytest.mark.parametrize("name", ["a.csv", "a.jsonl", "a.csv.gz"])
def test_a_line_without_end(reader, name, tmp_path):
    """300 MB take no more memory than the longest line that is accepted does."""
    path = tmp_path / name
    start = b'{"id": "1", "text": "' if name == "a.jsonl" else HEADER + b"1,"
    with gzip.open(path, "wb", compresslevel=1) if name.endswith("gz") else path.open("wb") as file:
        file.write(start)
        for _ in range(300):
            file.write(b"x" * 1_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    number = 1 if name == "a.jsonl" else 2
    with pytest.raises(CorpusError, match=f"{name}: line {number}: .*16,777,216"):
        reader(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kB


def test_a_header_without_end(reader, tmp_path):
    (tmp_path / "a.csv").write_bytes(b"id,text" * 10_000_000)
    with pytest.raises(CorpusError, match="a.csv: line 1: .*16,777,216"):
        reader(tmp_path / "a.csv")


def test_a_quote_that_never_closes_in_a_large_file(reader, tmp_path):
    (tmp_path / "a.csv").write_bytes(HEADER + b'1,"a\n' + b"2,some text\n" * 3_000_000)
    with pytest.raises(CorpusError, match="(?s)a.csv: line [0-9]+: .*(never close|field limit)"):
        reader(tmp_path / "a.csv")


def test_a_row_of_many_quoted_line_ends(reader, tmp_path):
    (tmp_path / "a.csv").write_bytes(HEADER + b'"\n",' * 6_000_000 + b"\n")
    with pytest.raises(CorpusError, match="a.csv: .*16,777,216"):
        reader(tmp_path / "a.csv")


def test_many_long_rows_are_many_rows(reader, tmp_path):
    text = b"y" * (LONGEST // 3)
    (tmp_path / "a.csv").write_bytes(HEADER + b"".join(b"%d,%b\n" % (k, text) for k in range(5)))
    assert len(reader(tmp_path / "a.csv")) in (1, 5)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("line", [b"\n" * 16, b"1,some text\n", bytes(64)], ids=["blank", "rows", "one line"])
def test_an_archive_that_unpacks_without_end(reader, line, tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "UNPACKED", 1 << 19)  # as 1 << 24, in a fraction of its seconds
    with gzip.open(tmp_path / "a.csv.gz", "wb", compresslevel=6) as file:
        file.write(HEADER)
        block = line * ((1 << 20) // len(line))
        for _ in range(2):
            file.write(block)
    with pytest.raises(CorpusError, match="a.csv.gz: (.*it unpacks to|line 2: more)"):
        reader(tmp_path / "a.csv.gz")


def test_a_parquet_file_of_more_rows_than_bytes(reader, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pa.table({"id": pa.array(["1"]), "text": pa.array(["a"])})
    with pq.ParquetWriter(tmp_path / "a.parquet", table.schema) as writer:
        same = pa.table({name: [value] * 1_100_000 for name, value in (("id", "1"), ("text", "a"))})
        writer.write_table(same, row_group_size=1_100_000)
    with pytest.raises(CorpusError, match="a.parquet: 1,100,000 rows .*accepted: "):
        reader(tmp_path / "a.parquet")


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["string", "large_string", "dictionary"])
def test_a_parquet_file_whose_rows_share_a_huge_text(reader, kind, tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    huge, n_rows = "x" * (1 << 17), 8000  # 1 GB, of a few kilobytes
    texts = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, type=pa.int32()), pa.array([huge]))
    path = tmp_path / "a.parquet"
    ids = pa.array([str(k) for k in range(n_rows)])
    if kind in ("string", "large_string"):  # as columns of plain text: their schema names no dictionary
        schema = pa.schema({"id": pa.string(), "text": getattr(pa, kind)()})
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for start in range(0, n_rows, 1000):
                part = pa.table({"id": ids[start : start + 1000], "text": [huge] * 1000}, schema=schema)
                writer.write_table(part, row_group_size=1000)
    else:
        pq.write_table(pa.table({"id": ids, "text": texts}), path, compression="zstd")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(CorpusError) as caught:
        reader(path)
    said = str(caught.value)
    assert "a.parquet: " in said
    assert "\n" not in said
    assert "column text: " in said
    assert "its rows share large texts; accepted: at most 268,435,456 bytes" in said
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KB: less than 1 GB


def test_a_parquet_file_whose_rows_share_texts_is_read(tmp_path):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    n_rows = 200_000
    texts = [None if k % 1000 == 7 else f"text {k % 50} " + "x" * 100 for k in range(n_rows)]
    table = pa.table({"id": [str(k) for k in range(n_rows)], "text": texts})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=30_000)
    pq.write_table(table, tmp_path / "plain.parquet", use_dictionary=False)
    from mcbert.features.corpus.formats.arrow import batches_of, opened_parquet

    for name in ("a", "plain"):
        with opened_parquet(tmp_path / f"{name}.parquet") as (file, _):
            found = pa.Table.from_batches(
                batches_of(tmp_path / f"{name}.parquet", file, ["text", "id"], 7_000)
            )
        assert found.select(["id", "text"]).equals(table)
