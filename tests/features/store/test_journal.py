import os

import pytest

from features.store.journal import Journal, decode, encode


def test_what_was_appended_is_read_back(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        journal.append({"start": 0, "name": "é\t\n"})
        journal.append({"start": 1}, sync=False)
    with Journal(path) as journal:
        assert journal.records == [{"start": 0, "name": "é\t\n"}, {"start": 1}]


def test_cut_at_every_byte_keeps_the_whole_records_and_goes_on(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        for k in range(3):
            journal.append({"start": k})
    data = path.read_bytes()
    line = len(data) // 3
    assert line * 3 == len(data)
    for size in range(len(data) + 1):
        path.write_bytes(data[:size])
        with Journal(path) as journal:
            assert [r["start"] for r in journal.records] == list(range(size // line))
            journal.append({"start": 99})
        with Journal(path) as journal:
            assert journal.records[-1] == {"start": 99}
            assert len(journal.records) == size // line + 1


@pytest.mark.parametrize("bit", range(0, 8))
def test_every_flipped_bit_is_seen(bit):
    line = encode({"start": 12, "crc32": 345})
    for k in range(len(line)):
        damaged = bytearray(line)
        damaged[k] ^= 1 << bit
        assert decode(bytes(damaged)) is None


def test_what_is_no_journal_is_left_alone(tmp_path):
    path = tmp_path / "notes"
    path.write_text("my notes\n")
    with pytest.raises(ValueError, match="line 1 is not a whole record of ours; move the file away"):
        Journal(path)
    assert path.read_text() == "my notes\n"


def test_a_second_writer_is_refused(tmp_path):
    with Journal(tmp_path / "a"), pytest.raises(ValueError, match="another process is writing this file"):
        Journal(tmp_path / "a")


def test_a_record_is_one_write_and_a_short_one_is_an_error(tmp_path, monkeypatch):
    with Journal(tmp_path / "a") as journal:
        monkeypatch.setattr(os, "write", lambda _file, data: len(data) - 1)
        with pytest.raises(OSError, match="is the disk full"):
            journal.append({"start": 0})
        monkeypatch.undo()
    assert Journal(tmp_path / "a").records == []
