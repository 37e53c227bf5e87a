"""Tables read block by block are the tables read whole, and bad rows are told the same way."""

from __future__ import annotations

import gzip
import tracemalloc

import pandas as pd
import pytest

from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.readers import READERS, STREAMS, TableForm, read_table, stream_table

N = 25


@pytest.fixture(params=["csv", "tsv", "jsonl", "parquet", "csv.gz"])
def table(request, tmp_path):
    frame = pd.DataFrame({"id": [f"i{k}" for k in range(N)], "text": [f'a "b", {k}' for k in range(N)]})
    path = tmp_path / f"t.{request.param}"
    if request.param == "jsonl":
        frame.to_json(path, orient="records", lines=True)
    elif request.param == "parquet":
        pytest.importorskip("pyarrow")
        frame.to_parquet(path)
    elif request.param == "tsv":
        path.write_text("id\ttext\n" + "".join(f"{i}\t{t}\n" for i, t in frame.to_numpy()))
    else:
        frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize("size", [1, 7, 25, 1000])
def test_blocks_make_the_whole_table(table, size):
    whole = read_table(table, ("text",), ("id", "text_pair"))
    blocks = list(stream_table(table, ("text",), ("id", "text_pair"), size=size))
    assert [len(block) for block in blocks] == [min(size, N - k) for k in range(0, N, size)]
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True)[whole.columns], whole)


def test_every_form_that_is_read_is_streamed():
    assert STREAMS.keys() == READERS.keys()


def test_a_bad_row_is_named_with_its_place_in_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("id,text\n" + "".join(f"{k},t\n" for k in range(9)) + "9,t,more\n")
    message = r"t.csv: row 10 \(line 11\): 3 fields, accepted: 2 as in the header"
    with pytest.raises(CorpusError, match=message):
        list(stream_table(path, ("text",), size=4))
    bad = BadRows(on_bad="skip")
    assert sum(map(len, stream_table(path, ("text",), size=4, bad=bad))) == 9
    assert [row.place.row for row in bad.rows] == [10]


def test_parquet_rows_count_through_the_blocks(tmp_path):
    pytest.importorskip("pyarrow")
    path = tmp_path / "t.parquet"
    pd.DataFrame({"text": ["a", "b", "c", None, "e"]}).to_parquet(path)
    with pytest.raises(CorpusError, match="row 4: column text: got None"):
        list(stream_table(path, ("text",), size=2))


def test_a_column_that_is_missing_and_a_form_that_is_not_read(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("txt\na\n")
    with pytest.raises(CorpusError, match="column 'text' is missing .did you mean 'txt'"):
        next(stream_table(path, ("text",), size=2))
    (block,) = stream_table(path, ("text",), size=2, form=TableForm(columns={"text": "txt"}))
    assert block["text"].tolist() == ["a"]
    with pytest.raises(CorpusError, match="suffix '.doc'"):
        next(stream_table(tmp_path / "t.doc", ("text",), size=2))


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(n):
        path = tmp_path / f"{n}.csv.gz"
        with gzip.open(path, "wt") as file:
            file.write("text\n" + "some words in a row\n" * n)
        tracemalloc.start()
        for _ in stream_table(path, ("text",), size=200):
            pass
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(200)  # what is loaded once
    assert peak(20_000) < 1.5 * peak(1000)
