import pandas as pd
import pytest

from results.schema import TEXTS
from results.stream import Rows
from results.tables import TableError, read, write

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
