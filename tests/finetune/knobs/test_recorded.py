"""Rows of a ledger of trainings that somebody sent."""

import pandas as pd
import pytest

from mcbert.features.corpus import Corpus
from mcbert.finetune.knobs.training import require_row

ROW = {"training": "a", "status": "ok", "message": "", "accuracy": {"en": 0.5, "de": 1}, "right": "01",
       "epoch": 1.0, "step": 3, "seconds": 2.5}  # fmt: skip


@pytest.fixture(scope="module")
def corpus():
    rows = [(f"{label}{k}", f"{label} {k}", label, "en", "train") for label in "xy" for k in range(2)]
    rows += [("3", "c", "x", "en", "dev"), ("4", "d", "y", "de", "dev")]
    frame = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"]).assign(text_pair="")
    return Corpus.of(frame, "en", "texts.csv")


def test_rows_of_trainings_are_taken(corpus):
    require_row(ROW, corpus)
    require_row({"status": "error", "message": "no luck", "right": "", "seconds": 0.0}, corpus)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "done"), ("right", "0"), ("right", "012"), ("right", "0x"), ("right", 3), ("right", None),
        ("accuracy", {"fr": 1.0}), ("accuracy", {"en": "1"}), ("accuracy", {"en": float("nan")}),
        ("accuracy", {"en": True}), ("accuracy", {"en": -1}), ("accuracy", {"en": 10**400}),
        ("seconds", None), ("seconds", -1), ("seconds", [1]),
    ],
)  # fmt: skip
def test_other_rows_are_refused_by_the_field(corpus, field, value):
    with pytest.raises(ValueError, match=field):
        require_row(ROW | {field: value}, corpus)
