"""The committed page is what the declarations say."""

import subprocess
import sys

from mcbert.home import HOME
from mcbert.pipeline import reference
from mcbert.pipeline.config import load
from mcbert.pipeline.stages import STAGES

PAGE = HOME / "docs/reference.md"


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
    for name, settings in load("demo").settings.items():
        rows = text.split(f"### `[{name}]`\n")[1].split("\n## ")[0].split("\n### ")[0]
        for setting in settings:
            assert f"\n| `{setting}` | " in rows or f"### `[{name}.{setting}]`" in text
    assert "|  |" not in text
    assert all(f"### `mcbert {stage}`\n" in text for stage in STAGES)
