"""The published figures say where they are from, and are the ones of their sources."""

import pytest

from mcbert.results.csv_files import find_table, read, validate
from mcbert.results.report.embeddings import PUBLISHED
from mcbert.results.schema import training
from mcbert.results.schema.embeddings import PUBLISHED_STS, PUBLISHED_TATOEBA, TATOEBA

TABLES = {
    "xnli.csv": training.PUBLISHED,
    "sts.csv": PUBLISHED_STS,
    "tatoeba.csv": PUBLISHED_TATOEBA,
}


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


@pytest.mark.parametrize("name", TABLES)
def test_every_figure_has_source_casing_and_protocol(name):
    frame = read(TABLES[name], PUBLISHED / name)
    for column in ("citation", "table", "casing", "protocol", "corpus"):
        assert frame[column].str.strip().ne("").all(), column
    nowhere = set(frame.loc[frame["url"].eq(""), "citation"])
    assert nowhere <= {"Zero Shot Cross-Lingual Transfer with Multilingual BERT (the MC-BERT paper)"}


@pytest.mark.parametrize("name", TABLES)
def test_a_system_has_one_source(name):
    systems = read(TABLES[name], PUBLISHED / name).groupby("system")
    for column in ("citation", "url", "casing", "protocol"):
        assert systems[column].nunique().eq(1).all(), column


@pytest.mark.parametrize("name", TABLES)
def test_every_file_is_there_and_no_other(name):
    assert sorted(path.name for path in PUBLISHED.iterdir()) == sorted(TABLES)
    assert find_table(PUBLISHED / name) is TABLES[name]


def test_an_address_that_is_none_is_refused(tmp_path):
    text = (PUBLISHED / "xnli.csv").read_text(encoding="utf-8")
    path = tmp_path / "published" / "xnli.csv"
    path.parent.mkdir()
    path.write_text(
        text.replace("https://github.com/facebookresearch/XLM\n", "see the paper\n"), encoding="utf-8"
    )
    said = (
        "row 55 (line 56), column url: given 'see the paper'; accepted: an address that begins with https://"
    )
    assert said in validate(path)[0]


def test_what_the_original_was_fed_is_said_with_every_figure_of_it(tatoeba, sts):
    for frame in (tatoeba, sts):
        original = frame[frame["system"].str.startswith("M-BERT")]
        assert original["note"].str.contains("lower-cased").all()


def test_figures_of_other_encoders_are_the_ones_of_their_pages():
    frame = read(training.PUBLISHED, PUBLISHED / "xnli.csv")
    figures = frame.pivot(index="system", columns="language", values="accuracy")
    means = figures[["zh", "es", "de", "ar", "ur"]].mean(axis=1).round(4)
    assert figures.loc["LASER, zero-shot", "ur"] == 0.6182
    assert figures.loc["XLM-15 (MLM+TLM), zero-shot", "en"] == 0.85
    assert means["LASER, zero-shot"] == 0.6986
    assert means["XLM-15 (MLM), zero-shot"] == 0.7086
    assert means["XLM-15 (MLM+TLM), zero-shot"] == 0.7472
    assert means["XLM-R base, zero-shot (dev)"] == 0.7564
    assert means["mDeBERTa-v3 base, zero-shot (dev)"] == 0.795
    assert set(frame.loc[frame["corpus"].eq("XNLI dev"), "system"]) == {
        "XLM-R base, zero-shot (dev)",
        "mDeBERTa-v3 base, zero-shot (dev)",
    }


def test_figures_of_other_sentence_encoders_are_the_ones_of_their_pages(tatoeba, sts):
    errors = tatoeba.groupby("system")["error_rate"].agg(["mean", "size"]).round(4)
    spearman = sts[sts["split"].eq("test")].set_index("system")["spearman"]
    for system, error, similarity in (
        ("LaBSE", 0.0403, 0.7225),
        ("paraphrase-multilingual-mpnet", 0.0421, 0.8682),
        ("paraphrase-multilingual-MiniLM-L12", 0.0509, 0.8442),
        ("multilingual-e5-base", 0.0676, 0.8564),
    ):
        assert errors.loc[system].tolist() == [error, 10]
        assert spearman[system] == similarity
    english = {"mean": 0.7712, "max": 0.7718, "CLS": 0.763}
    for pooling, figure in english.items():
        assert spearman[f"SBERT-NLI BERT-base, {pooling} (English)"] == figure


def test_figures_that_nobody_has_checked_are_left_out(tatoeba):
    assert not tatoeba["system"].str.contains("LASER").any()


def test_similarities_of_the_original_are_one_row_each(sts):
    rows = sts[sts["system"].eq("M-BERT, siamese on English NLI") & sts["split"].eq("test")]
    assert rows.set_index("similarity")["spearman"].to_dict() == {
        "cosine": 0.7248, "manhattan": 0.7258, "euclidean": 0.7259, "dot": 0.7024,
    }  # fmt: skip
