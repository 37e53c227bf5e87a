import pandas as pd
import pytest

from mcbert.results.schema import LABELS, TEXTS
from mcbert.results.stream import Rows, writing
from mcbert.results.tables import TableError, read, validate, write

AWKWARD = ["=1+1", "'quoted", 'says "hi", twice', "two\nlines", "NA", "  spaced ", "naïve 東京", "-"]


@pytest.fixture
def path(tmp_path):
    frame = pd.DataFrame(
        {
            "id": [f"t{k}" for k in range(len(AWKWARD))],
            "text": AWKWARD,
            "text_pair": "",
            "label": "a",
            "language": "en",
            "split": "train",
        }
    )
    write(TEXTS, frame, tmp_path / "texts.csv")
    return tmp_path / "texts.csv"


def test_rows_are_those_of_the_whole_table(path):
    whole = read(TEXTS, path)
    rows = Rows(TEXTS, path, ("text", "id"))
    assert list(rows) == list(zip(AWKWARD, whole["id"], strict=True))
    assert list(rows) == list(zip(whole["text"], whole["id"], strict=True)), "a second time"


def test_a_column_that_is_not_there(path):
    with pytest.raises(TableError, match=r"column 'colour' is not one of texts\.csv"):
        Rows(TEXTS, path, ("colour",))
    path.write_text("id,label\n1,a\n", encoding="utf-8")
    with pytest.raises(TableError, match=r"texts\.csv: header, column text: missing; given: id, label"):
        list(Rows(TEXTS, path, ("text",)))


def test_a_torn_row_is_named(path):
    with path.open("a", encoding="utf-8") as file:
        file.write("t9,half\n")
    with pytest.raises(TableError, match=r"row 9, line 11: 2 cells, accepted: 6"):
        list(Rows(TEXTS, path, ("id",)))


def block(rows, label="=refund, now"):
    return pd.DataFrame(
        {
            "row": rows,
            "id": [f"-{row}" for row in rows],
            "label": label,
            "probability": 0.75,
            f"probability_{label}": 0.75,
            "probability_b": 0.25,
        }
    )


def test_blocks_make_the_whole_table(tmp_path):
    with writing(LABELS, tmp_path / "labels.csv") as write_block:
        write_block(block([1, 2]))
        assert not (tmp_path / "labels.csv").exists()
        write_block(block([4]))
    write(LABELS, block([1, 2, 4]), tmp_path / "labels_whole.csv")
    assert (tmp_path / "labels.csv").read_bytes() == (tmp_path / "labels_whole.csv").read_bytes()
    found = read(LABELS, tmp_path / "labels.csv")
    assert list(found.columns) == ["row", "id", "label", "probability", "probability_=refund, now",
                                   "probability_b"]  # fmt: skip
    assert found["id"].tolist() == ["-1", "-2", "-4"]
    assert validate(tmp_path / "labels.csv") == []


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with (
        pytest.raises(TableError, match="column probability: given '7.0'"),
        writing(LABELS, path) as write_block,
    ):
        write_block(block([1]))
        write_block(block([2]).assign(probability=7.0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
