import os
import shutil

import pytest

from mcbert.features.cache import StoreError, caches, describe, locked, remove
from tests.features.cache.conftest import Made
from tests.features.cache.damage import flip

NAMES = ("00000000000000aa", "00000000000000ab", "ffffffffffffffff")


@pytest.fixture
def root(made, tmp_path):
    """Three caches: whole, unfinished with one unit, whole; begun in another order than they are named."""
    root = tmp_path / "caches"
    for name, when in zip(NAMES, ("03", "01", "02"), strict=True):
        made.begin(root / name, created=f"2026-01-{when}T00:00:00+00:00")
    made.fill(root / NAMES[0])
    made.write(root / NAMES[1], most=1)
    made.fill(root / NAMES[2])
    (root / "notes.txt").write_text("mine")
    (root / "other").mkdir()
    return root


def test_caches_come_by_the_time_that_they_were_begun_whatever_the_files_say(root):
    for k, name in enumerate(NAMES):
        os.utime(root / name / "identity.json", (k, k))
        os.utime(root / name, (k, k))
    assert [info.digest for info in caches(root)] == [NAMES[1], NAMES[2], NAMES[0]]


def test_what_is_known_of_a_cache(root):
    info = describe(root / NAMES[0])
    assert (info.state, info.n_texts, info.layers) == ("whole", 7, (2, 5))
    assert (info.encoder, info.corpus, info.created[:7]) == ("samples/encoder", "texts.csv", "2026-01")
    assert info.n_bytes >= sum(path.stat().st_size for path in (root / NAMES[0]).iterdir())
    assert describe(root / NAMES[1]).state == "unfinished"
    assert describe(root / NAMES[1]).n_texts == 2


def test_no_caches(tmp_path):
    assert caches(tmp_path / "nowhere") == []
    assert caches(tmp_path) == []


def test_damage_shows(root):
    flip(root / NAMES[0] / "index.npy", 3)
    assert describe(root / NAMES[0]).state.startswith("damaged: ")
    flip(root / NAMES[1] / "identity.json", 3)
    assert describe(root / NAMES[1]).state.startswith("damaged: ")
    (root / NAMES[2] / "identity.json").unlink()
    assert describe(root / NAMES[2]).state == "of another version: no identity.json"
    assert describe(root / NAMES[2]).n_texts == 7
    (root / NAMES[1] / "unit-000000000.h5").write_text("mine\n")
    assert describe(root / NAMES[1]).n_texts == 0


def test_a_cache_that_is_being_written_says_by_whom(root):
    with locked(root / NAMES[1]):
        assert describe(root / NAMES[1]).state.startswith(f"being written by process {os.getpid()} on")
    assert describe(root / NAMES[1]).state == "unfinished"


@pytest.mark.parametrize("digest", [NAMES[2], "f", "ffffff", NAMES[2] + "0123"])
def test_remove_takes_a_digest_or_what_begins_only_it(root, digest):
    assert remove(root, digest) == root / NAMES[2]
    assert [info.digest for info in caches(root)] == [NAMES[1], NAMES[0]]
    assert sorted(path.name for path in root.iterdir()) == sorted([*NAMES[:2], "notes.txt", "other"])


@pytest.mark.parametrize(
    ("digest", "said"),
    [
        ("0", "found 00000000000000aa, 00000000000000ab"),
        ("abc", "found none"),
        ("", "got '', accepted: the first digits"),
        ("../caches/ffffffffffffffff", "accepted: the first digits of a cache's digest"),
        ("/etc", "accepted: the first digits"),
        (".", "accepted: the first digits"),
        ("other", "accepted: the first digits"),
        ("F", "accepted: the first digits"),
    ],
)
def test_remove_refuses_what_is_not_one_cache(root, digest, said):
    with pytest.raises(StoreError, match=f"--remove: .*{said}"):
        remove(root, digest)
    assert len(caches(root)) == 3


def test_remove_follows_no_link(root, tmp_path):
    shutil.move(root / NAMES[2], tmp_path / "elsewhere")
    (root / NAMES[2]).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="not removed: a link to elsewhere"):
        remove(root, NAMES[2])
    assert (tmp_path / "elsewhere" / "manifest.json").exists()
    outside = tmp_path / "precious"
    outside.mkdir()
    (outside / "file").touch()
    (root / NAMES[0] / "link").symlink_to(outside)
    remove(root, NAMES[0])
    assert (outside / "file").exists()


def test_remove_refuses_a_cache_that_is_being_written(root):
    with locked(root / NAMES[1]), pytest.raises(StoreError, match="another extraction is writing this cache"):
        remove(root, NAMES[1])
    assert len(caches(root)) == 3


def test_what_a_killed_removal_left_goes_with_the_next(root):
    (root / NAMES[0]).rename(root / f".removed-{NAMES[0]}-1")
    assert len(caches(root)) == 2
    remove(root, "f")
    assert not list(root.glob(".removed*"))


def test_a_removed_cache_can_be_made_anew(root):
    made = Made.of(0, 2, 4, 6, 7)
    remove(root, NAMES[0])
    made.fill(root / NAMES[0])
    made.expect(root / NAMES[0])
