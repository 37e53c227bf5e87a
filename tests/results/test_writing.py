"""A table written block by block is the table written whole; nothing is left of one that failed."""

from __future__ import annotations

import pandas as pd
import pytest

from results import tables
from results.schema import LABELS
from results.stream import writing


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
    with writing(LABELS, tmp_path / "labels.csv") as write:
        write(block([1, 2]))
        assert not (tmp_path / "labels.csv").exists()
        write(block([4]))
    tables.write(LABELS, block([1, 2, 4]), tmp_path / "labels_whole.csv")
    assert (tmp_path / "labels.csv").read_bytes() == (tmp_path / "labels_whole.csv").read_bytes()
    found = tables.read(LABELS, tmp_path / "labels.csv")
    assert list(found.columns) == ["row", "id", "label", "probability", "probability_=refund, now",
                                   "probability_b"]  # fmt: skip
    assert found["id"].tolist() == ["-1", "-2", "-4"]
    assert tables.validate(tmp_path / "labels.csv") == []


def test_a_failure_leaves_what_was_there(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with (
        pytest.raises(tables.TableError, match="column probability: given '7.0'"),
        writing(LABELS, path) as write,
    ):
        write(block([1]))
        write(block([2]).assign(probability=7.0))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
