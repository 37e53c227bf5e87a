import os
import socket

import pytest

from mcbert import files


def place(folder, kind):
    """Put something of a kind in a folder; return its path."""
    path = folder / kind
    if kind == "link":
        (folder / "mine").write_bytes(b"mine")
        path.symlink_to(folder / "mine")
    elif kind == "dangling":
        path.symlink_to(folder / "gone")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    return path


SAID = {
    "link": "a link, which is not followed",
    "dangling": "a link, which is not followed",
    "pipe": "a named pipe",
    "folder": "a folder",
    "socket": "a socket",
}


@pytest.mark.timeout(20)  # a reader of a pipe would wait for ever
@pytest.mark.parametrize("flags", [os.O_RDONLY, os.O_WRONLY, os.O_RDWR | os.O_CREAT])
@pytest.mark.parametrize("kind", SAID)
def test_what_is_no_file_is_refused_by_its_kind(kind, flags, tmp_path):
    path = place(tmp_path, kind)
    with pytest.raises(files.RefusedFileError) as refused:
        files.open_file(path, flags)
    assert (refused.value.filename, refused.value.strerror) == (
        str(path),
        f"it is {SAID[kind]}; accepted: a file",
    )
    assert not (tmp_path / "gone").exists()


def test_a_device_is_refused():
    with pytest.raises(files.RefusedFileError, match="it is a device"):
        files.read_bytes("/dev/zero")


def test_a_file_that_the_user_names_may_be_a_link_but_not_to_a_pipe(tmp_path):
    path = place(tmp_path, "link")
    assert files.read_bytes(path, links=True) == b"mine"
    (tmp_path / "to-pipe").symlink_to(place(tmp_path, "pipe"))
    with pytest.raises(files.RefusedFileError, match="it is a named pipe"):
        files.read_bytes(tmp_path / "to-pipe", links=True)


def test_folders_on_the_way_may_be_links(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "a").write_bytes(b"a")
    (tmp_path / "short").symlink_to(tmp_path / "real")
    assert files.read_bytes(tmp_path / "short" / "a") == b"a"


def test_no_more_is_read_than_asked_for(tmp_path):
    path = tmp_path / "large"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # of no size on the disk
    with pytest.raises(files.RefusedFileError, match="more than 1,000 bytes"):
        files.read_bytes(path, 1000)


def test_what_is_missing_stays_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        files.read_bytes(tmp_path / "gone")


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "socket"])
def test_a_folder_of_files_only_holds_nothing_else_at_any_depth(kind, tmp_path):
    inside = tmp_path / "run" / "a" / "b"
    inside.mkdir(parents=True)
    (inside / "file").touch()
    files.require_own(tmp_path / "run")
    files.require_own(tmp_path / "gone")
    path = place(inside, kind)
    with pytest.raises(files.RefusedFileError, match=SAID[kind]) as refused:
        files.require_own(tmp_path / "run")
    assert refused.value.filename == str(path)


def test_a_folder_may_be_reached_through_a_link_and_hold_none(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "run")
    files.require_own(tmp_path / "latest")
    (tmp_path / "run" / "models").symlink_to(tmp_path)
    with pytest.raises(files.RefusedFileError, match="a link"):
        files.require_own(tmp_path / "latest")


def test_links_to_files_below_a_folder_may_be_accepted(tmp_path):
    """As in the hub's cache: snapshots/REVISION/name -> ../../blobs/CHECKSUM."""
    (tmp_path / "model" / "blobs").mkdir(parents=True)
    (tmp_path / "model" / "blobs" / "abc").touch()
    folder = tmp_path / "model" / "snapshots" / "1"
    folder.mkdir(parents=True)
    (folder / "weights").symlink_to("../../blobs/abc")
    files.require_own(folder, within=tmp_path / "model")
    (folder / "vocab").symlink_to(place(tmp_path, "link"))
    with pytest.raises(files.RefusedFileError, match="a link"):
        files.require_own(folder, within=tmp_path / "model")
