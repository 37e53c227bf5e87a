"""Which protocol is taken where none is named, and what is refused."""

import logging

import pytest

from mcbert.search.protocol import scored, settled
from mcbert.search.space import GridsearchSettings


def protocol(given, languages, dev):
    return settled(GridsearchSettings(protocol=given), languages, dev, "texts.csv").protocol


def test_target_dev_where_all_target_languages_have_dev_texts(caplog):
    assert protocol("auto", ("en", "de", "zh"), {"de", "zh"}) == "target-dev"
    assert not caplog.records


@pytest.mark.parametrize(
    ("languages", "dev", "lack"),
    [
        (("en",), {"en"}, "no target language"),
        (("en", "de", "zh"), {"en", "de"}, "no labelled dev texts of zh"),
        (("en", "de", "zh"), {"en"}, "no labelled dev texts of de, zh"),
    ],
)
def test_else_source_dev_and_a_line_says_so(languages, dev, lack, caplog):
    caplog.set_level(logging.WARNING)
    assert protocol("auto", languages, dev) == "source-dev"
    said = f"gridsearch.protocol: texts.csv has {lack}, so en dev labels alone choose: source-dev"
    assert [record.getMessage() for record in caplog.records] == [said]


@pytest.mark.parametrize("given", ["source-dev", "last"])
def test_what_is_named_stays(given, caplog):
    assert protocol(given, ("en", "de"), {"en"}) == given
    assert not caplog.records


@pytest.mark.parametrize(
    ("given", "languages", "dev", "message"),
    [
        ("target-dev", ("en",), {"en"}, r"'target-dev' with no language but 'en' in texts.csv"),
        ("target-dev", ("en", "de"), {"en"}, r"texts.csv: language 'de': got no dev rows, .* or another"),
        ("source-dev", ("en", "de"), {"de"}, r"language 'en': got no dev rows, .*source-dev: at least one$"),
        ("auto", ("en",), set(), r"language 'en': got no dev rows"),
    ],
)
def test_a_protocol_without_its_texts_is_refused(given, languages, dev, message):
    with pytest.raises(ValueError, match=message):
        protocol(given, languages, dev)


def test_only_languages_that_are_scored_count():
    settings = GridsearchSettings(target_languages=("de",))
    assert scored(settings, ("en", "de", "zh")) == ("en", "de")
