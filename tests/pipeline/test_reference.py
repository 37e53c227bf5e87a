"""The committed page is what the declarations say."""

import dataclasses
import subprocess
import sys
from typing import Any, Literal

import pytest

from mcbert.home import HOME
from mcbert.pipeline import reference
from mcbert.pipeline.cli import STAGES
from mcbert.pipeline.config import Config, load, settings_of

PAGE = HOME / "docs/reference.md"


@dataclasses.dataclass
class Base:
    kept: int = 1
    """Of the
    base."""

    bare: int = 2


@dataclasses.dataclass
class Derived(Base):
    own: float | None = None
    """Its own."""


def test_the_committed_page_is_the_generated_one():
    stale = "stale; python -m mcbert.pipeline.reference > docs/reference.md"
    assert PAGE.read_text(encoding="utf-8") == reference.render(), stale


def test_the_command_prints_it():
    done = subprocess.run(
        [sys.executable, "-m", "mcbert.pipeline.reference"], cwd=HOME, capture_output=True, check=True
    )
    assert done.stdout.decode() == reference.render()


def test_every_setting_and_command_is_listed_with_a_meaning():
    text = reference.render()
    for section in settings_of(Config):
        rows = text.split(f"### `[{section.name}]`\n")[1].split("\n## ")[0].split("\n### ")[0]
        for setting in dataclasses.fields(getattr(load("demo"), section.name)):
            assert f"\n| `{setting.name}` | " in rows or f"### `[{section.name}.{setting.name}]`" in text
    assert "|  |" not in text
    assert all(f"### `mcbert {stage}`\n" in text for stage in STAGES)


def test_functions_are_listed_as_they_are_called_with_their_docstrings():
    text = reference.render().split("\n## Functions\n")[1]
    assert [line[5:-1] for line in text.splitlines() if line.startswith("### ")] == list(reference.FUNCTIONS)
    assert "\ncompare_results(runs, name='gridsearch', *, allow=(), folder='results/runs')\n\nJoin" in text
    assert "\nstates(*, layers, pooling, rows=None)\n\nRead pooled states." in text


def test_docstrings_of_bases_are_read_and_fields_without_one_are_left_out():
    assert Derived().bare == 2
    assert reference.field_docs(Derived) == {"kept": "Of the base.", "own": "Its own."}


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (tuple[int, ...], "list (whole number)"),
        (dict[int, tuple[int, ...]], "table (whole number = list (whole number))"),
        (float | None, "number or none"),
        (Literal["a", "b"], "`a`, `b`"),
        (dict[str, Any], "table (text = value)"),
    ],
)
def test_types_are_said_in_words(hint, words):
    assert reference.kind_of(hint) == words


def test_a_type_without_words_is_refused():
    with pytest.raises(TypeError, match="no words for it; accepted: what a TOML file can hold"):
        reference.kind_of(set)
