import pytest

from features.corpus import Corpus
from features.corpus.statistics import corpus_statistics


def test_counts_against_a_count_by_hand(encoder_folder, texts_table):
    table = texts_table.copy()
    table.loc[0, "text"] = "money zebra giraffe"
    corpus = Corpus.of(table, "en", "t")
    rows = corpus_statistics(corpus, encoder_folder, max_length=6).set_index(["language", "split", "label"])
    train = table[(table["split"] == "train") & (table["label"] == "refund")]
    lengths = [len(t.split()) + 2 for t in train["text"]]
    row = rows.loc[("en", "train", "refund")]
    assert row["n_texts"] == 12
    assert row["n_distinct"] == train["text"].nunique()
    assert row["tokens_max"] == max(lengths)
    assert row["unknown_share"] == pytest.approx(2 / (sum(lengths) - 2 * len(lengths)))
    assert row["truncated_share"] == pytest.approx(sum(n > 6 for n in lengths) / 12)
    assert rows["n_texts"].sum() == len(table)
