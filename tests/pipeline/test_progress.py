import logging

from pipeline.progress import track


def test_items_pass_through_and_the_end_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        assert list(track(iter("abc"), 3, "work")) == ["a", "b", "c"]
    assert "work: 3/3" in caplog.text
    assert "0 s left" in caplog.text
