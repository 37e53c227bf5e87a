"""The published figures say where they are from, and are the ones of their sources."""

import pytest

from results.schema import PUBLISHED_STS, PUBLISHED_TATOEBA, TATOEBA
from results.side_by_side import PUBLISHED
from results.tables import find_table, read, validate


@pytest.fixture
def tatoeba():
    return read(PUBLISHED_TATOEBA, PUBLISHED / "tatoeba.csv")


@pytest.fixture
def sts():
    return read(PUBLISHED_STS, PUBLISHED / "sts.csv")


def test_the_files_are_tables_of_their_own(tmp_path):
    assert validate(PUBLISHED) == []
    assert find_table(PUBLISHED / "tatoeba.csv") is PUBLISHED_TATOEBA
    assert find_table(tmp_path / "tatoeba.csv") is TATOEBA
    (tmp_path / "predictions_x").mkdir()
    assert find_table(tmp_path / "predictions_x" / "other.csv") is None


def test_the_original_table_is_whole(tatoeba):
    rows = tatoeba[tatoeba["system"].str.startswith("M-BERT")]
    assert rows.groupby("system").size().to_dict() == {
        "M-BERT frozen, last layer, mean": 16,
        "M-BERT frozen, last layer, max": 16,
        "M-BERT frozen, last layer, CLS": 16,
        "M-BERT, siamese on English NLI": 16,
    }
    figures = rows.set_index(["system", "language", "direction"])["error_rate"]
    assert figures["M-BERT, siamese on English NLI", "cmn", "to-en"] == 0.356
    assert figures["M-BERT frozen, last layer, CLS", "cmn", "to-en"] == 0.916
    assert figures["M-BERT frozen, last layer, max", "hin", "from-en"] == 0.924


def test_its_largest_reductions_are_those_it_claims(tatoeba):
    figures = tatoeba.pivot_table(index=["language", "direction"], columns="system", values="error_rate")
    ours = figures["M-BERT, siamese on English NLI"]
    for pooling, claimed in (("mean", 0.27), ("max", 0.50), ("CLS", 0.61)):
        assert (1 - ours / figures[f"M-BERT frozen, last layer, {pooling}"]).max().round(2) == claimed


def test_every_figure_has_source_casing_and_protocol(tatoeba, sts):
    for frame in (tatoeba, sts):
        for name in ("citation", "casing", "protocol", "corpus"):
            assert frame[name].str.strip().ne("").all()
    original = tatoeba[tatoeba["system"].str.startswith("M-BERT")]
    assert original["note"].str.contains("lower-cased").all()


def test_figures_that_nobody_has_checked_are_left_out(tatoeba):
    assert not tatoeba["system"].str.contains("LASER").any()


def test_similarities_of_the_original_are_one_row_each(sts):
    rows = sts[sts["system"].eq("M-BERT, siamese on English NLI") & sts["split"].eq("test")]
    assert rows.set_index("similarity")["spearman"].to_dict() == {
        "cosine": 0.7248, "manhattan": 0.7258, "euclidean": 0.7259, "dot": 0.7024,
    }  # fmt: skip
