import dataclasses
import re

import pytest

from mcbert.finetune.freezing.rules import plan_freezing
from mcbert.home import HOME, presets
from mcbert.pipeline.config import load
from mcbert.pipeline.run import written


def saved(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("name", presets())
def test_every_preset_loads_and_says_which_encoder(name):
    assert load(name).encoder.path


def test_the_presets_that_the_readme_names():
    assert {"demo", "mbert-intents", "mbert-xnli", "xlmr-xnli", "mbert-embeddings"} <= set(presets())


def test_the_paper_as_published():
    config = load("mbert-xnli")
    assert config.encoder.path == "google-bert/bert-base-multilingual-uncased"
    tune = config.finetune
    assert (tune.layers, tune.pooling, tune.dropout, tune.learning_rate) == ((6, 8, 11), "max", 0.1, 2e-5)
    assert tune.freeze == {2: (9, 11, 12)}
    assert set(config.corpus.languages) == {"en", "zh", "es", "de", "ar", "ur"}


def test_the_paper_s_layer_12_feeds_nothing_and_the_preset_says_so(caplog):
    tune = load("mbert-xnli").finetune
    with caplog.at_level("INFO", logger="mcbert.finetune.freezing.rules"):
        assert plan_freezing(tune, max(tune.layers)) == {2: (9, 11)}
    assert "layer 12 feeds nothing, the deepest layer used is 11; it is left out" in caplog.text
    assert tune.optimizer == "adam"
    with pytest.raises(ValueError, match="epoch 2: layer 12 .*11"):
        plan_freezing(dataclasses.replace(tune, ignore_unused_frozen=False), max(tune.layers))


def test_the_sentence_embeddings_as_published():
    config = load("mbert-embeddings")
    assert config.encoder.path == "google-bert/bert-base-multilingual-cased"
    found = config.embeddings
    assert (found.layers, found.pooling, found.objective, found.dropout) == ((12,), "mean", "softmax", 0.0)
    assert (found.batch_size, found.epochs, found.warmup, found.learning_rate) == (16, 1, 0.1, 2e-5)
    assert found.freeze_embeddings
    assert found.corpus.path == str(HOME / "data/allnli")


def test_a_section_that_was_renamed_is_named(tmp_path):
    text = "encoder.path = 'e'\n[knobs]\nseeds = [0]\n"
    with pytest.raises(ValueError, match=r"mine\.toml: unknown key knobs \(now called tune\)"):
        load(saved(tmp_path, text))
    with pytest.raises(ValueError, match=r"override 'knobs.* unknown key knobs \(now called tune\)"):
        load("demo", ["knobs.seeds=[0]"])


def test_demo_paths_are_the_shipped_samples():
    config = load("demo")
    assert config.embeddings.corpus.path == str(HOME / "samples/nli")
    assert config.prepare.raw == str(HOME / "samples/intents/raw.csv")
    assert config.encoder.path == str(HOME / "samples/encoder")
    assert set(config.prepare.translations) == {"de", "es", "fr", "zh", "ar", "ur"}


def test_overrides_take_toml_values_and_bare_words():
    config = load(
        "demo",
        ["finetune.epochs=3", "finetune.seeds=[7, 8]", "gridsearch.protocol=source-dev", "encoder.path=a/b",
         "finetune.freeze={1 = [2]}", "finetune.dropout=0"],
    )  # fmt: skip
    assert config.finetune.epochs == 3
    assert config.finetune.seeds == (7, 8)
    assert config.gridsearch.protocol == "source-dev"
    assert config.encoder.path == "a/b"
    assert config.finetune.freeze == {1: (2,)}
    assert config.finetune.dropout == 0.0


def test_the_digest_is_the_same_wherever_the_configuration_lies(tmp_path):
    digests = set()
    for name in ("here", "moved"):
        (tmp_path / name).mkdir()
        file = tmp_path / name / "mine.toml"
        file.write_text(
            '[prepare]\nraw = "texts.csv"\n[prepare.translations]\nde = "de.csv"\n[encoder]\npath = "m"\n'
        )
        config = load(str(file))
        assert config.settings["prepare"]["raw"] == str(tmp_path / name / "texts.csv")
        digests.add(config.digest)
    assert len(digests) == 1
    file.write_text(file.read_text().replace("texts.csv", "others.csv"))
    assert load(str(file)).digest not in digests


def test_where_a_configuration_lies_is_no_setting(tmp_path):
    (tmp_path / "mine.toml").write_text('base = "x"\n[encoder]\npath = "e"\n')
    with pytest.raises(ValueError, match="unknown key base"):
        load(str(tmp_path / "mine.toml"))


def test_paths_below_a_folder_are_as_a_file_there_writes_them():
    settings = {"/a/b/raw.csv": ("/a/b/c/d.csv", "/a/bc/e.csv", 3, None), "x": "see /a/b/raw.csv"}
    assert written(settings, "/a/b") == {
        "raw.csv": ["c/d.csv", "/a/bc/e.csv", 3, None],
        "x": "see /a/b/raw.csv",
    }
    assert written({"path": "/a/b"}, "/a/b") == {"path": "."}
    assert written(settings, "") == {**settings, "/a/b/raw.csv": ["/a/b/c/d.csv", "/a/bc/e.csv", 3, None]}


def test_digest_follows_what_results_depend_on():
    base = load("demo")
    assert load("demo", ["cluster.workers=7"]).digest == base.digest
    assert load("demo", ["finetune.epochs=9"]).digest != base.digest


def test_paths_of_a_file_count_from_its_folder(tmp_path):
    (tmp_path / "enc").mkdir()
    config = load(saved(tmp_path, '[corpus]\npath = "t.csv"\n[encoder]\npath = "enc"\n'))
    assert config.corpus.path == str(tmp_path / "t.csv")
    assert config.encoder.path == str(tmp_path / "enc")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[encoder]\npth = 'x'\n",
            r"unknown key encoder.pth \(did you mean path\?\); accepted: path, revision, pickled_weights",
        ),
        ("[encodr]\npath = 'x'\n", r"unknown key encodr \(did you mean encoder\?\)"),
        ("[extract]\n", "key encoder is missing"),
        ("[encoder]\npath = 3\n", "encoder.path: got 3, accepted: text"),
        (
            "[encoder]\npath = 'x'\nmax_length = 'y'\n",
            "encoder.max_length: got 'y', accepted: a whole number",
        ),
        ("[encoder]\npath = 'x'\nmax_length = true\n", "encoder.max_length: got True"),
        ("[encoder]\npath = 'x'\n[extract]\nlayers = 3\n", "extract.layers: got 3, accepted: a list"),
        ("[encoder]\npath = 'x'\n[finetune.freeze]\nsoon = [1]\n", "finetune.freeze: got the key 'soon'"),
        ("encoder = 3\n", "encoder: got 3, accepted: a section"),
        ("[encoder\n", "not TOML"),
        (
            "[encoder]\npath = 'x'\n[cluster]\nbackend = 'spark'\n",
            "cluster.backend: got 'spark', accepted: auto, serial, loky, dask",
        ),
        ("[encoder]\npath = 'x'\n[gridsearch]\npoolings = ['median']\n", "gridsearch.poolings: got 'median'"),
        ("[encoder]\npath = 'x'\n[gridsearch]\nlayers = [5, 5]\n", "gridsearch.layers"),
        ("[encoder]\npath = 'x'\n[gridsearch]\nlayers = [-1]\n", "gridsearch.layers"),
        ("[encoder]\npath = 'x'\n[gridsearch]\nclassifiers = ['svm']\n", "gridsearch.classifiers: got 'svm'"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, text, said):
    with pytest.raises(ValueError, match=said) as error:
        load(saved(tmp_path, text))
    assert "\n" not in str(error.value)


def test_unknown_preset_and_malformed_override():
    with pytest.raises(ValueError, match="'demoo' .*demo"):
        load("demoo")
    with pytest.raises(ValueError, match="override 'epochs': accepted: section.key=value"):
        load("demo", ["epochs"])
    with pytest.raises(ValueError, match="unknown key finetune.epoch "):
        load("demo", ["finetune.epoch=3"])


def test_paths_of_pairs_count_from_the_file(tmp_path):
    path = saved(
        tmp_path,
        '[encoder]\npath = "e"\n[embeddings]\nparallel = "p"\ncorpus = { path = "n", format = "nli" }\n',
    )
    found = load(path).embeddings
    assert (found.corpus.path, found.parallel) == (str(tmp_path / "n"), str(tmp_path / "p"))
    with pytest.raises(ValueError, match=r"embeddings\.corpus: got 3, accepted: a section"):
        load(path, ["embeddings.corpus=3"])
    with pytest.raises(ValueError, match=r"unknown key embeddings\.corpus\.pth \(did you mean path\?\)"):
        load(path, ["embeddings.corpus.pth=x"])


@pytest.mark.parametrize(
    ("overrides", "told"),
    [
        (["corpus.path=mine.csv"], r"corpus\.path: means nothing beside prepare\.raw, which is read"),
        (['corpus.languages=["en"]'], r"corpus\.languages: means nothing beside prepare\.raw"),
        (
            ["prepare.raw=", "corpus.path=mine.csv"],
            r"prepare\.translations: means nothing without",
        ),
        (
            ["prepare.raw=", "corpus.path=mine.csv", "prepare.translations={}"],
            r"prepare\.top_labels: means nothing without prepare\.raw; .*\(prepare\.top_labels=0\)",
        ),
    ],
)
def test_a_corpus_and_raw_texts_are_not_both_read(overrides, told):
    with pytest.raises(ValueError, match=told):
        load("demo", overrides)


def test_a_preset_takes_another_corpus_once_its_raw_texts_are_left_out():
    overrides = ["prepare.raw=", "corpus.path=mine.csv", "prepare.translations={}", "prepare.top_labels=0"]
    assert load("demo", overrides).corpus.path.endswith("mine.csv")


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("prepare.translations=de.csv",
         "override 'prepare.translations=de.csv': prepare.translations: got 'de.csv', accepted: a table"),
        ("finetune.epochs=many",
         "override 'finetune.epochs=many': finetune.epochs: got 'many', accepted: a whole number"),
        ("prepare.translations.de=3",
         "override 'prepare.translations.de=3': prepare.translations.de: got 3, accepted: text"),
        ("encoder.pth=x", "override 'encoder.pth=x': unknown key encoder.pth (did you mean path?)"),
    ],
)  # fmt: skip
def test_an_override_of_another_type_is_named(override, told, tmp_path):
    path = tmp_path / "t.toml"
    path.write_text('[encoder]\npath = "e"\n')
    with pytest.raises(ValueError, match=f"^{re.escape(told)}"):
        load(str(path), ["finetune.seeds=[1]", override])
    path.write_text('[encoder]\npath = "e"\n[finetune]\nepochs = "many"\n')
    with pytest.raises(ValueError, match=r"t.toml: finetune.epochs: got 'many', accepted: a whole number"):
        load(str(path), ["finetune.seeds=[1]"])


def test_blanks_around_the_sign_of_an_override_are_no_part_of_it():
    found = load("demo", ["finetune.epochs = 7", "prepare.raw = mine.csv"])
    assert (found.finetune.epochs, found.prepare.raw) == (7, "mine.csv")
