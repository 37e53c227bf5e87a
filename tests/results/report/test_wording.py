import math

from mcbert.results.report import wording


def test_the_mean_is_named_by_what_it_is_over():
    assert wording.spoken("mean") == "mean over target languages"
    assert wording.spoken("de") == "de"


def test_numbers_are_rounded_once_and_say_when_unknown():
    assert wording.percent(0.6645) == "66.5"
    assert wording.points(-0.0131) == "\u22121.3"
    assert wording.points(0.02) == "+2.0"
    assert wording.points(0.0123, 2) == "+1.23"
    assert wording.points(-0.0001) == wording.points(0.0) == "0.0"
    assert wording.percent(math.nan) == wording.points(math.nan) == "\u2013"
