import logging

import pandas as pd
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.preparation.prepare import balance, keep_top_labels, prepare, split
from mcbert.features.corpus.settings import CorpusSettings, PrepareSettings


@pytest.fixture
def raw(tmp_path):
    counts = {"a": 40, "b": 20, "c": 20, "d": 4}
    rows = [(f"{label}{k}", f"text {label} {k}", label) for label, n in counts.items() for k in range(n)]
    frame = pd.DataFrame(rows, columns=["id", "text", "label"]).sample(frac=1, random_state=0)
    frame.to_csv(tmp_path / "raw.csv", index=False)
    frame.assign(text="auf deutsch " + frame["text"])[["id", "text"]].to_csv(tmp_path / "de.csv", index=False)
    return tmp_path


def settings(folder, **changes):
    return PrepareSettings(
        **{
            "raw": str(folder / "raw.csv"),
            "top_labels": 3,
            "dev_fraction": 0.1,
            "test_fraction": 0.2,
            "translations": {"de": str(folder / "de.csv")},
            **changes,
        }
    )


DEFAULT_SHARES = {
    "dev_fraction": PrepareSettings.dev_fraction,
    "test_fraction": PrepareSettings.test_fraction,
}


def rewritten(folder, name="raw.csv", **columns):
    frame = pd.read_csv(folder / name).assign(**columns)
    frame.to_csv(folder / name, index=False)
    return frame


class Upper:
    """Translates by upper case, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def __call__(self, sentences, source, target):
        self.asked.append((len(sentences), source, target))
        return [f"{target} {sentence.upper()}" for sentence in sentences]

    def name(self, source, target):
        return f"prepare.translator.{target}", "upper"


def test_the_whole_stage(raw):
    table = prepare(settings(raw))
    assert sorted(set(table["label"])) == ["a", "b", "c"]
    sizes = table.groupby(["language", "split", "label"]).size()
    assert sizes["en", "train"].tolist() == [28, 28, 28]
    assert sizes["en", "test"].tolist() == [8, 4, 4]
    assert sizes["en", "dev"].tolist() == [4, 2, 2]
    assert sizes["de"].to_dict() == sizes["en"].drop("train", level="split").to_dict()
    assert table["id"].is_unique


def test_the_log_counts_what_became_of_the_texts(raw, caplog):
    caplog.set_level(logging.INFO)
    prepare(settings(raw))
    said = [r.getMessage() for r in caplog.records]
    assert "prepare: 84 texts, 4 labels; kept 80 texts of 3 labels" in said
    assert "prepare: en: 84 train texts, 28 of them copies that balance 3 labels; 8 dev, 16 test" in said
    assert f"prepare: 24 texts in de from {raw / 'de.csv'}" in said


def test_no_text_is_in_two_splits(raw):
    table = prepare(settings(raw))
    english = table[table["language"] == "en"]
    assert english.groupby("text")["split"].nunique().max() == 1


texts = st.lists(
    st.tuples(st.integers(0, 25), st.sampled_from(["", "p", "q"]), st.sampled_from(["x", "y"])),
    min_size=30,
    max_size=80,
)


@given(texts, st.integers(0, 5), st.booleans())
@hypothesis_settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_splits_share_no_text_and_balance_copies_train_texts_alone(tmp_path, rows, seed, is_balanced):
    frame = pd.DataFrame(
        [(f"i{k}", f"t{n}", pair, label) for k, (n, pair, label) in enumerate(rows)],
        columns=["id", "text", "text_pair", "label"],
    )
    frame.to_csv(tmp_path / "raw.csv", index=False)
    wanted = settings(
        tmp_path, translations={}, translator={"de": "upper"}, seed=seed, balance=is_balanced, top_labels=0
    )
    try:
        table = prepare(wanted, machine=Upper())
    except CorpusError as error:  # too few texts of a label to cut them in three
        assert "raw.csv" in str(error)
        return
    origin = table["id"].str.replace(r"-de$", "", regex=True).str.replace(r"\+\d+$", "", regex=True)
    assert set(origin) == set(frame["id"])
    assert table.assign(origin=origin).groupby("origin")["split"].nunique().max() == 1
    english = table[table["language"] == "en"]
    assert english.groupby(["text", "text_pair"])["split"].nunique().max() == 1
    copies = english[english["id"].str.contains("+", regex=False)]
    assert set(copies["split"]) <= {"train"}
    by_label = english[english["split"] == "train"]["label"].value_counts()
    assert not is_balanced or by_label.nunique() == 1
    merged = english.set_index("id")
    for row in table[table["language"] == "de"].itertuples():
        original = merged.loc[row.id.removesuffix("-de")]
        assert (row.label, row.split) == (original["label"], original["split"])
        assert row.split != "train"
        assert row.text == f"de {original['text'].upper()}"
        assert row.text_pair == (f"de {original['text_pair'].upper()}" if original["text_pair"] else "")


def test_a_code_that_is_in_no_row_of_raw_or_labelled_texts_is_refused(raw):
    codes = CorpusSettings(language_codes={"eng": "en", "deu": "de"})
    own = raw / "own.csv"
    pd.read_csv(raw / "raw.csv").assign(language="deu").to_csv(own, index=False)
    wanted = settings(raw, translations={}, labelled={"de": str(own)})
    with pytest.raises(CorpusError, match="raw.csv, .*own.csv: corpus.language_codes: 'eng'"):
        prepare(wanted, corpus=codes)
    rewritten(raw, language="eng")
    assert set(prepare(wanted, corpus=codes)["language"]) == {"en", "de"}
    with pytest.raises(CorpusError, match="raw.csv: corpus.language_codes: 'deu' .*present: eng"):
        prepare(settings(raw), corpus=codes)


def test_a_code_without_a_column_language_is_refused(raw):
    said = "corpus.language_codes: 'eng' is in no row; present: no code, for want of a column language"
    with pytest.raises(CorpusError, match=said):
        prepare(settings(raw), corpus=CorpusSettings(language_codes={"eng": "en"}))


def test_translations_follow_their_ids(raw):
    table = prepare(settings(raw)).set_index("id")
    german = table[table["language"] == "de"]
    for row_id, row in german.iterrows():
        original = table.loc[row_id.removesuffix("-de")]
        assert row["text"] == f"auf deutsch {original['text']}"
        assert (row["label"], row["split"]) == (original["label"], original["split"])


def test_languages_without_a_table_are_translated_by_their_model(raw):
    machine = Upper()
    chosen = settings(
        raw, translator={"fr": "m", "de": "m", "*": "n"}, translator_codes={"en": "e", "it": "i"}
    )
    table = prepare(chosen, machine=machine)
    assert machine.asked == [(24, "en", "fr"), (24, "en", "it")]
    assert set(table["language"]) == {"en", "de", "fr", "it"}
    assert table.loc[table["id"].str.endswith("-fr"), "text"].str.startswith("fr TEXT").all()


def test_second_texts_are_kept_and_translated(raw):
    frame = rewritten(raw, text_pair=lambda f: "and " + f["text"])
    rewritten(raw, "de.csv", text_pair=lambda f: "und " + f["text"])
    table = prepare(settings(raw)).set_index("id")
    english = table[table["language"] == "en"]
    assert (english["text_pair"] == "and " + english["text"]).all()
    german = table[table["language"] == "de"]
    assert (german["text_pair"] == "und " + german["text"]).all()
    assert len(german) == 24 < len(frame)


def test_rows_without_ids_are_numbered_as_in_the_file(raw, caplog):
    whole = prepare(settings(raw, translations={}))
    caplog.set_level(logging.INFO)
    frame = pd.read_csv(raw / "raw.csv")
    frame.drop(columns="id").to_csv(raw / "raw.csv", index=False)
    table = prepare(settings(raw, translations={}))
    assert "raw.csv: no column id; the numbers of the rows are the ids" in caplog.text
    assert table.drop(columns="id").equals(whole.drop(columns="id"))
    held_out = table[table["split"] != "train"]
    assert frame["text"].iloc[held_out["id"].astype(int) - 1].tolist() == held_out["text"].tolist()


@pytest.fixture
def own(raw):
    rows = [(f"text {label} {k}", label) for label in "abx" for k in range(12)]
    pd.DataFrame([*rows, rows[0]], columns=["text", "label"]).to_csv(raw / "fr.csv", index=False)
    return str(raw / "fr.csv")


def test_texts_with_labels_of_their_own_are_dev_and_test(raw, own, caplog):
    caplog.set_level(logging.INFO)
    table = prepare(settings(raw, labelled={"fr": own}))
    assert "fr: 9 dev, 16 test texts with labels of their own" in caplog.text
    assert "12 of 37 texts (32.4%) are left out, of 1 label: x 12;" in caplog.text
    french = table[table["language"] == "fr"]
    assert french.drop_duplicates("text").groupby(["label", "split"]).size().to_dict() == {
        ("a", "dev"): 4,
        ("a", "test"): 8,
        ("b", "dev"): 4,
        ("b", "test"): 8,
    }
    assert french["id"].str.fullmatch(r"fr-\d+").all()
    assert (french.groupby("text")["split"].nunique() == 1).all()
    others = table[table["language"] != "fr"].reset_index(drop=True)
    assert others.equals(prepare(settings(raw)))
    assert prepare(settings(raw, labelled={"fr": own}, seed=1)).equals(table) is False


def test_their_own_splits_are_kept_but_they_train_nothing(raw, own):
    rewritten(raw, "fr.csv", split="test")
    assert set(prepare(settings(raw, labelled={"fr": own})).query("language == 'fr'")["split"]) == {"test"}
    rewritten(raw, "fr.csv", split="train")
    with pytest.raises(
        CorpusError, match=r"fr.csv: column split: got 'train' of '1'; accepted: dev, test: 'fr'"
    ):
        prepare(settings(raw, labelled={"fr": own}))


def test_labels_that_are_not_trained_on_and_other_languages_are_named(raw, own):
    rewritten(raw, "fr.csv", label="z")
    with pytest.raises(CorpusError, match=r"fr.csv: column label: got z; accepted: .* a, b, c"):
        prepare(settings(raw, labelled={"fr": own}))
    rewritten(raw, "fr.csv", label="a", language="es")
    with pytest.raises(CorpusError, match=r"37 rows .*'fr' \(prepare.labelled.fr\)"):
        prepare(settings(raw, labelled={"fr": own}))


def test_the_splits_of_the_raw_table_are_kept(raw, caplog):
    caplog.set_level(logging.INFO)
    frame = rewritten(raw, split=lambda f: ["test", "dev", "train", "train", "train", "train"] * 14)
    table = prepare(settings(raw, **DEFAULT_SHARES, balance=False, top_labels=0)).set_index("id")
    assert table.loc[frame["id"], "split"].tolist() == frame["split"].tolist()
    assert f"prepare: the splits of {raw / 'raw.csv'} are kept" in caplog.text


def test_a_text_of_another_language_is_named(raw):
    rewritten(raw, language=lambda f: ["en"] * 83 + ["fr"])
    with pytest.raises(CorpusError, match=r"column language: 1 rows .* first 'fr' of '.*'; acc"):
        prepare(settings(raw))


def test_same_seed_same_corpus(raw):
    assert prepare(settings(raw)).equals(prepare(settings(raw)))
    assert not prepare(settings(raw)).equals(prepare(settings(raw, seed=1)))


def test_balance_takes_every_text_equally_often():
    train = pd.DataFrame(
        {"id": list("abcdefg"), "text": list("tuvwxyz"), "label": ["big"] * 5 + ["small"] * 2}
    )
    out = balance(train, seed=0)
    assert out["label"].value_counts().to_dict() == {"big": 5, "small": 5}
    assert sorted(out[out["label"] == "small"]["text"].value_counts()) == [2, 3]
    assert out["id"].is_unique
    assert out.iloc[:7].to_dict("list") == train.to_dict("list")


def test_without_balance_nothing_is_duplicated(raw):
    assert prepare(settings(raw, balance=False))["id"].str.contains("+", regex=False).sum() == 0


def test_ties_among_labels_go_by_name():
    table = pd.DataFrame({"label": ["b", "a", "c", "b", "a", "c"]})
    assert sorted(set(keep_top_labels(table, 2)["label"])) == ["a", "b"]
    assert len(keep_top_labels(table, 0)) == 6


def test_a_missing_translation_is_named(raw):
    pd.read_csv(raw / "de.csv").iloc[:-60].to_csv(raw / "de.csv", index=False)
    with pytest.raises(CorpusError, match=r"de\.csv: column id: .*\d+ of 24 texts, first"):
        prepare(settings(raw))


def test_a_language_with_neither_table_nor_model_is_named(raw):
    with pytest.raises(CorpusError, match=r"^prepare.translations.fr: .*24 texts from 'en'"):
        prepare(settings(raw, translator={"fr": "m"}))


def test_a_label_too_rare_to_split(raw):
    frame = pd.read_csv(raw / "raw.csv")
    frame.loc[len(frame)] = ["z1", "lonely", "e"]
    frame.to_csv(raw / "raw.csv", index=False)
    with pytest.raises(CorpusError, match=r"raw\.csv: column label: 'e' has 1 text"):
        prepare(settings(raw, top_labels=0))


def test_fractions_that_leave_a_split_without_labels():
    table = pd.DataFrame({"text": list("abcdefghi"), "text_pair": "", "label": list("xxxyyyzzz")})
    with pytest.raises(
        CorpusError,
        match=r"9 texts of 3 labels .*prepare.dev_fraction 0.1 .* 7 train, 1 dev, 1 test texts; accepted: ",
    ):
        split(table, PrepareSettings(raw="r.csv", dev_fraction=0.1, test_fraction=0.1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_labels": -1}, "prepare.top_labels: got -1"),
        ({"seed": -1}, "prepare.seed: got -1, accepted: a whole number from 0, below 4294967296"),
        ({"dev_fraction": 0.0}, "prepare.dev_fraction: got 0.0"),
        ({"dev_fraction": 0.5, "test_fraction": 0.5}, "leaves nothing to train on"),
        ({"translations": {"en": "x"}}, "prepare.translations: 'en' is the language of the raw texts"),
        (
            {"raw": "r", "translator": {"en": "x"}},
            "prepare.translator: 'en' is the language of the raw texts",
        ),
        (
            {"transfer": "few-shot"},
            "prepare.transfer: got 'few-shot', accepted: zero-shot, translate-train, tr",
        ),
        ({"raw": "r", "labelled": {"en": "x"}}, "prepare.labelled: 'en' is the language of the raw texts"),
        ({"translations": {"mean": "x"}}, "prepare.translations.mean: accepted: a language; in results"),
        ({"raw": "r", "labelled": {"mean": "x"}}, "prepare.labelled.mean: accepted: a language; in results"),
        (
            {"raw": "r", "labelled": {"de": "x"}, "translations": {"de": "y"}},
            "prepare.labelled: 'de' is translated, too; accepted: its own labels or translations",
        ),
        ({"beams": 0}, "prepare.beams: got 0, accepted: a whole number from 1"),
        ({"translation_length": 2}, "prepare.translation_length: got 2, accepted: a whole number from 3"),
        ({"translator": {"*": "m"}}, "prepare.translator: '\\*' is for the languages of prepare.transl"),
    ],
)
def test_settings_that_cannot_work(changes, said):
    with pytest.raises(ValueError, match=said):
        PrepareSettings(**changes)
