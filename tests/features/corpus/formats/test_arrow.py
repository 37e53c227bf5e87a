import sys

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.formats.readers import TableForm, read_table


def parquet(tmp_path, **columns):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table(columns), path, row_group_size=2)
    return path


def cells(frame):
    return frame.drop(columns=["_file", "_row", "_line"]).to_dict("list")


def test_texts_stay_as_written(tmp_path):
    path = parquet(tmp_path, id=["01", "1", "NA"], text=["null", "a\nb", "\u202e\0"], more=[1.5, None, 2.0])
    frame = read_table(path, ("id", "text"))
    assert cells(frame) == {"id": ["01", "1", "NA"], "text": ["null", "a\nb", "\u202e\0"]}
    assert frame["_row"].tolist() == [1, 2, 3]
    assert set(frame["_line"]) == {0}


def test_what_pandas_writes(tmp_path):
    path = tmp_path / "a.parquet"
    frame = pd.DataFrame(
        {"id": [1, 2], "text": ["a", "b"], "label": pd.Categorical(["x", "y"])}, index=[5, 6]
    )
    frame.to_parquet(path)
    assert cells(read_table(path, ("id", "text", "label"), ("text_pair",))) == {
        "id": ["1", "2"],
        "text": ["a", "b"],
        "label": ["x", "y"],
    }


def test_an_optional_text_may_be_null(tmp_path):
    path = parquet(tmp_path, id=["a", "b"], premise=["p", "q"], text_pair=["r", None])
    frame = read_table(path, ("id", "text"), ("text_pair",), form=TableForm(columns={"text": "premise"}))
    assert cells(frame) == {"id": ["a", "b"], "text": ["p", "q"], "text_pair": ["r", ""]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (pa.array(["a", None, "c"]), "row 2: column text: got None, accepted: text"),
        (pa.nulls(3), "row 1: column text: got None, accepted: text; row 2"),
        (pa.array([1.5, 2.0, 3.0]), "column text: its type is double, accepted: text"),
        (pa.array([1, 2, 3]), "column text: its type is int64, accepted: text"),
        (pa.array([b"a", b"b", b"c"]), "column text: its type is binary, accepted: text"),
        (pa.array([True, False, True]), "column text: its type is bool, accepted: text"),
        (pa.array([["a"], ["b"], ["c"]]), "column text: its type is list<"),
        (pa.array([b"a", b"\xff", b"c"]).view(pa.string()), "row 2: column text: its bytes are not utf-8"),
    ],
)
def test_what_is_no_text_is_named(tmp_path, text, said):
    path = parquet(tmp_path, id=["a", "b", "c"], text=text)
    with pytest.raises(CorpusError) as error:
        read_table(path, ("id", "text"))
    assert str(error.value).startswith(f"{path}: {said}")


@pytest.mark.parametrize("label", [[1.0, 2.0], [True, False]])
def test_a_label_is_text_or_a_whole_number(tmp_path, label):
    path = parquet(tmp_path, id=["a", "b"], label=label)
    with pytest.raises(CorpusError, match="column label: .*, accepted: text or whole"):
        read_table(path, ("id", "label"))


def test_rows_can_be_left_out(tmp_path):
    bad = BadRows("skip")
    path = parquet(tmp_path, id=["a", "b", "c"], text=pa.array([b"a", b"\xff", None]).view(pa.string()))
    assert read_table(path, ("id", "text"), bad=bad)["id"].tolist() == ["a"]
    assert [(r.id, r.place.row, r.reason) for r in bad.rows] == [
        ("b", 2, "its bytes are not utf-8"),
        ("c", 3, "got None, accepted: text"),
    ]


def test_a_missing_and_a_doubled_column(tmp_path):
    path = parquet(tmp_path, id=["a"], txt=["b"])
    with pytest.raises(
        CorpusError, match=r"column 'text' is missing \(did you mean 'txt'\?\); present: id, txt"
    ):
        read_table(path, ("id", "text"))
    pq.write_table(pa.table([["a"], ["b"]], names=["id", "id"]), path)
    with pytest.raises(CorpusError, match="column 'id' appears 2 times"):
        read_table(path, ("id",))


def test_what_is_no_parquet(tmp_path):
    path = parquet(tmp_path, id=["a"] * 100)
    whole = path.read_bytes()
    for data in (b"", b"id,text\n1,a\n", whole[:50], whole[:-5], b"PAR1" + b"\0" * 100 + b"PAR1"):
        path.write_bytes(data)
        with pytest.raises(CorpusError, match=r"a\.parquet: it cannot be read"):
            read_table(path, ("id",))
    with pytest.raises(CorpusError, match="no such file"):
        read_table(tmp_path / "b.parquet", ("id",))


def test_a_schema_whose_names_are_no_text(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"name": ["a"]}), path, store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"name", b"na\xffe"))
    with pytest.raises(CorpusError, match=r"a\.parquet: .*can't decode byte 0xff"):
        read_table(path, ("id",))


def test_without_pyarrow_the_message_says_what_to_install(tmp_path, monkeypatch):
    path = parquet(tmp_path, id=["a"])
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(CorpusError, match=r"pip install mcbert\[parquet\]"):
        read_table(path, ("id",))
