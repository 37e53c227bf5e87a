import re

import pytest

from mcbert.pipeline.config import Config, load
from mcbert.results.conclusions.claims import CLAIMS


def test_the_eight_conclusions_are_claimed_in_the_paper_s_order():
    numbers = [claim.number for claim in CLAIMS.values()]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, 9))
    assert len({claim.words for claim in CLAIMS.values()}) == len(CLAIMS)


@pytest.mark.parametrize("name", CLAIMS)
def test_the_settings_named_are_settings(name):
    config = load("demo")
    assert isinstance(config, Config)
    named = re.findall(r"([a-z]\w+)\.([a-z]\w+)(?:\.(\w+))?", CLAIMS[name].tested_by)
    assert named
    for section, setting, key in named:
        value = getattr(getattr(config, section), setting)
        assert not key or key in value


def test_settings_tried_by_the_demo_test_what_they_are_said_to_test():
    tune = load("demo").tune
    assert tune.method == "each"
    assert (tune.values["dropout"], tune.values["head_layers"]) == ((0.0,), (1,))
