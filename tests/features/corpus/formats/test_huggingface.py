import sys

import datasets
import pandas as pd
import pytest

from mcbert.features.corpus.corpus import Corpus, read_corpus
from mcbert.features.corpus.errors import BadRows, CorpusError
from mcbert.features.corpus.settings import CorpusSettings

TEXT = datasets.Value("string")
FEATURES = datasets.Features(
    {"sentence": TEXT, "lang": TEXT, "label": datasets.ClassLabel(names=["refund", "cancel"])}
)
COLUMNS = {"text": "sentence", "language": "lang"}


@pytest.fixture(autouse=True)
def _offline(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf-cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def rows(split, languages=("en", "de"), n=4):
    return {
        "sentence": [f"{split} {language} {k}" for language in languages for k in range(n)],
        "lang": [language for language in languages for _ in range(n)],
        "label": [k % 2 for _ in languages for k in range(n)],
    }


def saved(folder, **splits):
    made = {name: datasets.Dataset.from_dict(data, features=FEATURES) for name, data in splits.items()}
    datasets.DatasetDict(made).save_to_disk(folder)
    return folder


def read(path, bad=None, **settings):
    return read_corpus(CorpusSettings(path=str(path), format="huggingface", **settings), bad)


def test_a_saved_dataset_is_a_corpus(tmp_path):
    path = saved(tmp_path / "d", train=rows("train"), validation=rows("dev"), test=rows("test"))
    frame = read(path, columns=COLUMNS)
    corpus = Corpus.of(frame, "en", "d")
    assert corpus.labels == ("cancel", "refund")
    assert corpus.languages == ("en", "de")
    assert frame["split"].value_counts().to_dict() == {"train": 8, "dev": 8, "test": 8}
    assert frame.loc[0, ["id", "text", "label"]].tolist() == ["train-1", "train en 0", "refund"]
    assert frame["id"].iloc[8] == "validation-1"
    assert read(path, columns=COLUMNS, languages=("en",))["language"].unique().tolist() == ["en"]


def test_a_selection_keeps_its_own_rows(tmp_path):
    whole = datasets.Dataset.from_dict(rows("train"), features=FEATURES)
    datasets.DatasetDict(train=whole.select([5, 2])).save_to_disk(tmp_path / "d")
    assert read(tmp_path / "d", columns=COLUMNS)["text"].tolist() == ["train de 1", "train en 2"]


def test_one_split_with_a_column_that_says_it(tmp_path):
    data = {**rows("x"), "fold": ["train"] * 4 + ["dev"] * 2 + ["test"] * 2}
    features = datasets.Features({**FEATURES, "fold": TEXT})
    datasets.Dataset.from_dict(data, features=features).save_to_disk(tmp_path / "d")
    frame = read(tmp_path / "d", columns={**COLUMNS, "split": "fold"})
    assert frame["split"].tolist() == data["fold"]
    assert frame["id"].iloc[-1] == "train-8"
    named = read(tmp_path / "d", columns={**COLUMNS, "split": "fold"}, splits={"dev": "test", "test": "dev"})
    assert named["split"].tolist() == ["train"] * 4 + ["test"] * 2 + ["dev"] * 2


def test_a_configuration_per_language(tmp_path):
    for language in ("en", "de", "zh"):
        saved(tmp_path / "d" / f"cfg-{language}", train=rows("t", (language,)), test=rows("e", (language,)))
    configs = {language: f"cfg-{language}" for language in ("en", "de", "zh")}
    frame = read(tmp_path / "d", columns={"text": "sentence"}, configs=configs, languages=("en", "zh"))
    assert frame["language"].value_counts().to_dict() == {"en": 8, "zh": 8}
    assert frame["id"].iloc[[0, 8]].tolist() == ["train-1-en", "train-1-zh"]
    assert frame["id"].is_unique


def test_ids_of_the_dataset_are_taken_when_named(tmp_path):
    data = {**rows("x", n=1), "uid": [7, 9]}
    datasets.DatasetDict(train=datasets.Dataset.from_dict(data)).save_to_disk(tmp_path / "d")
    assert read(tmp_path / "d", columns={**COLUMNS, "id": "uid"})["id"].tolist() == ["7", "9"]


def test_splits_by_name(tmp_path, caplog):
    caplog.set_level("INFO")
    path = saved(tmp_path / "d", train=rows("a"), validation_matched=rows("b"), unlabelled=rows("c"))
    assert set(read(path, columns=COLUMNS)["split"]) == {"train"}
    assert "splits left out: validation_matched, unlabelled" in caplog.text
    splits = {"train": "train", "dev": "validation_matched"}
    frame = read(path, columns=COLUMNS, splits=splits)
    assert frame["split"].value_counts().to_dict() == {"train": 8, "dev": 8}
    with pytest.raises(CorpusError, match=r"corpus\.splits\.dev: .*'validation_match' .*'valid"):
        read(path, columns=COLUMNS, splits={"dev": "validation_match"})
    odd = saved(tmp_path / "e", fold1=rows("a"))
    with pytest.raises(CorpusError, match=r"present: fold1; corpus\.splits"):
        read(odd, columns=COLUMNS)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"label": [0, -1]}, "row 2: column label: got -1, which stands for no label; accepted: 0 to 1"),
        ({"label": [0, None]}, "row 2: column label: got None"),
        ({"sentence": [None, "x"]}, "row 1: column sentence: got None, accepted: text"),
    ],
)
def test_bad_rows_are_named_or_left_out(tmp_path, change, said):
    path = saved(tmp_path / "d", train=rows("t", n=1) | change)
    with pytest.raises(CorpusError) as error:
        read(path, columns=COLUMNS)
    assert str(error.value).startswith(f"{path}/train: {said}")
    bad = BadRows("skip", COLUMNS)
    assert len(read(path, bad, columns=COLUMNS)) == bad.count == 1


def test_an_empty_text_is_named_by_the_datasets_column(tmp_path):
    path = saved(tmp_path / "d", train=rows("t", n=2) | {"sentence": ["a", "b", " ", "d"]})
    bad = BadRows(columns=COLUMNS)
    with pytest.raises(CorpusError, match="d/train: row 3: column sentence: it is empty"):
        Corpus.of(read(path, bad, columns=COLUMNS), "en", "d", bad=bad)


def test_a_missing_column(tmp_path):
    path = saved(tmp_path / "d", train=rows("t"))
    with pytest.raises(CorpusError, match=r"d/train: column 'text' .*present: sentence, lang, label"):
        read(path)
    with pytest.raises(CorpusError, match="column 'language' is missing"):
        read(path, columns={"text": "sentence"})


def test_csv_files_keep_words_and_labels_as_written(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "train.csv").write_text('text,label,language\nNA,01,en\nnull,1,de\n"a\nb",1,de\n')
    (folder / "test.csv").write_text("text,label,language\nnan,01,en\n")
    frame = read(folder)
    assert frame["text"].tolist() == ["NA", "null", "a\nb", "nan"]
    assert frame["label"].tolist() == ["01", "1", "1", "01"]
    assert frame["_line"].tolist() == [2, 3, 4, 2]
    assert frame["id"].tolist() == ["train-1", "train-2", "train-3", "test-1"]
    (folder / "test.csv").write_text("text,label,language\nnan,01\n")
    with pytest.raises(CorpusError, match=r"d/test\.csv: row 1 \(line 2\): 2 fields, accepted: 3"):
        read(folder)


def test_csv_shards_and_tsv(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    for k in (0, 1):
        (folder / f"train-0000{k}-of-00002.tsv").write_text(f"text\tlabel\tlanguage\nshard {k}\tx\ten\n")
    frame = read(folder)
    assert frame["id"].tolist() == ["train-0-1", "train-1-1"]
    assert frame["text"].tolist() == ["shard 0", "shard 1"]


CARD = """---
configs:
- config_name: de
  sep: ";"
  data_files:
  - {{split: train, path: de.csv}}
{more}dataset_info:
- config_name: de
  features:
  - {{name: text, dtype: string}}
  - {{name: label, dtype: {{class_label: {{names: {{'0': neg, '1': pos}}}}}}}}
---
"""


def test_a_card_declares_delimiter_and_label_names(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "README.md").write_text(CARD.format(more=""))
    (folder / "de.csv").write_text("text;label\nNA;0\nb;1\n")
    frame = read(folder, configs={"de": "de"})
    assert frame["label"].tolist() == ["neg", "pos"]
    assert frame["language"].tolist() == ["de", "de"]
    (folder / "de.csv").write_text("text;label\nNA;0\nb;2\n")
    with pytest.raises(
        CorpusError, match=r"de\.csv: row 2 \(line 3\): column label: got '2', accepted: neg, pos"
    ):
        read(folder, configs={"de": "de"})
    (folder / "README.md").write_text(CARD.format(more="  skiprows: 1\n"))
    with pytest.raises(CorpusError, match="card .*skiprows"):
        read(folder, configs={"de": "de"})


def test_parquet_and_json_folders(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    frame = pd.DataFrame({"text": ["a", "NA"], "label": [0, 1], "language": ["en", "de"]})
    frame.to_parquet(folder / "train-00000-of-00001.parquet")
    assert read(folder)["text"].tolist() == ["a", "NA"]
    assert read(folder)["label"].tolist() == ["0", "1"]
    other = tmp_path / "e"
    other.mkdir()
    frame.to_json(other / "train.jsonl", orient="records", lines=True)
    assert read(other)["text"].tolist() == ["a", "NA"]


@pytest.mark.parametrize(
    ("name", "config", "said"),
    [
        ("nobody/nothing", "", r"^nobody/nothing: datasets cannot load it: \w+: .*save_to_disk"),
        ("nobody/nothing", "de", r"^nobody/nothing \(configuration 'de'\): datasets cannot load"),
        ("{folder}", "de", r"d \(configuration 'de'\): .* ValueError: BuilderConfig 'de' not found"),
        ("{folder}/nowhere", "", r"d/nowhere: datasets cannot load it: "),
        ("{folder}/empty", "", r"d/empty: datasets cannot load it: "),
    ],
)
def test_what_cannot_be_loaded_is_one_line(tmp_path, name, config, said):
    folder = tmp_path / "d"
    (folder / "empty").mkdir(parents=True)
    (folder / "train.csv").write_text("text,label,language\na,b,c\n")
    with pytest.raises(CorpusError, match=said) as error:
        read(name.format(folder=folder), config=config)
    assert str(error.value).isprintable()
    assert len(str(error.value)) < 700


def test_the_revision_asked_for_is_the_one_loaded(tmp_path, monkeypatch):
    folder = tmp_path / "d"
    folder.mkdir()
    (folder / "train.csv").write_text("text,label,language\na,b,c\n")
    asked = []
    load = datasets.load_dataset_builder

    def remember(path, **options):
        asked.append((path, options))
        return load(str(folder))

    monkeypatch.setattr(datasets, "load_dataset_builder", remember)
    read("some/name", revision="v1.0", config="all")
    read("some/name")
    assert asked == [
        ("some/name", {"name": "all", "revision": "v1.0"}),
        ("some/name", {"name": None, "revision": None}),
    ]


def test_a_loading_script_is_never_run(tmp_path):
    folder = tmp_path / "d"
    folder.mkdir()
    ran = tmp_path / "ran"
    (folder / "d.py").write_text(f"open({str(ran)!r}, 'w')\n")
    with pytest.raises(CorpusError):
        read(folder)
    assert not ran.exists()


def test_a_damaged_saved_dataset(tmp_path):
    path = saved(tmp_path / "d", train=rows("t"))
    (arrow,) = (path / "train").glob("*.arrow")
    arrow.write_bytes(arrow.read_bytes()[:100])
    with pytest.raises(CorpusError, match="d: datasets cannot load it: "):
        read(path, columns=COLUMNS)


def test_without_the_library_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(CorpusError, match=r"pip install mcbert\[datasets\]"):
        read("some/name")
