import pandas as pd
import pytest

from features.corpus import PrepareSettings
from features.corpus.prepare import balance, keep_top_labels, prepare
from features.corpus.readers import CorpusError


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


def test_the_whole_stage(raw):
    table = prepare(settings(raw))
    assert sorted(set(table["label"])) == ["a", "b", "c"]
    sizes = table.groupby(["language", "split", "label"]).size()
    assert sizes["en", "train"].tolist() == [28, 28, 28]
    assert sizes["en", "test"].tolist() == [8, 4, 4]
    assert sizes["en", "dev"].tolist() == [4, 2, 2]
    assert sizes["de"].to_dict() == sizes["en"].drop("train", level="split").to_dict()
    assert table["id"].is_unique


def test_no_text_is_in_two_splits(raw):
    table = prepare(settings(raw))
    english = table[table["language"] == "en"]
    assert english.groupby("text")["split"].nunique().max() == 1


def test_translations_follow_their_ids(raw):
    table = prepare(settings(raw)).set_index("id")
    german = table[table["language"] == "de"]
    for row_id, row in german.iterrows():
        original = table.loc[row_id.removesuffix("-de")]
        assert row["text"] == f"auf deutsch {original['text']}"
        assert (row["label"], row["split"]) == (original["label"], original["split"])


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
    with pytest.raises(
        CorpusError, match=r"de\.csv: column id: no translation for \d+ held-out texts, first"
    ):
        prepare(settings(raw))


def test_a_label_too_rare_to_split(raw):
    frame = pd.read_csv(raw / "raw.csv")
    frame.loc[len(frame)] = ["z1", "lonely", "e"]
    frame.to_csv(raw / "raw.csv", index=False)
    with pytest.raises(CorpusError, match=r"raw\.csv: column label: 'e' has 1 text"):
        prepare(settings(raw, top_labels=0))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"top_labels": -1}, "prepare.top_labels: got -1"),
        ({"dev_fraction": 0.0}, "prepare.dev_fraction: got 0.0"),
        ({"dev_fraction": 0.5, "test_fraction": 0.5}, "leaves nothing to train on"),
        ({"translations": {"en": "x"}}, "prepare.translations: 'en' is the language of the raw texts"),
    ],
)
def test_settings_that_cannot_work(changes, said):
    with pytest.raises(ValueError, match=said):
        PrepareSettings(**changes)
