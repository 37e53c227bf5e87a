import subprocess
import sys
from pathlib import Path

from mcbert.results import dictionary
from mcbert.results.schema import TABLES

README = Path(dictionary.__file__).resolve().with_name("README.md")


def test_the_committed_readme_is_the_generated_one():
    assert README.read_text(encoding="utf-8") == dictionary.render()


def test_the_command_prints_it():
    out = subprocess.run(
        [sys.executable, "-m", "mcbert.results.dictionary"],
        cwd=README.parents[1],
        capture_output=True,
        check=True,
    )
    assert out.stdout.decode() == dictionary.render()


def test_every_column_is_listed():
    text = dictionary.render()
    for table in TABLES:
        section = text.split(f"## {table.file_name}\n")[1].split("\n## ")[0].split("\n### ")[0]
        twin = table.file_name.endswith("_overall.csv")
        listed = [each for each in table.columns if not twin or each not in original(table).columns]
        assert listed
        assert section.count("\n| `") == len(listed)
        assert all(f"\n| `{column.name}` | {column.dtype} |" in section for column in listed)


def original(twin):
    return next(table for table in TABLES if table.overall == twin)
