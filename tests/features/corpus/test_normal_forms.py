import time
import unicodedata

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transformers import BertTokenizer

from mcbert.features.corpus.normal_forms import (
    bcp47,
    language_twins,
    lowered,
    normal_form,
    same_texts,
    share_altered,
    twins,
    without_ending,
)


def numbers(texts, pairs=None, *, ending=False):
    table = pd.DataFrame({"text": texts} if pairs is None else {"text": texts, "text_pair": pairs})
    return same_texts(table, ending=ending).tolist()


@pytest.mark.parametrize(
    "other",
    [
        "Où est mon café ?",
        unicodedata.normalize("NFD", "Où est mon café?"),
        "OÙ EST\tMON CAFÉ",
        " où  est mon\u00a0café \n",
        "où est mon café\u200b.",
        "où est mon café...!",
        "où est mon café\u3002",
    ],
)
def test_form_case_blanks_and_the_ending_tell_no_texts_apart(other):
    assert numbers(["où est mon café?", other]) == [0, 0]


@pytest.mark.parametrize("other", ["ou est mon cafe?", "où est mon café 2?", "où, est mon café?", ""])
def test_what_else_differs_does(other):
    assert numbers(["où est mon café?", other]) == [0, 1]


def test_full_width_and_sharp_s():
    assert numbers(["ＡＢＣ　１", "abc 1", "STRASSE", "straße"]) == [0, 0, 1, 1]


def test_texts_of_punctuation_alone_are_not_all_one():
    assert numbers(["?", "!", "?!", "? "]) == [0, 1, 2, 0]


def test_the_ending_counts_where_it_is_asked_for():
    assert numbers(["Really?", "really.", "REALLY?"], ending=True) == [0, 1, 0]


def test_a_pair_is_the_same_where_both_texts_are():
    assert numbers(["a", "A.", "a", "a b"], ["b", "b!", "c", ""]) == [0, 0, 1, 2]


@given(st.text())
def test_a_normal_form_is_its_own(text):
    form = normal_form(text)
    assert normal_form(form) == form
    assert without_ending(without_ending(form)) == without_ending(form)


def test_many_texts_take_a_second_or_two():
    texts = [
        f"Sentence {k} of a corpus, about as long as those of a benchmark are in the mean."
        for k in range(100_000)
    ]
    began = time.process_time()
    found = same_texts(pd.DataFrame({"text": texts, "text_pair": texts}), ending=False)
    assert time.process_time() - began < 10  # 0.4 s were measured
    assert np.array_equal(found, np.arange(len(texts)))


def test_twins_of_labels():
    assert twins(["b", "a", "B ", "\u00e9", "e\u0301"]) == [["b", "B "], ["\u00e9", "e\u0301"]]
    assert twins(["a-b", "a_b", "a"]) == []


@pytest.mark.parametrize(
    ("form", "codes"),
    [
        ("zh", ["zh", "ZH", "zh-CN", "zh_Hans", "zh-Hans-CN", "zho", "zho_Hans", "chi", "cmn"]),
        ("zh-Hant", ["zh-TW", "zh_Hant", "zh-Hant-TW", "zho_Hant"]),
        ("zh-Hant-HK", ["zh-HK", "zh_hk"]),
        ("en", ["en", "EN", "eng", "en-US", "en_us", "eng_Latn", " en "]),
        ("en-GB", ["en-GB", "en_gb"]),
        ("de", ["deu", "ger", "de-DE", "deu_Latn"]),
        ("he", ["he", "iw", "heb_Hebr"]),
        ("pt", ["pt", "pt-PT"]),
        ("pt-BR", ["pt-br"]),
        ("sr-Latn", ["sr-Latn", "srp_Latn"]),
        ("sr", ["srp_Cyrl"]),
        ("ks-Arab", ["kas_Arab"]),
        ("es-419", ["es-419"]),
        ("de-1996", ["de-1996"]),
        ("klingonish", ["klingonish"]),
        ("", [""]),
    ],
)
def test_codes_that_mean_the_same(form, codes):
    assert {bcp47(code) for code in codes} == {form}


def test_only_codes_that_mean_the_same_are_twins():
    assert (
        language_twins(["en", "de", "de-CH", "pt", "pt-BR", "zh-cn", "zh-tw", "zh-hk", "sr", "sr-Latn"]) == {}
    )
    assert language_twins(["zh", "de", "zh-CN", "ZH"]) == {"zh": "zh", "zh-CN": "zh", "ZH": "zh"}


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
