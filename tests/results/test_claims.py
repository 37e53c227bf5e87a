import re

import pytest

from pipeline.config import Config, load
from results.claims import CLAIMS, TESTED_BY


def test_every_conclusion_says_what_tests_it():
    assert list(CLAIMS) == list(TESTED_BY) == list(range(1, 9))


@pytest.mark.parametrize("number", TESTED_BY)
def test_the_settings_named_are_settings(number):
    config = load("demo", ["knobs.values.dropout=[0.0]", "knobs.values.head_layers=[1]"])
    assert isinstance(config, Config)
    named = re.findall(r"([a-z]\w+)\.(\w+)(?:\.(\w+))?", TESTED_BY[number])
    assert named
    for section, name, key in named:
        value = getattr(getattr(config, section), name)
        assert not key or key in value
