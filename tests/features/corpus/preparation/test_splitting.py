import pandas as pd
import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.preparation.prepare import prepare
from mcbert.features.corpus.settings import CorpusSettings, PrepareSettings

SPLITS = CorpusSettings(splits={"train": "Training", "dev": "validation"})


@pytest.fixture
def raw(tmp_path):
    labels = ["a", "b"] * 6
    frame = pd.DataFrame({"text": [f"{label} {k}" for k, label in enumerate(labels)], "label": labels})
    frame.to_csv(tmp_path / "raw.csv", index=False)
    splits = ["Training"] * 4 + ["validation"] * 4 + ["test"] * 4
    frame.assign(split=splits).to_csv(tmp_path / "split.csv", index=False)
    return tmp_path


def test_splits_of_the_raw_texts_may_have_other_names(raw):
    table = prepare(PrepareSettings(raw=str(raw / "split.csv"), balance=False), corpus=SPLITS)
    assert table["split"].tolist() == ["train"] * 4 + ["dev"] * 4 + ["test"] * 4


def test_names_of_splits_that_no_table_has_are_refused(raw):
    with pytest.raises(CorpusError, match=r"^corpus.splits: .*raw.csv .*column split"):
        prepare(PrepareSettings(raw=str(raw / "raw.csv")), corpus=SPLITS)


def test_shares_beside_splits_that_are_kept_are_refused(raw):
    with pytest.raises(CorpusError, match=r"^prepare.dev_fraction: .*split.csv .*column"):
        prepare(PrepareSettings(raw=str(raw / "split.csv"), dev_fraction=0.2), corpus=SPLITS)
    labelled = {"de": str(raw / "raw.csv")}  # has none, and takes the shares
    prepare(PrepareSettings(raw=str(raw / "split.csv"), dev_fraction=0.2, labelled=labelled), corpus=SPLITS)


@pytest.mark.parametrize("kind", ["table", "huggingface"])
def test_one_name_for_two_splits_is_refused(kind):
    splits = {"train": "train", "dev": "validation", "test": "validation"}
    with pytest.raises(ValueError, match="^corpus.splits: 'validation' .*dev and test$"):
        CorpusSettings(format=kind, splits=splits)
