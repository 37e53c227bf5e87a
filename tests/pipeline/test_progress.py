import io
import logging
import sys

from mcbert.pipeline import progress
from mcbert.pipeline.progress import counted, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Bar:
    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def update(self):
        pass

    def set_postfix_str(self, text, **_):
        pass


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


def test_what_is_counted_is_a_bar_on_a_terminal_and_nothing_elsewhere(monkeypatch, capsys):
    with counted(5, "texts") as count:
        count(5)
    assert capsys.readouterr() == ("", "")
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with counted(5, "texts") as count:
        count(3)
        count(2)
    assert "texts: 100%" in terminal.getvalue()
    assert "5/5" in terminal.getvalue()


def test_a_notebook_gets_a_bar(monkeypatch):
    shown = []
    monkeypatch.setattr(progress.tqdm.autonotebook, "tqdm", object())
    monkeypatch.setattr(progress, "automatic", lambda **given: shown.append(given) or Bar())
    assert list(track(iter("ab"), 2, "work")) == ["a", "b"]
    assert shown == [{"total": 2, "desc": "work", "smoothing": 0.1}]
