import io
import logging
import sys

from mcbert.pipeline import progress
from mcbert.pipeline.progress import track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_items_pass_through_and_the_end_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        assert list(track(iter("abc"), 3, "work")) == ["a", "b", "c"]
    assert "work: 3/3" in caplog.text
    assert caplog.text.rstrip().endswith("0 s left")


def test_lines_tell_rate_time_left_and_the_note_of_the_moment(caplog, monkeypatch):
    clock = iter([0.0, 4.0, 12.0, 16.0, 24.0])
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    best = [0]
    with caplog.at_level(logging.INFO):
        for item in track(range(1, 5), 4, "work", lambda: f"best {best[0]}"):
            best[0] = item * item
    assert [record.message for record in caplog.records] == [
        "work: 2/4, 0.17/s, 12 s left; best 4",
        "work: 4/4, 0.17/s, 0 s left; best 16",
    ]


def test_a_terminal_gets_a_bar_with_rate_time_left_and_the_note(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    best = []
    for item in track(iter("abc"), 3, "work", lambda: f"best {best[-1]}"):
        best[:] = [item]
    last = terminal.getvalue().replace("\r", "\n").rstrip().splitlines()[-1]
    assert "work: 100%" in last
    assert "3/3" in last
    assert "it/s, best c" in last
