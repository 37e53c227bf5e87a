import re

import pytest

from mcbert.pipeline.config import load

RAW = '[encoder]\npath = "e"\n[prepare]\nraw = "raw.csv"\n'
PATH = '[encoder]\npath = "e"\n[corpus]\npath = "corpus.csv"\n'
TRANSLATED = ["prepare.transfer=translate-train", "prepare.translator.de=model"]


def written(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize(
    ("text", "override", "told"),
    [
        (RAW, "prepare.train_language=de", 'leave it out (prepare.train_language="")'),
        (RAW, "prepare.translator_codes.de=de",
         "prepare.translator_codes: means nothing without prepare.translator or prepare.source_translator"),
        (RAW, "prepare.beams=2", "leave it out (prepare.beams=4)"),
        (RAW, "prepare.translation_length=9", "leave it out (prepare.translation_length=256)"),
        (RAW, "corpus.format=multinli", "corpus.format: means nothing beside prepare.raw"),
        (PATH, "prepare.seed=3", "prepare.seed: means nothing without prepare.raw; leave it out"),
        (PATH, "prepare.labelled.de=de.csv", "leave it out (prepare.labelled={})"),
        (PATH, "prepare.balance=false", "leave it out (prepare.balance=true)"),
        (PATH, "prepare.dev_fraction=0.2", "leave it out (prepare.dev_fraction=0.135)"),
        (PATH, "prepare.test_fraction=0.2", "leave it out (prepare.test_fraction=0.27)"),
        (PATH, "prepare.language=de", 'leave it out (prepare.language="en")'),
        (PATH, "prepare.translator.de=model", "prepare.translator: means nothing without prepare.raw or"),
    ],
)  # fmt: skip
def test_a_setting_that_would_do_nothing_is_refused(text, override, told, tmp_path):
    with pytest.raises(ValueError, match=re.escape(told)):
        load(written(tmp_path, text), [override])


@pytest.mark.parametrize(
    ("text", "overrides"),
    [
        (RAW, ["prepare.beams=2", "prepare.translator.de=model"]),
        (RAW, ["prepare.seed=3", "prepare.balance=false", "prepare.dev_fraction=0.2"]),
        (RAW, ["prepare.train_translations.de=de.csv", "prepare.train_language=de", *TRANSLATED]),
        (RAW, ["prepare.train_translations.de=de.csv", "prepare.source_translations.de=en.csv"]),
        (PATH, ["prepare.beams=2", *TRANSLATED]),
        (PATH, ["prepare.seed=0", "prepare.balance=true", "prepare.beams=4"]),  # the defaults, said
    ],
)
def test_what_does_something_is_taken(text, overrides, tmp_path):
    load(written(tmp_path, text), overrides)
