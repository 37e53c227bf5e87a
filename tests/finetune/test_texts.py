import pytest

from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.texts import DevTexts, require_protocol

SOURCE_ONLY = [("train", "en"), ("dev", "en"), ("test", "de"), ("test", "zh"), ("dev", "de")]
WHOLE = [*SOURCE_ONLY, ("dev", "zh")]


def require(rows, freezes=True, **settings):
    require_protocol(FinetuneSettings(**settings), DevTexts.of(rows, "en"), freezes=freezes)


def test_dev_texts_of_every_target_language_are_needed():
    said = r"^finetune\.protocol: got target-dev, but the corpus has no dev rows of 'zh'; accepted: last, so"
    with pytest.raises(ValueError, match=said):
        require(SOURCE_ONLY, protocol="target-dev")
    with pytest.raises(ValueError, match="got target-dev, .*source language only"):
        require(SOURCE_ONLY[:2], protocol="target-dev")
    require(WHOLE, protocol="target-dev")
    for protocol in ("last", "source-dev"):
        require(SOURCE_ONLY, protocol=protocol)


def test_a_rule_that_watches_needs_them_where_something_freezes():
    watching = {"freeze_rule": "plateau", "freeze_groups": ((1,),), "freeze_watch": "target-dev"}
    with pytest.raises(ValueError, match=r"^finetune\.freeze_watch: got target-dev, .* accepted: source-dev"):
        require(SOURCE_ONLY, **watching)
    require(SOURCE_ONLY, freezes=False, **watching)
    require(WHOLE, **watching)
