"""Rows of a ledger that somebody sent: those that a search could have written are gone on with."""

import base64
import zlib

import pytest

from mcbert.files.journal import Journal
from mcbert.files.ledger import Ledger
from mcbert.search.outcome.predictions import decode, encode
from mcbert.search.outcome.recorded import require_row

ROW = {
    "candidate_id": "a",
    "status": "ok",
    "message": "",
    "fit_seconds": 0.5,
    "score_seconds": 0,
    "matrices": {"en": {"dev": [0, 2, 3, 1], "test": []}},
    "predictions": encode([0, 1, 1], 2),
}


def bomb():
    return base64.b64encode(zlib.compress(bytes(1 << 26))).decode()


SPOILT = {
    "status": ["done", 1, None],
    "message": [None, 3, ["a"]],
    "fit_seconds": [None, "1", -1, float("inf"), float("nan"), True, 10**400],
    "score_seconds": [[0]],
    "matrices": [
        None,
        [],
        "en",
        {"en": [1]},
        {"en": {"train": [0, 1]}},
        *(
            {"en": {"dev": packed}}
            for packed in (
                [0], [4, 1], [-1, 1], [0, -1], [0, 0], [0, 1, 0, 1], [0, 4], [0, 1.0], [0, "1"], ["0", 1],
                [0, 10**30], [[0, 1]], 3, "ab",
            )
        ),
    ],
    "predictions": [None, 3, "", "a", "????", encode([0, 1, 2], 3), encode([0] * 4, 2), bomb()],
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in SPOILT.items() for v in values])
def test_a_row_that_no_search_wrote_is_told_with_its_file(field, value, tmp_path):
    def require(row):
        require_row(row, n_classes=2, n_texts=3)

    require(ROW)
    path = tmp_path / "gridsearch.jsonl"
    spoilt = ROW | {field: value}
    if value in (float("inf"), 10**400) or value != value:  # no JSON of ours holds them
        with pytest.raises(ValueError, match=field):
            require(spoilt)
        return
    with Ledger(path, {}) as ledger:
        ledger.append([ROW, spoilt | {"candidate_id": "b"}])
    with pytest.raises(ValueError, match="no row of this search") as refused:
        Ledger(path, {}, require=require)
    assert str(refused.value).startswith(f"{path}: record 3: ")
    assert "\n" not in str(refused.value)
    Journal(path).close()  # nobody holds it any more


@pytest.mark.parametrize("missing", [name for name in ROW if name != "candidate_id"])
def test_a_row_without_a_field(missing):
    with pytest.raises((KeyError, AttributeError)):
        require_row({name: value for name, value in ROW.items() if name != missing}, n_classes=2, n_texts=3)


def test_no_more_is_unpacked_than_there_are_texts():
    assert decode(encode([0, 1, 1], 2), 2, most=3).tolist() == [0, 1, 1]
    assert decode(encode([0, 700], 701), 701, most=2).tolist() == [0, 700]
    with pytest.raises(ValueError, match="got other than at most 3 labels"):
        decode(bomb(), 2, most=3)
    whole = encode(list(range(200)), 256)
    with pytest.raises(ValueError, match="predictions|base64|padding"):
        decode(whole[:-8], 256, most=200)
