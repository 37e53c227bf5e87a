import logging

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.preparation.transfer import TRANSFERS, transferred
from mcbert.features.corpus.repeats import Repeats
from mcbert.features.corpus.settings import PrepareSettings
from tests.features.corpus.preparation.test_prepare import Upper


def corpus(extra=(), source="en"):
    rows = [
        ("a", "one", "", "x", "en", "train"),
        ("b", "two", "zwo", "x", "en", "train"),
        ("b+1", "two", "zwo", "x", "en", "train"),
        ("c", "three", "", "y", "en", "train"),
        ("d", "four", "", "y", "en", "train"),
        ("e", "five", "", "x", "en", "dev"),
        ("e-de", "fuenf", "", "x", "de", "dev"),
        ("g", "six", "", "y", "en", "test"),
        ("g-de", "sechs", "acht", "y", "de", "test"),
        ("g-fr", "sept", "", "y", "fr", "test"),
        *extra,
    ]
    table = pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])
    return Corpus.of(table, source, "t.csv")


def under(transfer, machine=None, start=None, **changes):
    chosen = PrepareSettings(transfer=transfer, **changes)
    return transferred(start or corpus(), chosen, machine or Upper()).table.set_index("id")


def test_every_protocol_that_is_offered_is_there():
    assert set(TRANSFERS) == {"zero-shot", "translate-train", "translate-test"}


def test_zero_shot_is_the_corpus_as_it_is():
    pd.testing.assert_frame_equal(under("zero-shot"), corpus().table.set_index("id"))


def test_zero_shot_leaves_foreign_train_texts_out_and_says_so(caplog):
    start = corpus([("h", "sieben", "", "x", "de", "train")])
    pd.testing.assert_frame_equal(under("zero-shot", start=start), corpus().table.set_index("id"))
    assert "1 train texts in de left out: prepare.transfer is zero-shot, which trains on en" in caplog.text


def test_translate_train_adds_every_target_language():
    table = under("translate-train")
    assert table[table["split"] == "train"].groupby("language").size().to_dict() == {
        "en": 5,
        "de": 5,
        "fr": 5,
    }
    assert table.loc["b+1-fr", ["text", "text_pair", "label", "split"]].tolist() == [
        "fr TWO", "fr ZWO", "x", "train",
    ]  # fmt: skip
    held_out = table[table["split"] != "train"]
    pd.testing.assert_frame_equal(held_out, corpus().table.set_index("id").loc[held_out.index])


def test_translate_train_of_one_language_trains_on_that_alone():
    table = under("translate-train", train_language="de")
    assert set(table.loc[table["split"] == "train", "language"]) == {"de"}
    assert set(table.loc[table["split"] == "test", "language"]) == {"en", "de", "fr"}


def test_translate_train_takes_the_train_texts_that_a_language_has():
    machine = Upper()
    start = corpus([("h", "sieben", "", "x", "de", "train"), ("i", "neun", "", "x", "it", "train")])
    table = under("translate-train", machine, start=start)
    train = table[table["split"] == "train"]
    assert train[train["language"] == "de"].index.tolist() == ["h"]
    assert set(train["language"]) == {"en", "de", "fr"}
    assert [target for _, _, target in machine.asked] == ["fr"]


class Same(Upper):
    """Says of "one" what the German test text says, but for its end and case."""

    def __call__(self, sentences, source, target):
        made = super().__call__(sentences, source, target)
        return ["NEUN ." if said == "de ONE" else said for said in made]


def test_texts_that_read_like_translated_train_texts_are_leaks(caplog):
    start = corpus([("h", "nine", "", "x", "en", "test"), ("h-de", "neun", "", "x", "de", "test")])
    settings = PrepareSettings(transfer="translate-train")
    table = transferred(start, settings, Same(), repeats=Repeats()).table
    assert set(start.table["id"]) - set(table["id"]) == {"h", "h-de"}
    said = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert said == [
        "corpus: prepare.transfer translate-train: 2 of 5 test texts occur in train (up to Unicode form, "
        "case, blanks and punctuation at the end) or translate one that does: de 1, en 1; of 1 label: x 2; "
        "the first: 'h', 'h-de'; they are left out; corpus.leaks = \"keep\" keeps them"
    ]
    places = start.table[["id"]].assign(_file="t.csv", _row=range(2, 2 + len(start.table)), _line=0)
    bad = BadRows()
    transferred(start, settings, Same(), repeats=Repeats(), bad=bad, places=places.set_index("id"))
    assert bad.frame()[["file", "row", "id"]].to_numpy().tolist() == [
        ["t.csv", 12, "h"],
        ["t.csv", 13, "h-de"],
    ]
    assert "occurs in train as 'a-de'" in bad.frame()["reason"][1]
    kept = transferred(start, settings, Same(), repeats=Repeats(leaks="keep")).table
    assert {"h", "h-de"} <= set(kept["id"])
    with pytest.raises(CorpusError, match="prepare.transfer translate-train: column text: 2 of 5 test texts"):
        transferred(start, settings, Same(), repeats=Repeats(leaks="error"))


def test_translated_texts_that_leave_no_dev_text_are_told_as_what_they_are():
    class Dev(Upper):
        def __call__(self, sentences, source, target):
            return ["fuenf" for _ in sentences]

    with pytest.raises(CorpusError, match="left out: .*'en' .*dev"):
        transferred(corpus(), PrepareSettings(transfer="translate-train"), Dev(), repeats=Repeats())


def test_translate_test_reads_the_targets_in_the_source_language():
    machine = Upper()
    table = under("translate-test", machine)
    before = corpus().table.set_index("id")
    assert table.index.tolist() == before.index.tolist()
    pd.testing.assert_frame_equal(
        table[["label", "language", "split"]], before[["label", "language", "split"]]
    )
    assert table.loc["g-de", ["text", "text_pair"]].tolist() == ["en SECHS", "en ACHT"]
    english = table[table["language"] == "en"]
    pd.testing.assert_frame_equal(english, before.loc[english.index])
    assert machine.asked == [(3, "de", "en"), (1, "fr", "en")]


def test_the_users_tables_come_before_models(tmp_path):
    machine = Upper()
    (tmp_path / "train.csv").write_text("id,text,text_pair\na,un,\nb,deux,deuxieme\nc,trois,\nd,quatre,\n")
    table = under("translate-train", machine, train_translations={"fr": str(tmp_path / "train.csv")})
    assert table.loc[["a-fr", "b-fr", "b+1-fr"], "text"].tolist() == ["un", "deux", "deux"]
    assert [target for _, _, target in machine.asked] == ["de"]
    (tmp_path / "test.csv").write_text("id,text,text_pair\ng,six,eight\ne-de,five,\n")
    table = under("translate-test", machine, source_translations={"de": str(tmp_path / "test.csv")})
    assert table.loc[["e-de", "g-de", "g-fr"], "text"].tolist() == ["five", "six", "en SEPT"]
    assert table.loc["g-de", "text_pair"] == "eight"


def test_an_empty_translation_is_an_error_that_names_the_text_and_the_language():
    class Mute(Upper):
        def __call__(self, sentences, source, target):
            return ["" if s == "zwo" else made for s, made in zip(sentences, super().__call__(
                sentences, source, target), strict=True)]  # fmt: skip

    said = (
        "^prepare.translator.de: upper: column text_pair of 'b': the translation into 'de' is empty, of 'zwo'"
    )
    with pytest.raises(CorpusError, match=said):
        under("translate-train", Mute())


class Nothing(Upper):
    def name(self, source, target):
        return f"prepare.source_translator.{source}", ""


@pytest.mark.parametrize(
    ("start", "changes", "said"),
    [
        (None, {"transfer": "translate-train", "train_language": "it"},
         "prepare.train_language: got 'it', accepted: de, fr"),
        (None, {"transfer": "translate-test"},
         "prepare.source_translations.de: no translations of 2 texts from 'de' into 'en'; accepted: a table "
         "there, or a model under prepare.source_translator.de"),
        (corpus().table.query("language == 'en'"), {"transfer": "translate-test"},
         "prepare.transfer: got 'translate-test', but there are no dev or test texts of a language"),
        (corpus([("z", "un", "", "x", "fr", "dev")]).table, {"source": "fr"},
         "prepare.transfer: got 'zero-shot', but no train text is in the source language 'fr'; they a"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_named(start, changes, said):
    source = changes.pop("source", "en") if start is not None else "en"
    start = corpus() if start is None else Corpus.of(start, source, "t.csv")
    with pytest.raises(CorpusError, match=said):
        transferred(start, PrepareSettings(**changes), Nothing())


def test_the_name_on_results():
    names = [PrepareSettings(transfer=name).transfer_name for name in TRANSFERS]
    assert names == ["zero-shot", "translate-train-all", "translate-test"]
    assert (
        PrepareSettings(transfer="translate-train", train_language="de").transfer_name == "translate-train-de"
    )


def test_the_log_counts_texts_by_split_and_language(caplog):
    caplog.set_level(logging.INFO)
    under("translate-train")
    assert "prepare: translate-train-all: train texts: 5 en, 5 de, 5 fr" in caplog.text
    assert "prepare: translate-train-all: test texts: 1 en, 1 de, 1 fr" in caplog.text


held_out = st.tuples(st.sampled_from(["en", "de", "fr"]), st.sampled_from(["dev", "test"]))
source_train = st.tuples(st.just("en"), st.just("train"))
rows = st.lists(st.tuples(held_out | source_train, st.sampled_from("xy"), st.booleans()), max_size=20)


@given(rows, st.sets(st.sampled_from(["de", "fr"])), st.sampled_from(sorted(TRANSFERS)), st.booleans())
def test_laws_of_every_protocol(drawn, with_train, transfer, is_german_alone):
    drawn = drawn + [((language, "train"), label, True) for language in with_train for label in "xxyy"]
    extra = [
        (f"n{k}", f"text {k}", f"pair {k}" if is_pair else "", label, language, split)
        for k, ((language, split), label, is_pair) in enumerate(drawn)
    ]
    before = corpus(extra).table.set_index("id")
    table = under(transfer, start=corpus(extra), train_language="de" if is_german_alone else "")
    assert table.index.is_unique
    for row_id, row in table.iterrows():
        is_old = row_id in before.index
        original = before.loc[row_id if is_old else row_id.removesuffix(f"-{row['language']}")]
        assert (row["label"], row["split"]) == (original["label"], original["split"])
        assert bool(row["text_pair"]) == bool(original["text_pair"])
        # only source-language train texts are ever multiplied, and nothing else changes its language
        assert row["language"] == original["language"] if is_old else row["split"] == "train"
        assert is_old or original["language"] == "en"
    tested = [set(frame.index[frame["split"] != "train"]) for frame in (before, table)]
    assert tested[0] == tested[1]
    trained = set(table.loc[table["split"] == "train", "language"])
    everything = {"de"} if is_german_alone else {"en", "de", "fr"}
    assert trained == (everything if transfer == "translate-train" else {"en"})
