"""Protocols and ties: which protocol a search can choose by, and its winner."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.search.selection import rank, scored_languages, settle_protocol, tie_break
from mcbert.search.settings import GridsearchSettings
from mcbert.search.space import Candidate, Space


def candidate(layers, pooling="max", classifier="ridge", value=1.0):
    return Candidate(
        features=FeatureSpec.of(layers, pooling), classifier=classifier, params=(("alpha", value),)
    )


def right(n, of=10):
    return Fraction(n, of)


def ranked(dev, protocol, targets=("de", "zh")):
    candidates = list(dev)
    found = {c.id: {language: right(n) for language, n in scores.items()} for c, scores in dev.items()}
    return rank(candidates, found, protocol=protocol, source_language="en", target_languages=targets)


A, B = candidate((5,)), candidate((6, 7))


def test_each_protocol_takes_its_own_languages():
    dev = {A: {"en": 9, "de": 2, "zh": 4}, B: {"en": 3, "de": 5, "zh": 3}}
    assert ranked(dev, "source-dev") == [(A, 0.9), (B, 0.3)]
    assert ranked(dev, "target-dev") == [(B, 0.4), (A, 0.3)]
    assert ranked(dev, "target-dev", targets=("zh",)) == [(A, 0.4), (B, 0.3)]


def test_a_language_without_dev_rows_gives_no_ranking():
    dev = {A: {"en": 9, "de": 2}, B: {"en": 3, "de": 5}}
    assert ranked(dev, "target-dev") == []
    assert ranked(dev, "target-dev", targets=()) == []
    assert ranked(dev, "source-dev")[0][0] == A


def test_ties_go_to_fewer_layers_then_lower_layers_then_name():
    expected = [
        candidate((7,)),
        candidate((5, 9)),
        candidate((6, 7), pooling="cls"),
        candidate((6, 7), classifier="lda"),
        candidate((6, 7), classifier="ridge", value=1.0),
        candidate((6, 7), classifier="ridge", value=2.0),
        candidate((10, 11)),
        candidate((1, 2, 3)),
    ]
    dev = {c: {"en": 5, "de": 4, "zh": 6} for c in reversed(expected)}
    assert [c for c, _ in ranked(dev, "target-dev")] == expected
    # another split of the same sum over languages is the same score
    dev[expected[-1]] = {"en": 5, "de": 3, "zh": 7}
    assert [c for c, _ in ranked(dev, "target-dev")] == expected
    assert tie_break(candidate((10, 11))) > tie_break(candidate((6, 7)))


def test_last_is_the_deepest_single_layer_cls_first_classifier_whatever_the_scores():
    settings = GridsearchSettings(layers=(5, 6, 12), classifiers=("lda", "ridge"))
    space = list(Space(settings))
    rng = np.random.default_rng(0)
    dev = {c: {"en": int(rng.integers(10))} for c in space}
    order = ranked(dev, "last")
    assert len(order) == len(space)
    assert all(score is None for _, score in order)
    first, second, third = (c for c, _ in order[:3])
    assert (first.layers, first.pooling, first.classifier) == ((12,), "cls", "lda")
    assert (second.layers, second.pooling, second.classifier) == ((12,), "cls", "ridge")
    assert (third.layers, third.pooling) == ((12,), "max")


def test_failed_candidates_have_no_place():
    order = rank([A, B], {B.id: {"en": right(1)}}, protocol="last", source_language="en", target_languages=())
    assert order == [(B, None)]


def protocol(given, languages, dev):
    return settle_protocol(GridsearchSettings(protocol=given), languages, dev, "texts.csv").protocol


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
    (record,) = caplog.records
    assert lack in record.getMessage()


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
    assert scored_languages(settings, ("en", "de", "zh")) == ("en", "de")
