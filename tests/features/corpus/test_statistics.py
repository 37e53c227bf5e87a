import logging
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import CanineTokenizer, PreTrainedTokenizerFast

from mcbert.features.corpus import statistics
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.statistics import corpus_statistics, count, count_marks, n_marks
from mcbert.features.encoder.tokens import load_tokenizer

WORDS = ["cafe", "café", "हिन्दी", "कर", "शुक्रिया", "plain", "words"]


def counted(corpus, folder):
    return corpus_statistics(corpus, load_tokenizer(folder), max_length=6)


def tokenizer(normalizer=None):
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tok = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tok.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if normalizer is not None:
        tok.normalizer = normalizer
    return PreTrainedTokenizerFast(tokenizer_object=tok, pad_token="[PAD]", unk_token="[UNK]")


UNCASED = normalizers.BertNormalizer(lowercase=True)
COMPOSING = normalizers.NFKC()


@pytest.fixture
def corpus():
    rows = [
        ("a", "plain words", "", "x", "en", "train"),
        ("b", "plain words", "", "x", "en", "train"),
        ("c", "words", "plain", "y", "en", "train"),
        ("d", "words", "", "y", "en", "train"),
        ("e", "plain", "", "x", "en", "dev"),
        ("f", "café plain", "", "x", "fr", "dev"),
        ("g", "हिन्दी कर", "", "y", "hi", "dev"),
    ]
    table = pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])
    return Corpus.of(table, "en", "t")


def saved(tmp_path, normalizer):
    tokenizer(normalizer).save_pretrained(tmp_path)
    return tmp_path


def test_counts_against_a_count_by_hand(encoder_folder, texts_table):
    table = texts_table.copy()
    table.loc[0, "text"] = "money zebra giraffe"
    corpus = Corpus.of(table, "en", "t")
    rows = counted(corpus, encoder_folder).set_index(["language", "split", "label"])
    train = table[(table["split"] == "train") & (table["label"] == "refund")]
    lengths = [len(t.split()) + 2 for t in train["text"]]
    row = rows.loc[("en", "train", "refund")]
    assert row["n_texts"] == 12
    assert row["n_distinct"] == train["text"].nunique()
    assert row["tokens_median"] == np.median(lengths)
    assert row["tokens_max"] == max(lengths)
    assert row["n_tokens"] == sum(lengths) - 2 * len(lengths)
    assert row["unknown_share"] == pytest.approx(2 / row["n_tokens"])
    assert row["truncated_share"] == pytest.approx(sum(n > 6 for n in lengths) / 12)
    assert rows["marks_lost_share"].eq(0).all()
    assert rows["n_texts"].sum() == len(table)


def test_blocks_do_not_show(encoder_folder, texts_table, monkeypatch):
    corpus = Corpus.of(texts_table, "en", "t")
    whole = counted(corpus, encoder_folder)
    monkeypatch.setattr(statistics, "BLOCK", 3)
    pd.testing.assert_frame_equal(counted(corpus, encoder_folder), whole)


def test_every_distinct_text_is_tokenised_once(corpus, tmp_path, monkeypatch):
    seen = []
    real = statistics.tokenise

    def spy(tok, texts, max_length):
        seen.extend(texts)
        return real(tok, texts, max_length)

    monkeypatch.setattr(statistics, "tokenise", spy)
    rows = counted(corpus, saved(tmp_path, None)).set_index(["language", "split"])
    assert len(seen) == len(set(seen)) == 6
    assert rows.loc[("en", "train"), "n_distinct"].tolist() == [1, 2]


def test_a_tokenizer_that_strips_marks_is_named_with_the_share(corpus, tmp_path, caplog):
    caplog.set_level(logging.WARNING)
    rows = counted(corpus, saved(tmp_path, UNCASED)).set_index("language")
    assert rows.loc["fr", "marks_lost_share"] == 1.0
    assert rows.loc["hi", "marks_lost_share"] == 1.0
    assert rows["n_marks"].loc["fr"] == 1
    assert "combining marks" not in caplog.text  # one text each: fewer than ten


@pytest.mark.parametrize(("n_lost", "n_texts", "warned"), [(10, 300, 1), (9, 300, 0), (10, 1000, 0)])
def test_lost_marks_are_told_once_where_they_concern_ten_texts_and_a_hundredth(
    tmp_path, caplog, n_lost, n_texts, warned
):
    rows = [
        (f"{language}{k}", "café" if k < n_lost else "plain", "xy"[k % 2], language)
        for language in ("en", "fr")
        for k in range(n_texts)
    ]
    table = pd.DataFrame(rows, columns=["id", "text", "label", "language"])
    table = table.assign(split=["train", "train", "dev", "dev"] * (n_texts // 2))
    counted(Corpus.of(table, "en", "t"), saved(tmp_path, UNCASED))
    said = [r.getMessage() for r in caplog.records if "combining marks" in r.getMessage()]
    assert len(said) == warned
    for message in said:
        assert "of 10 en texts (3%), 10 fr texts (3%): words that differ" in message
        assert "encoder.path" in message


@pytest.mark.parametrize("normalizer", [None, COMPOSING, normalizers.NFD()])
def test_a_tokenizer_that_keeps_marks_is_not_accused(corpus, tmp_path, caplog, normalizer):
    rows = counted(corpus, saved(tmp_path, normalizer))
    assert rows["marks_lost_share"].eq(0).all()
    assert "combining marks" not in caplog.text


def test_part_of_the_marks(tmp_path):
    only_acute = normalizers.Sequence([normalizers.NFD(), normalizers.Replace("\u0301", "")])
    assert count_marks(tokenizer(only_acute), ("éè", "ê"), [1]) == (3, 1)


class Stripping(CanineTokenizer):
    """A tokenizer written in Python: without a normaliser to ask, its tokens are what there is."""

    def _tokenize(self, text):
        return [c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn"]


@pytest.mark.parametrize(("kind", "lost"), [(CanineTokenizer, 0), (Stripping, 2)])
def test_a_tokenizer_without_a_normaliser_is_judged_by_what_its_tokens_spell(kind, lost):
    counts = count(kind(), [("é à", "")])
    assert (counts.marks.tolist(), counts.marks_lost.tolist()) == ([2], [lost])


@given(st.text(max_size=30))
def test_marks_are_those_of_the_decomposed_text(text):
    decomposed = unicodedata.normalize("NFD", text)
    assert n_marks(text) == sum(unicodedata.category(c) == "Mn" for c in decomposed)
    assert n_marks(unicodedata.normalize("NFC", text)) == n_marks(decomposed)


@given(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6))
def test_an_uncased_tokenizer_loses_every_mark_of_any_text(words):
    marks, lost = count_marks(tokenizer(UNCASED), (" ".join(words), ""), [1])
    assert marks == lost == n_marks(" ".join(words))
