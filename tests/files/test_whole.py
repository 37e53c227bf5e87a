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


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "old").write_text("x")
    with files.writing_folder(folder) as beside:
        (beside / "new").write_text("y")
        assert [p.name for p in folder.iterdir()] == ["old"]
    assert [p.name for p in folder.iterdir()] == ["new"]
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_fails_leaves_the_old_one(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(ZeroDivisionError), files.writing_folder(folder) as beside:
        (beside / "new").write_text("y")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == [folder]
    assert list(folder.iterdir()) == []


def test_the_checksum_of_several_files_depends_on_names_sizes_and_order(tmp_path):
    a, b = tmp_path / "a", tmp_path / "b"
    a.write_bytes(b"abc")
    b.write_bytes(b"")
    assert files.sha256_of_all([a, b]) == hashlib.sha256(b"a:3\nabcb:0\n").hexdigest()
    assert files.sha256_of_all([b, a]) != files.sha256_of_all([a, b])
