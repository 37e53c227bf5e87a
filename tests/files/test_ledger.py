"""The ledger keeps every whole row, drops a torn one, and refuses another search."""

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcbert.files.ledger import Ledger, retry_errors

IDENTITY = {"version": 1, "layers": (5, 6), "features": "abc"}


def row(number, text=""):
    return {"candidate_id": f"c{number}", "status": "ok", "message": text, "matrices": {"en": [[1, 2]]}}


def fill(path, n, identity=IDENTITY):
    with Ledger(path, identity) as ledger:
        for number in range(n):
            ledger.append([row(number)])


def test_rows_come_back_in_order_with_their_values(tmp_path):
    fill(tmp_path / "l", 3)
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        assert list(ledger.rows) == ["c0", "c1", "c2"]
        assert ledger.rows["c1"] == row(1)
        ledger.append([row(3)])
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        assert len(ledger.rows) == 4


def test_a_known_candidate_is_not_written_again(tmp_path):
    path = tmp_path / "l"
    fill(path, 2)
    size = path.stat().st_size
    with Ledger(path, IDENTITY) as ledger:
        ledger.append([row(1, "other")])
        assert ledger.rows["c1"]["message"] == ""
    assert path.stat().st_size == size


def failed(number):
    return {"candidate_id": f"c{number}", "status": "error", "message": "no luck", "matrices": {}}


def test_candidates_that_failed_run_again_when_told_and_only_then(tmp_path):
    path = tmp_path / "l"
    assert retry_errors(path) == 0
    assert not path.exists()
    with Ledger(path, IDENTITY) as ledger:
        ledger.append([row(0), failed(1), failed(2)])
        ledger.append([row(1)])
    with Ledger(path, IDENTITY) as ledger:
        assert list(ledger.rows.values()) == [row(0), failed(1), failed(2)]
    assert retry_errors(path) == 2
    with Ledger(path, IDENTITY) as ledger:
        assert list(ledger.rows.values()) == [row(0)]
        ledger.append([row(1)])
        ledger.append([failed(2)])
    with Ledger(path, IDENTITY) as ledger:
        assert list(ledger.rows.values()) == [row(0), row(1), failed(2)]
    assert retry_errors(path) == 1
    fill(path, 3)
    size = path.stat().st_size
    assert retry_errors(path) == 0
    assert path.stat().st_size == size


def test_a_ledger_in_use_is_not_marked(tmp_path):
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        ledger.append([failed(0)])
        with pytest.raises(ValueError, match="another process is writing this file"):
            retry_errors(tmp_path / "l")


def test_a_finished_task_is_on_the_disk_before_the_next_one(tmp_path, monkeypatch):
    calls = []
    write, sync = os.write, os.fdatasync
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        monkeypatch.setattr(os, "write", lambda file, data: calls.append("write") or write(file, data))
        monkeypatch.setattr(os, "fdatasync", lambda file: calls.append("sync") or sync(file))
        ledger.append([row(0), row(1)])
        assert calls == ["write", "write", "sync"]
        ledger.append([row(2)])
        assert calls[3:] == ["write", "sync"]
        monkeypatch.undo()


def test_each_row_is_one_write(tmp_path, monkeypatch):
    calls = []
    write = os.write
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        monkeypatch.setattr(os, "write", lambda file, data: calls.append(data) or write(file, data))
        ledger.append([row(0)])
        monkeypatch.undo()
    assert len(calls) == 1
    assert calls[0].endswith(b"}\n")


def test_a_short_write_is_an_error(tmp_path, monkeypatch):
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        monkeypatch.setattr(os, "write", lambda _file, data: len(data) - 1)
        with pytest.raises(OSError, match="is the disk full"):
            ledger.append([row(0)])
        monkeypatch.undo()


def test_cut_at_every_byte_keeps_all_whole_rows_before(tmp_path):
    path = tmp_path / "l"
    fill(path, 3)
    content = path.read_bytes()
    ends = [position + 1 for position, byte in enumerate(content) if byte == ord("\n")]
    for cut in [*range(0, len(content), 3), *ends, *(end - 1 for end in ends), *(end + 1 for end in ends)]:
        path.write_bytes(content[:cut])
        with Ledger(path, IDENTITY) as ledger:
            whole = sum(end <= cut for end in ends[1:])
            assert list(ledger.rows) == ["c0", "c1", "c2"][:whole]
            for number in range(3):
                ledger.append([row(number)])
        assert path.read_bytes() == content


@given(position=st.integers(0, 10_000), bit=st.integers(0, 7))
@settings(max_examples=60)
def test_a_flipped_bit_never_gives_a_wrong_row(tmp_path_factory, position, bit):
    path = tmp_path_factory.mktemp("flip") / "l"
    fill(path, 4)
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= 1 << bit
    path.write_bytes(content)
    try:
        with Ledger(path, IDENTITY) as ledger:
            assert all(ledger.rows[name] == row(int(name[1:])) for name in ledger.rows)
    except ValueError as error:
        assert "move the file away" in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"layers": (5, 7)},
            r"holds another search: layers was \[5, 6\], now \[5, 7\]; use another run name",
        ),
        ({"features": "xyz"}, r'features was "abc", now "xyz"'),
        ({"seed": 1}, r"seed was null, now 1"),
    ],
)
def test_another_search_is_refused_by_what_differs(tmp_path, change, message):
    path = tmp_path / "l"
    fill(path, 2)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=message):
        Ledger(path, IDENTITY | change)
    assert path.read_bytes() == before
    fill(path, 2)  # and it is neither locked nor spoilt


def test_an_identity_that_lost_a_key_is_refused(tmp_path):
    fill(tmp_path / "l", 1)
    with pytest.raises(ValueError, match="layers was"):
        Ledger(tmp_path / "l", {"version": 1, "features": "abc"})


def test_a_file_that_is_no_ledger_is_left_alone(tmp_path):
    path = tmp_path / "l"
    path.write_text("my notes\nof yesterday\n")
    with pytest.raises(ValueError, match="line 1 is not a whole record of ours"):
        Ledger(path, IDENTITY)
    assert path.read_text() == "my notes\nof yesterday\n"


def test_two_writers_are_refused(tmp_path):
    with (
        Ledger(tmp_path / "l", IDENTITY),
        pytest.raises(ValueError, match="another process is writing this file"),
    ):
        Ledger(tmp_path / "l", IDENTITY)


def test_line_separators_inside_a_row_do_not_split_it(tmp_path):
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        ledger.append([row(0, "a\u2028b\x0bc\x85d\re\nf")])
    with Ledger(tmp_path / "l", IDENTITY) as ledger:
        assert ledger.rows["c0"]["message"] == "a\u2028b\x0bc\x85d\re\nf"


def test_a_ledger_that_is_a_link_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"mine")
    (tmp_path / "gridsearch.jsonl").symlink_to(tmp_path / "mine")
    with pytest.raises(OSError, match="it is a link"):
        Ledger(tmp_path / "gridsearch.jsonl", {})
    (tmp_path / "gridsearch.jsonl").unlink()
    (tmp_path / "gridsearch.jsonl").symlink_to(tmp_path / "gone")
    with pytest.raises(OSError, match="it is a link"):
        Ledger(tmp_path / "gridsearch.jsonl", {})
    assert (tmp_path / "mine").read_bytes() == b"mine"
    assert not (tmp_path / "gone").exists()
