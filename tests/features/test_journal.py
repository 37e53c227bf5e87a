import pytest

from features.journal import Journal, decode, encode


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
