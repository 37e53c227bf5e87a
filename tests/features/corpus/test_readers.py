import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features.corpus.readers import CorpusError, read_table
from features.corpus.releases import read_xnli


def written(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_cells_stay_as_written(tmp_path):
    path = written(tmp_path, "a.csv", '\ufeffid,text,label\r\n01,"NA, null",1e400\r\n1,"two\nlines",True\r\n')
    frame = read_table(path, ("id", "text"))
    assert frame.to_dict("list") == {
        "id": ["01", "1"],
        "text": ["NA, null", "two\nlines"],
        "label": ["1e400", "True"],
    }


def test_tsv_has_no_quoting(tmp_path):
    frame = read_table(written(tmp_path, "a.tsv", 'id\ttext\n1\t"quoted\n2\tit\'s "fine"\n'))
    assert frame["text"].tolist() == ['"quoted', 'it\'s "fine"']


def test_json_lines(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"id": 1, "text": "x"}\n\n{"id": "2", "text": "NaN"}\n')
    assert read_table(path).to_dict("list") == {"id": ["1", "2"], "text": ["x", "NaN"]}


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.csv", "id,text\n1,a\n2,b,c\n", "line 3: 3 fields, the header has 2"),
        ("a.csv", "id,text\n1\n", "line 2: 1 fields"),
        ("a.csv", 'id,text\n1,"open\n', "line"),
        ("a.csv", "id,id\n1,2\n", "column 'id' appears twice"),
        ("a.csv", b"id,text\n1,caf\xe9\n", "line 2: byte 0xe9 at offset 13 is not UTF-8"),
        ("a.csv", "", "empty"),
        ("a.csv", "id,txt\n1,a\n", r"column 'text' is missing \(did you mean 'txt'\?\); present: id, txt"),
        ("a.tsv", "id\ttext\n1\ta\tb\n", "line 2: 3 fields"),
        ("a.jsonl", '{"id": 1, "text": NaN}\n', "line 1: column text: got nan"),
        ("a.jsonl", '{"id": 1, "text": null}\n', "line 1: column text: got None"),
        ("a.jsonl", '{"id": 1}\n{"id": 2, "text": "x"}\n', "row 1: column text: got nan"),
        ("a.jsonl", "[1]\n", "line 1: got list, accepted: an object"),
        ("a.jsonl", "{\n", "line 1: not JSON"),
        ("a.xlsx", "", "suffix '.xlsx'; accepted: .csv, .jsonl, .parquet, .tsv"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path, name, data, said):
    with pytest.raises(CorpusError, match=said) as error:
        read_table(written(tmp_path, name, data), ("id", "text"))
    assert name in str(error.value)


def test_no_such_file(tmp_path):
    with pytest.raises(CorpusError, match="no such file"):
        read_table(tmp_path / "nowhere.csv")


@given(st.binary(max_size=80), st.sampled_from(["a.csv", "a.tsv", "a.jsonl"]))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_give_a_table_or_a_named_error(tmp_path, data, name):
    path = tmp_path / name
    path.write_bytes(data)
    try:
        frame = read_table(path)
    except CorpusError as error:
        assert name in str(error)
        assert "\n" not in str(error).split(": ", 1)[0]
    else:
        assert all(isinstance(v, str) for c in frame.columns for v in frame[c])


def xnli(tmp_path):
    (tmp_path / "multinli_1.0").mkdir()
    (tmp_path / "XNLI-1.0").mkdir()
    train = [
        {"gold_label": "neutral", "sentence1": "a", "sentence2": "b", "pairID": "1n"},
        {"gold_label": "-", "sentence1": "a", "sentence2": "c", "pairID": "1x"},
    ]
    (tmp_path / "multinli_1.0" / "multinli_1.0_train.jsonl").write_text(
        "\n".join(map(json.dumps, train)) + "\n"
    )
    header = "language\tgold_label\tsentence1\tsentence2\tpairID\n"
    rows = header + "de\tcontradictory\tx\ty\t1\nen\tneutral\tp\tq\t1\n"
    for split in ("dev", "test"):
        (tmp_path / "XNLI-1.0" / f"xnli.{split}.tsv").write_text(rows)
    return tmp_path


def test_xnli_official_files(tmp_path):
    frame = read_xnli(xnli(tmp_path), ("en", "de"))
    assert frame["split"].tolist() == ["train", "dev", "dev", "test", "test"]
    assert frame["label"].tolist() == ["neutral", "contradiction", "neutral", "contradiction", "neutral"]
    assert frame["id"].is_unique
    assert frame["text_pair"].tolist() == ["b", "y", "q", "y", "q"]


def test_xnli_language_that_is_not_there(tmp_path):
    with pytest.raises(CorpusError, match="no rows for ur"):
        read_xnli(xnli(tmp_path), ("en", "ur"))


def test_xnli_says_where_to_get_it(tmp_path):
    with pytest.raises(CorpusError, match=r"no such file; unpack MultiNLI 1\.0 .* set corpus\.path"):
        read_xnli(tmp_path, ("en",))
