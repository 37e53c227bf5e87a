"""Protocols and ties: which protocol a search can choose by, and its winner."""

import logging
from fractions import Fraction

import numpy as np
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.search.selection import merit, rank, scored_languages, settle_protocol, tie_break
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
    rows = {c.id: {"log_loss": dict.fromkeys(scores, 0.5), "agreement": {}} for c, scores in dev.items()}
    return rank(candidates, found, rows, protocol=protocol, source_language="en", target_languages=targets)


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


def test_ties_of_labels_go_to_the_lower_log_loss_on_the_same_dev_texts():
    dev = {A.id: {"en": right(9), "de": right(4)}, B.id: {"en": right(9), "de": right(4)}}
    where = {"source_language": "en", "target_languages": ("de",)}
    rows = {
        A.id: {"log_loss": {"en": 0.30, "de": 1.0}, "agreement": {}},
        B.id: {"log_loss": {"en": 0.29, "de": 1.1}, "agreement": {}},
    }
    assert [c for c, _ in rank([A, B], dev, rows, protocol="source-dev", **where)] == [B, A]
    assert [c for c, _ in rank([A, B], dev, rows, protocol="target-dev", **where)] == [A, B]
    rows[A.id] = rows[B.id]
    assert [c for c, _ in rank([B, A], dev, rows, protocol="source-dev", **where)] == [A, B]


def agreement_row(loss, **agreement):
    return {"log_loss": {"en": loss, "de": 9.0, "zh": 9.0}, "agreement": agreement}


def test_agreement_ranks_by_the_mean_agreement_less_the_log_loss_of_the_source():
    c = candidate((8,))
    rows = {
        A.id: agreement_row(0.5, de=0.4, zh=0.6),
        B.id: agreement_row(0.1, de=0.2, zh=0.2),
        c.id: agreement_row(0.6, de=0.9),  # the mean of the languages that have pairs
    }
    dev = {name: {"en": right(5)} for name in rows}
    found = rank([A, B, c], dev, rows, protocol="agreement", source_language="en", target_languages=("de",))
    assert [c for c, _ in found] == [c, B, A]
    assert [score for _, score in found] == pytest.approx([0.3, 0.1, 0.0])
    rows[c.id] = agreement_row(0.6)
    found = rank([A, B, c], dev, rows, protocol="agreement", source_language="en", target_languages=("de",))
    assert [c for c, _ in found] == [B, A]


def test_the_merit_of_each_protocol_is_in_nats_of_its_own_dev_texts():
    row = agreement_row(0.5, de=0.4, zh=0.6)
    assert merit(row, "agreement", "en", ("de", "zh")) == pytest.approx(0.0)
    assert merit(row, "source-dev", "en", ("de", "zh")) == -0.5
    assert merit(row, "target-dev", "en", ("de", "zh")) == -9
    assert merit(row, "target-dev", "en", ("de", "ur")) is None
    assert merit(row, "target-dev", "en", ()) is None
    assert merit(row, "last", "en", ("de", "zh")) is None
    assert merit({"log_loss": {}, "agreement": {}}, "source-dev", "en", ()) is None
    assert merit(agreement_row(0.5), "agreement", "en", ("de",)) is None


def test_failed_candidates_have_no_place():
    order = rank(
        [A, B], {B.id: {"en": right(1)}}, {}, protocol="last", source_language="en", target_languages=()
    )
    assert order == [(B, None)]


def protocol(given, languages, dev, pairs=()):
    return settle_protocol(GridsearchSettings(protocol=given), languages, dev, pairs, "texts.csv").protocol


@pytest.mark.parametrize("pairs", [{"de", "zh"}, {"zh"}, {"zh", "ur"}])
def test_agreement_where_any_target_language_has_pairs(pairs, caplog):
    assert protocol("auto", ("en", "de", "zh"), {"en", "de", "zh"}, pairs) == "agreement"
    assert not caplog.records


@pytest.mark.parametrize("dev", [{"en"}, {"en", "de"}, {"en", "de", "zh"}])
@pytest.mark.parametrize("pairs", [(), {"ur"}])
def test_else_source_dev_never_target_dev_and_a_line_says_so(dev, pairs, caplog):
    caplog.set_level(logging.WARNING)
    assert protocol("auto", ("en", "de", "zh"), dev, pairs) == "source-dev"
    (record,) = caplog.records
    assert "texts.csv has no translations of its en dev texts" in record.getMessage()
    assert "gridsearch.parallel" in record.getMessage()


def test_without_a_target_language_source_dev_needs_no_warning(caplog):
    assert protocol("auto", ("en",), {"en"}) == "source-dev"
    assert not caplog.records


@pytest.mark.parametrize("given", ["source-dev", "last"])
def test_what_is_named_stays(given, caplog):
    assert protocol(given, ("en", "de"), {"en"}, {"de"}) == given
    assert not caplog.records


@pytest.mark.parametrize(
    ("given", "languages", "dev", "message"),
    [
        ("target-dev", ("en",), {"en"}, r"'target-dev' with no language but 'en' in texts.csv"),
        ("target-dev", ("en", "de"), {"en"}, r"texts.csv: language 'de': got no dev rows, .* or another"),
        ("source-dev", ("en", "de"), {"de"}, r"language 'en': got no dev rows, .*source-dev: at least one$"),
        ("auto", ("en",), set(), r"language 'en': got no dev rows"),
        ("agreement", ("en", "de"), {"en"}, r"no translations of 'en' dev texts .*gridsearch.parallel"),
    ],
)
def test_a_protocol_without_its_texts_is_refused(given, languages, dev, message):
    with pytest.raises(ValueError, match=message):
        protocol(given, languages, dev)


def test_only_languages_that_are_scored_count():
    settings = GridsearchSettings(target_languages=("de",))
    assert scored_languages(settings, ("en", "de", "zh")) == ("en", "de")
