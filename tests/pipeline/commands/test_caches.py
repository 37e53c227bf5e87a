"""What the commands `verify` and `caches` print, and their exit statuses."""

import dataclasses
from datetime import UTC, datetime, timedelta

import pytest

from mcbert.features.cache import FeatureStore, describe, locked
from mcbert.pipeline.cli import main
from mcbert.pipeline.commands import caches
from tests.features.cache.conftest import Made
from tests.features.cache.damage import flip, place

NAME = "0123456789abcdef"


@pytest.fixture
def made():
    return Made.of(0, 2, 4, 6, 7, layers=(0, 1, 2, 5))


@pytest.fixture
def cache(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return made.fill(tmp_path / "cache" / NAME)


def said(capsys):
    return capsys.readouterr().out.splitlines()


def test_verify_of_a_whole_cache(cache, capsys):
    assert main(["verify", f"cache/{NAME}"]) == 0
    (line,) = said(capsys)
    assert line.startswith(f"cache/{NAME}: whole: 7 texts, ")
    assert line.endswith("kB, no damage")


def test_verify_names_damage_and_repair_leaves_it_to_extract(made, cache, capsys):
    path = cache / "unit-000000004.h5"
    flip(path, place(path, -1 + len(made.spec.datasets)))
    line = f"cache/{NAME}/unit-000000004.h5: layer 5, cls: distinct texts 4-5: the checksum differs"
    assert main(["verify", f"cache/{NAME}"]) == 1
    assert said(capsys) == [line, f"cache/{NAME}: 1 damaged"]
    assert (cache / "manifest.json").exists()
    assert main(["verify", f"cache/{NAME}", "--repair"]) == 1
    assert said(capsys)[2].startswith(f"cache/{NAME}: taken back; run the same extract again")
    assert main(["verify", f"cache/{NAME}"]) == 0
    assert said(capsys)[0].startswith(f"cache/{NAME}: unfinished: 5 texts")
    made.fill(cache)
    assert main(["verify", f"cache/{NAME}"]) == 0
    made.expect(cache)


def test_the_command_that_a_damaged_cache_names_repairs_it(made, cache, capsys):
    flip(cache / "index.npy", 20)
    with pytest.raises(ValueError, match="run: python -m mcbert verify") as caught:
        FeatureStore.open(cache)
    command = str(caught.value).split("run: python -m mcbert ")[1].split()
    assert main(command) == 1
    made.fill(cache)
    made.expect(cache)
    assert "taken back" in capsys.readouterr().out


def test_verify_of_what_is_no_cache(tmp_path, capsys):
    assert main(["verify", str(tmp_path)]) == 2
    assert "mcbert: error: " in capsys.readouterr().err


def test_caches_are_listed_under_a_header(made, cache, capsys):
    (cache.parent / "aaaaaaaaaaaaaaaa").mkdir()
    made.write(cache.parent / "aaaaaaaaaaaaaaaa", most=1)
    assert main(["caches"]) == 0
    header, *rows = said(capsys)
    assert header.split() == list(caches.HEADER)
    assert [row.split()[0] for row in rows] == ["aaaaaaaaaaaaaaaa", NAME]
    assert rows[1][header.index("TEXTS") :].startswith("7 ")
    assert rows[1][header.index("LAYERS") :].startswith("0-2,5 ")
    assert rows[1][header.index("CREATED") :].startswith("2026-01-02 03:04 (")
    assert rows[1][header.index("ENCODER") :].startswith("samples/encoder ")
    assert rows[1][header.index("STATE") :] == "whole"
    assert rows[0][header.index("STATE") :] == "of another version: no identity.json"
    with locked(cache):
        assert main(["caches", "--cache", str(cache.parent)]) == 0
    assert "being written by process" in said(capsys)[2]


def test_a_cache_is_removed_by_what_begins_its_digest(cache, capsys):
    assert main(["caches", "--remove", "012"]) == 0
    assert said(capsys) == [f"removed cache/{NAME}"]
    assert not cache.exists()
    assert main(["caches"]) == 0
    assert said(capsys) == ["cache: no feature caches"]
    assert main(["caches", "--remove", "../cache"]) == 2
    assert "--remove: got '../cache'" in capsys.readouterr().err


def test_names_cannot_steer_the_terminal(made, cache, capsys):
    from mcbert.features.cache import begin

    begin(cache.parent / "aaaaaaaaaaaaaaaa", made.fields, {"encoder": "\x1b[2Jx", "created": "soon"})
    assert main(["caches"]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "?[2Jx" in out


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("n_bytes", 0, " 0 B "),
        ("n_bytes", 999, " 999 B "),
        ("n_bytes", 1000, " 1.0 kB "),
        ("n_bytes", 20_123_456_789, " 20.1 GB "),
        ("n_bytes", 10**19, " 10000.0 PB "),
        ("layers", (), " - "),
        ("layers", (3,), " 3 "),
        ("layers", (0, 1, 2), " 0-2 "),
        ("layers", (0, 1, 5, 7, 8), " 0-1,5,7-8 "),
        ("layers", (5, 2), " 5,2 "),
        ("created", {"days": 3}, "(3 d ago)"),
        ("created", {"minutes": 61}, "(1 h ago)"),
        ("created", {"seconds": 5}, "(5 s ago)"),
        ("created", {"days": -2}, "(0 s ago)"),
    ],
)
def test_sizes_layers_and_ages_are_short(name, value, shown, cache, capsys, monkeypatch):
    if name == "created":
        value = (datetime.now(UTC) - timedelta(**value)).isoformat()
    info = dataclasses.replace(describe(cache), **{name: value})
    monkeypatch.setattr("mcbert.features.cache.caches", lambda _: [info])
    assert main(["caches"]) == 0
    assert shown in said(capsys)[1]
