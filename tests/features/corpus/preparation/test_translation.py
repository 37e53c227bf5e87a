"""Machine translation: each sentence once, and a killed run ends as one that was left alone."""

import itertools
import json
import time

import pytest
import torch

from mcbert.features.corpus.preparation import translation
from mcbert.features.corpus.preparation.translation import MachineTranslation
from mcbert.features.corpus.settings import PrepareSettings
from mcbert.features.encoder.files import EncoderError
from tests import processes
from tests.conftest import WORDS
from tests.translators import CODES, save_marian, save_nllb

SENTENCES = [" ".join(words) for words in itertools.permutations(WORDS[:5], 3)] + [
    "a",
    "cancel it now please",
]


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return save_marian(tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="module")
def nllb(tmp_path_factory):
    return save_nllb(tmp_path_factory.mktemp("nllb"))


def use_small_batches(monkeypatch):
    monkeypatch.setattr(translation, "HYPOTHESIS_TOKENS", {"cpu": 32, "cuda": 32})


def settings(folder, **changes):
    return PrepareSettings(
        **{"translator": {"de": str(folder)}, "beams": 1, "translation_length": 16, **changes}
    )


def machine(folder, cache, track=None, **changes):
    shown = {} if track is None else {"track": track}
    return MachineTranslation(settings(folder, **changes), "en", cache, **shown)


def records(cache):
    (path,) = (cache / "translations").glob("*.jsonl")
    return [json.loads(line)["row"] for line in path.read_text().splitlines()]


class Seen:
    """Notes what progress was shown, and how many batches were run."""

    def __init__(self):
        self.totals = []

    def __call__(self, items, total, description):
        self.totals.append((total, description))
        return items


def test_each_distinct_sentence_is_translated_once(marian, tmp_path, monkeypatch):
    use_small_batches(monkeypatch)
    seen = Seen()
    translate = machine(marian, tmp_path, seen)
    out = translate(SENTENCES + SENTENCES[::-1], "en", "de")
    assert out == out[::-1]
    assert len(set(out[: len(SENTENCES)])) > len(SENTENCES) / 2
    kept = [text for record in records(tmp_path)[1:] for text in record["texts"]]
    assert len(kept) == len(set(kept)) == len(SENTENCES)
    ((batches, description),) = seen.totals
    assert batches == len(records(tmp_path)) - 1 > 5
    assert description == "translate en-de (batches)"


def test_what_is_known_is_not_translated_again(marian, tmp_path, monkeypatch):
    first = machine(marian, tmp_path)(SENTENCES, "en", "de")
    monkeypatch.setattr(
        "mcbert.features.encoder.translator.Translator.__init__", None
    )  # nothing is even loaded
    assert machine(marian, tmp_path)(SENTENCES[::-1], "en", "de") == first[::-1]


def test_a_grown_corpus_keeps_its_translations(marian, tmp_path, monkeypatch):
    use_small_batches(monkeypatch)
    first = machine(marian, tmp_path)(SENTENCES[:40], "en", "de")
    seen = Seen()
    again = machine(marian, tmp_path, seen)(SENTENCES, "en", "de")
    assert again[:40] == first
    assert 0 < seen.totals[0][0] < len(records(tmp_path))
    assert again == machine(marian, tmp_path / "other")(SENTENCES, "en", "de")


def test_pairs_of_texts_keep_apart(nllb, tmp_path):
    both = {"*": str(nllb)}
    codes = dict(zip(("en", "de", "fr"), CODES, strict=True))
    translate = machine(nllb, tmp_path, translator=both, source_translator=both, translator_codes=codes)
    made = [translate(SENTENCES[:4], *pair) for pair in (("en", "de"), ("en", "fr"), ("de", "en"))]
    assert made[0] != made[1]
    assert made[0] != made[2]
    assert len(list((tmp_path / "translations").iterdir())) == 3


@pytest.mark.parametrize(
    "change", [{"beams": 2}, {"translation_length": 17}, {"translator_codes": {"de": "x"}}]
)
def test_what_decides_a_translation_is_part_of_its_identity(marian, tmp_path, change):
    before = machine(marian, tmp_path).identity("en", "de")
    assert machine(marian, tmp_path, **change).identity("en", "de") != before
    assert machine(marian, tmp_path, seed=1).identity("en", "de") == before


def test_another_model_translates_anew(marian, tmp_path):
    other = save_marian(tmp_path / "model", seed=1)
    first = machine(marian, tmp_path)(SENTENCES, "en", "de")
    assert machine(other, tmp_path)(SENTENCES, "en", "de") != first


def test_cut_sentences_are_counted(marian, tmp_path, caplog):
    machine(marian, tmp_path)(["a", " ".join(["money"] * 40)], "en", "de")
    assert "1 sentences are longer than prepare.translation_length, 16 tokens, and are cut" in caplog.text


def test_the_setting_that_names_a_model(tmp_path):
    chosen = PrepareSettings(
        translator={"de": "a", "*": "b"},
        source_translator={"fr": "c"},
        translator_codes={"de": "x", "it": "y"},
    )
    named = MachineTranslation(chosen, "en", tmp_path)
    assert named.name("en", "de") == ("prepare.translator.de", "a")
    assert named.name("en", "it") == ("prepare.translator.*", "b")
    assert named.name("fr", "en") == ("prepare.source_translator.fr", "c")
    assert named.name("it", "en") == ("prepare.source_translator.it", "")
    assert named.codes("en", "it") == ("en", "y")
    assert named.codes("de", "en") is None


def test_a_model_that_is_not_there_is_named_by_its_setting(tmp_path):
    with pytest.raises(EncoderError, match=r"^prepare.translator.de: 'no/such'"):
        machine("no/such", tmp_path)(["a"], "en", "de")


@pytest.mark.parametrize(
    "record",
    [{}, {"identity": 3}, {"texts": []}, {"texts": None}, {"texts": {"a": 3}}, {"texts": {"a": ["b"] * 99}}],
)
def test_a_record_of_another_make_is_told(marian, tmp_path, record):
    from mcbert.files.journal import Journal

    machine(marian, tmp_path)(["a"], "en", "de")
    (path,) = (tmp_path / "translations").iterdir()
    with Journal(path) as journal:
        journal.append(record)
    with pytest.raises(ValueError, match=rf"^{path}: record 3: got .{{2,40}}, accepted: "):
        machine(marian, tmp_path)(["b"], "en", "de")


def test_a_journal_that_is_a_link_is_not_followed(marian, tmp_path):
    machine(marian, tmp_path)(["a"], "en", "de")
    (path,) = (tmp_path / "translations").iterdir()
    path.rename(tmp_path / "mine")
    path.symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="a link, which is not followed"):
        machine(marian, tmp_path)(["a"], "en", "de")


def test_another_process_at_the_same_journal_is_told(marian, tmp_path):
    from mcbert.files.journal import Journal

    machine(marian, tmp_path)(["a"], "en", "de")
    (path,) = (tmp_path / "translations").iterdir()
    with Journal(path), pytest.raises(ValueError, match="another process is writing this file"):
        machine(marian, tmp_path)(["a"], "en", "de")


def translate(folder, cache, said, stop_after=None):
    """Translate in small batches; note each, and the result; stand still after one."""
    torch.set_num_threads(1)
    translation.HYPOTHESIS_TOKENS = {"cpu": 32, "cuda": 32}

    def track(items, total, description):
        for number, item in enumerate(items):
            yield item
            with said.open("a") as file:
                file.write("batch\n")
            while number == stop_after:
                time.sleep(1)

    settings = PrepareSettings(translator={"de": str(folder)}, beams=2, translation_length=16)
    made = MachineTranslation(settings, "en", cache, track=track)(SENTENCES, "en", "de")
    with said.open("a") as file:
        file.write(json.dumps(made))


@pytest.mark.slow
@pytest.mark.parametrize("batches", [1, 7])
def test_killed_in_the_middle_it_goes_on_and_ends_the_same_to_the_bit(marian, tmp_path, batches):
    def start(name, log, stop_after=None):
        return processes.begin(translate, marian, tmp_path / name, tmp_path / log, stop_after)

    processes.finish(start("whole", "whole.log"))
    child = start("killed", "killed.log", batches)
    while not (log := tmp_path / "killed.log").exists() or log.read_text().count("\n") <= batches:
        assert child.is_alive()
        time.sleep(0.001)
    child.kill()
    child.join()
    (path,) = (tmp_path / "killed" / "translations").iterdir()
    done = path.read_bytes()
    assert done.count(b"\n") == batches + 2
    path.write_bytes(done + done[-40:-9])  # and a record torn by the kill
    processes.finish(start("killed", "resumed.log"))
    expected, resumed = ((tmp_path / log).read_text().splitlines() for log in ("whole.log", "resumed.log"))
    assert resumed[-1] == expected[-1]
    assert len(resumed) == len(expected) - batches - 1
    (other,) = (tmp_path / "whole" / "translations").iterdir()
    assert path.read_bytes() == other.read_bytes()
