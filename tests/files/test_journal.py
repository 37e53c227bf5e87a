import os
import zlib

import pytest

from mcbert.files.journal import Journal, decode, encode, scan


def flip(path, position, bit=0):
    content = bytearray(path.read_bytes())
    content[position] ^= 1 << bit
    path.write_bytes(content)


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
    with pytest.raises(ValueError, match="line 1 .*record"):
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


def test_a_damaged_line_is_left_out_and_only_that_line(tmp_path, caplog):
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        for k in range(5):
            journal.append({"start": k})
    data = path.read_bytes()
    size = len(data) // 5
    for position in range(4 * size):
        for bit in (0, 3, 7):
            path.write_bytes(data)
            flip(path, position, bit)
            hit = position // size
            lost = {hit, hit + 1} if position % size == size - 1 else {hit}  # a newline joins two lines
            assert [r["start"] for r in scan(path.read_bytes()).records] == sorted(set(range(5)) - lost)
    path.write_bytes(data)
    flip(path, 3 * size + 20)
    with Journal(path) as journal:
        journal.append({"start": 9})
    assert "a.journal: line 4 is damaged and is left out" in caplog.text
    assert [r["start"] for r in scan(path.read_bytes()).records] == [0, 1, 2, 4, 9]


@pytest.mark.parametrize(
    "torn", [b'{"crc32":"00', b"\0" * 300, b"\0" * 30 + b'},"row":1}\n', b'{"crc32":"x\n\n']
)
def test_what_a_power_cut_leaves_of_the_first_line_is_cut_off(tmp_path, torn):
    path = tmp_path / "a.journal"
    path.write_bytes(torn)
    with Journal(path) as journal:
        assert journal.records == []
        journal.append({"start": 0})
    assert scan(path.read_bytes()).records == [{"start": 0}]


def test_readers_neither_lock_nor_cut(tmp_path):
    path = tmp_path / "a.journal"
    with Journal(path) as journal:
        journal.append({"start": 0})
        path.write_bytes(path.read_bytes() + b'{"crc')
        found = scan(path.read_bytes())
        assert (found.records, found.damaged, found.end) == ([{"start": 0}], [], len(path.read_bytes()) - 5)


def test_a_short_write_does_not_spoil_the_next_record(tmp_path, monkeypatch):
    with Journal(tmp_path / "a") as journal:
        journal.append({"start": 0})
        write = os.write
        monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:-3]))
        with pytest.raises(OSError, match="is the disk full"):
            journal.append({"start": 1})
        monkeypatch.undo()
        journal.append({"start": 2})
        assert journal.records == [{"start": 0}, {"start": 2}]
    assert scan((tmp_path / "a").read_bytes()) == (
        [{"start": 0}, {"start": 2}],
        [],
        2 * len(encode({"start": 0})),
    )


def test_reset_takes_every_record_back(tmp_path):
    with Journal(tmp_path / "a") as journal:
        journal.append({"start": 0})
        journal.reset()
        assert journal.records == []
        journal.append({"start": 1})
    assert scan((tmp_path / "a").read_bytes()).records == [{"start": 1}]


@pytest.mark.parametrize("body", [b"[1]", b"1", b'{"a":', b"[" * 100_000])
def test_a_line_with_a_right_checksum_that_is_no_record(body):
    line = b'{"crc32":"%08x","row":%s}\n' % (zlib.crc32(body), body)
    assert decode(line) is None
