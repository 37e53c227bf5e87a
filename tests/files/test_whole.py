import hashlib

import pytest

from mcbert import files


def test_write_text_replaces_and_leaves_nothing_beside(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("old")
    files.write_text(path, "né\n")
    assert path.read_bytes() == "né\n".encode()
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.csv"
    path.write_text("old")

    def fail(_descriptor):
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_text(path, "new")
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a.csv"]


def test_writers_of_one_file_at_once_leave_what_the_last_of_them_wrote(tmp_path):
    path = tmp_path / "a"
    with files.writing_beside(path) as first:
        first.write(b"first")
        with files.writing_beside(path) as second:
            second.write(b"second")
        assert path.read_bytes() == b"second"
        first.write(b" and last")
    assert path.read_bytes() == b"first and last"
    assert list(tmp_path.iterdir()) == [path]


def test_sha256(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    assert files.sha256(path) == hashlib.sha256(b"abc").hexdigest()


def test_what_the_system_refuses_names_the_file_that_was_asked_for(tmp_path):
    path = tmp_path / "gone" / "table.csv"
    with pytest.raises(OSError, match="cannot be written: No such file or directory") as refused:
        files.write_text(path, "x")
    assert refused.value.filename == str(path)


def test_an_error_of_another_file_stays_its_own(tmp_path):
    with pytest.raises(FileNotFoundError) as refused, files.writing_beside(tmp_path / "table.csv"):
        (tmp_path / "other.csv").read_bytes()
    assert refused.value.filename == str(tmp_path / "other.csv")
    assert list(tmp_path.iterdir()) == []
