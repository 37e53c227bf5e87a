import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from mcbert.features.corpus.casing import lowered, share_altered


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Über das Café", "uber das cafe"),
        ("हिन्दी", "हिनदी"),  # the virama is a mark
        ("ガラス", "カラス"),
        ("قَلَم", "قلم"),
        ("你好", "你好"),
        ("plain, 12", "plain, 12"),
    ],
)
def test_letters_lose_case_and_marks(text, wanted):
    assert unicodedata.normalize("NFC", lowered(text)) == wanted


@given(st.text(max_size=40))
def test_what_is_lowered_stays(text):
    assert lowered(lowered(text)) == lowered(text)


def test_a_tokenizer_told_to_lower_case_reads_the_same():
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "Cafe", "cafe", "uber", "Über", "Café", "हिनदी"]
    vocabulary = {word: k for k, word in enumerate(words)}
    lower, cased = (BertTokenizer(vocabulary, do_lower_case=value) for value in (True, False))
    for text in ("Café Über", "हिन्दी uber", "cafe"):
        assert lower.tokenize(text) == cased.tokenize(lowered(text))
    assert lower.tokenize("Café Über") != cased.tokenize("Café Über")


def test_shares_of_sentences():
    found = share_altered(["Das", "das", "café", "nur klein"])
    assert found.altered == 0.5
    assert found.stripped == 0.25
