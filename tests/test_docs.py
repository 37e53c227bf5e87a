"""The pages: links lead somewhere, commands and settings exist."""

import re
import shlex
import subprocess
import sys

import pytest

from pipeline.cli import build_parser
from pipeline.config import CHECKOUT, load, presets

PAGES = sorted([*CHECKOUT.glob("*.md"), *CHECKOUT.glob("docs/*.md"), *CHECKOUT.glob("samples/*/README.md")])
DOCS = [page for page in PAGES if page.parent.name == "docs"]
FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(
    r"^(?:timeout \S+ \d+ )?(?:mcbert|python -m pipeline) (.*?)(?: \|\| .*| #.*|;.*)?$", re.MULTILINE
)


def named(page):
    return str(page.relative_to(CHECKOUT))


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
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert [page.stem for page in DOCS if f"(docs/{page.name}" not in readme] == []


def test_the_readme_names_every_preset():
    readme = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    assert [name for name in presets() if f"`{name}`" not in readme] == []


@pytest.mark.parametrize("line", list(commands()))
def test_commands_of_the_pages_are_ones_that_the_program_takes(line):
    args = build_parser().parse_args(shlex.split(line))
    if getattr(args, "overrides", None) and args.config in presets():
        load(args.config, args.overrides)


def test_the_blocks_of_a_page_are_printed_as_one_script():
    program = [sys.executable, ".ci/commands.py"]
    done = subprocess.run(
        [*program, "docs/results.md"], cwd=CHECKOUT, capture_output=True, check=True, text=True
    )
    assert "mcbert runs\n" in done.stdout
    assert "python - <<'PYTHON'\nimport results\n" in done.stdout
    subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=True)
    whole = subprocess.run(program, cwd=CHECKOUT, capture_output=True, check=True, text=True).stdout
    assert done.stdout in whole
    assert "docs/cluster.md" not in whole
