import numpy as np
import pandas as pd
import pytest

from mcbert.features.corpus.errors import CorpusError, Place
from mcbert.features.corpus.formats.rows import PLACE, RowBuffer, Wanted, placed, places_of


def test_places_of_columns():
    wanted = Wanted(("id", "text"), ("text_pair",), {"text": "premise"})
    assert wanted.places(["premise", "x", "id"], "f") == {"id": 2, "text": 0}
    assert wanted.places(["premise", "text_pair", "id", "", ""], "f") == {"id": 2, "text": 0, "text_pair": 1}


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (["id", "premise", "id"], "f: column 'id' appears 2 times"),
        (
            ["id", "premises"],
            r"f: column 'premise' is missing \(did you mean 'premises'\?\); present: id, premises",
        ),
        ([], "f: column 'id' is missing; present: ;"),
    ],
)
def test_headers_that_do_not_fit(header, said):
    with pytest.raises(CorpusError, match=said):
        Wanted(("id", "text"), (), {"text": "premise"}).places(header, "f")


@pytest.mark.parametrize("n", [0, 1, 16_384, 40_000])
def test_rows_keep_order_and_place_over_blocks(n):
    buffer = RowBuffer("f", ["id", "label"])
    for k in range(n):
        buffer.add(2 * k + 1, 3 * k, (f"{k}", f"label {k % 3}"))
    frame = buffer.frame()
    assert frame.columns.tolist() == ["id", "label", *PLACE]
    assert frame["id"].tolist() == [f"{k}" for k in range(n)]
    assert frame["label"].tolist() == [f"label {k % 3}" for k in range(n)]
    assert frame["_row"].tolist() == [2 * k + 1 for k in range(n)]
    assert frame["_line"].tolist() == [3 * k for k in range(n)]
    assert frame.dtypes[["id", "label"]].eq("str").all()


def test_where_rows_came_from():
    frame = pd.DataFrame({"text": list("abc")})
    assert list(places_of(frame, np.array([0, 2]), "t")) == [Place("t", 1), Place("t", 3)]
    known = placed(frame, "f.csv", np.array([4, 5, 9]), np.array([5, 7, 12]))
    assert list(places_of(known, np.array([2]), "t")) == [Place("f.csv", 9, 12)]
    assert [str(p) for p in places_of(placed(frame, "f"), np.array([1]), "t")] == ["row 2"]
