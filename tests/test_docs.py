"""The pages: links lead somewhere, commands and settings exist."""

import dataclasses
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from mcbert.home import HOME, presets
from mcbert.pipeline.cli import build_parser
from mcbert.pipeline.config import load
from mcbert.results.csv_files import find_table

PAGES = sorted(
    [
        *HOME.glob("*.md"),
        *HOME.glob("docs/**/*.md"),
        *HOME.glob("samples/*/README.md"),
        HOME / "results" / "README.md",
    ]
)
DOCS = [page for page in PAGES if page.parent == HOME / "docs"]
DESIGN = [page for page in PAGES if page.parent == HOME / "docs" / "design" and page.name != "README.md"]
DEMO = load("demo")
SUFFIXES = ("csv", "html", "jsonl", "md", "py")  # of files that are called as a section is
SOURCE = re.compile(r"`([\w./-]+/[\w./-]*|setup\.cfg|constraints\.txt)`")
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"^(?:timeout \S+ \d+ )?(?:mcbert|python -m mcbert) (.*?)(?: \|\| .*| #.*|;.*)?$", re.MULTILINE
)


def named(page):
    return str(page.relative_to(HOME))


def anchors(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def commands():
    for page in DOCS:
        for block in re.findall(
            r"^```bash\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
        ):
            for line in COMMAND.findall(block.replace("\\\n", " ")):
                yield pytest.param(line, id=f"{page.stem}-{line.split()[0]}")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_to_files_and_headings(page):
    text = FENCED.sub("", page.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not target.startswith(("http", "mailto:")):
            name, _, anchor = target.partition("#")
            other = (page.parent / name).resolve() if name else page
            assert other.exists(), f"{page.name}: {target}"
            assert not anchor or anchor in anchors(other), f"{page.name}: {target}"


def test_the_readme_names_every_page():
    readme = (HOME / "README.md").read_text(encoding="utf-8")
    assert [page.stem for page in DOCS if f"(docs/{page.name}" not in readme] == []


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=named)
def test_settings_and_modules_that_a_page_names_exist(page):
    sections = {field.name: getattr(DEMO, field.name) for field in dataclasses.fields(DEMO)}
    for quoted in re.findall(r"`([^`\n]+)`", FENCED.sub("", page.read_text(encoding="utf-8"))):
        if re.fullmatch(r"[\w-]+/[\w./-]+\.py", quoted):
            assert (HOME / quoted).is_file(), quoted
        setting = re.match(r"([a-z]+)\.([a-z_]+)(?![\w.])", quoted)
        if setting and setting[1] in sections and setting[2] not in SUFFIXES:
            assert setting[2] in {field.name for field in dataclasses.fields(sections[setting[1]])}, quoted


def rows_of_results():
    page = (HOME / "docs" / "results.md").read_text(encoding="utf-8")
    for file, columns in re.findall(r"^\| `([\w*]+\.csv)` \| [^|]+ \| ([^|[]+) \|$", page, re.MULTILINE):
        yield pytest.param(file, re.findall(r"(?:^|, | and )([a-z]\w*)", columns), id=file)


@pytest.mark.parametrize(("file", "names"), list(rows_of_results()))
def test_columns_that_the_page_on_results_names_are_declared(file, names):
    table = find_table(Path(file.replace("*", "x")))
    assert table is not None
    known = {column.name for column in table.columns} | {"dev_f1_micro_", "test_f1_micro_"}
    assert set(names) <= known


def messages():
    """The messages that the page on them quotes: the first cells of its tables that are in backquotes."""
    text = (HOME / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    for row in re.findall(r"^\| (`[^|]+`) \|", text, flags=re.MULTILINE):
        yield from re.findall("`([^`]+)`", row)


def test_every_message_that_is_explained_is_one_that_the_program_says():
    """Quotes may join two parts of a message that the source builds; each part stands there."""
    found = list(messages())
    assert len(found) >= 20
    parts = ("features", "search", "finetune", "pipeline", "results", "mcbert")
    source = "".join(
        path.read_text(encoding="utf-8") for part in parts for path in HOME.glob(f"{part}/**/*.py")
    )
    plain = re.sub(r'"\s*f?"', "", source)  # strings that follow one another are one
    unknown = [one for one in found if one not in plain]
    assert unknown == []


def test_the_index_names_every_decision():
    index = (HOME / "docs" / "design" / "README.md").read_text(encoding="utf-8")
    assert [page.stem for page in DESIGN if f"({page.name})" not in index] == []


@pytest.mark.parametrize("page", DESIGN, ids=named)
def test_where_a_decision_lives_there_are_these_files_and_names(page):
    """Each name in backquotes behind a module is defined in that module."""
    text = page.read_text(encoding="utf-8")
    for name in SOURCE.findall(text):
        if not name.startswith("results/runs/"):
            assert list(HOME.glob(name)), f"{page.name}: {name}"
    for line in text.partition("## Where it lives")[2].splitlines():
        for part in re.split(r"(?=`[\w/]+\.py`)", line):
            module, *names = re.findall(r"`([^`]+)`", part) or [""]
            if module.endswith(".py"):
                defined = set(re.findall(r"^(?:def |class )?([A-Za-z_]+)", (HOME / module).read_text(), re.M))
                assert {name for name in names if re.fullmatch(r"[A-Za-z_]+", name)} <= defined, part


def test_the_page_of_commands_names_every_preset():
    page = (HOME / "docs" / "stages.md").read_text(encoding="utf-8")
    assert [name for name in presets() if f"`{name}`" not in page] == []


@pytest.mark.parametrize("line", list(commands()))
def test_commands_of_the_pages_are_ones_that_the_program_takes(line):
    args = build_parser().parse_args(shlex.split(line))
    if getattr(args, "overrides", None) and args.config in presets():
        load(args.config, args.overrides)


def test_the_blocks_of_a_page_are_printed_as_one_script():
    program = [sys.executable, ".ci/commands.py"]
    done = subprocess.run([*program, "docs/results.md"], cwd=HOME, capture_output=True, check=True, text=True)
    assert "mcbert runs\n" in done.stdout
    assert "python - <<'PYTHON'\nimport mcbert\n" in done.stdout
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    whole = subprocess.run(program, cwd=HOME, capture_output=True, check=True, text=True).stdout
    assert done.stdout in whole
    assert "docs/cluster.md" not in whole
