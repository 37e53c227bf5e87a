"""The site has every page and public name, and committed figures; `make site` checks links."""

import inspect
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

import mcbert
from mcbert.home import HOME

NAV = re.findall(r"[\w/-]+\.md$", (HOME / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
DOCS = HOME / "docs"
NAMES = dict(re.findall(r"^- \[`mcbert\.(\w+)`\]\((\S+)\)$", (DOCS / "api.md").read_text(), re.MULTILINE))


def test_every_page_is_in_the_navigation_once():
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert pages - {*NAV} == set(), "name it in nav of mkdocs.yml"
    assert len(NAV) == len({*NAV})


def test_every_public_name_is_on_the_page_of_the_interface():
    assert NAMES.keys() == {*mcbert.__all__} - {"__version__"}


@pytest.mark.parametrize("name", NAMES)
def test_a_public_name_leads_to_the_module_that_defines_it(name):
    module = (DOCS / NAMES[name]).resolve()
    public = getattr(mcbert, name)
    if inspect.isroutine(public) or inspect.isclass(public):
        assert module.samefile(inspect.getsourcefile(public))
    else:
        assert re.search(rf"^{name}\b", module.read_text(encoding="utf-8"), re.MULTILINE)


def test_the_picture_is_the_one_that_its_program_draws():
    done = subprocess.run([sys.executable, "docs/method.py"], cwd=HOME, capture_output=True, check=True)
    assert (DOCS / "method.svg").read_bytes() == done.stdout
    picture = ElementTree.fromstring(done.stdout)
    names = {part.get("id"): part.text for part in picture}
    assert all(names[name] for name in picture.get("aria-labelledby").split())


def test_signatures_on_the_page_are_those_of_the_interface():
    done = subprocess.run([sys.executable, "docs/signatures.py"], cwd=HOME, capture_output=True, check=True)
    assert (DOCS / "api.md").read_bytes() == done.stdout, "python docs/signatures.py says how to write it"
    assert b".predict(X)" in done.stdout
    assert b"freeze_rule=" in done.stdout


def figures(*args):
    program = [sys.executable, ".ci/figures.py", *args]
    return subprocess.run(program, cwd=HOME, capture_output=True, check=False, text=True)


def test_a_figure_that_is_not_the_committed_one_is_named_and_corrected(tmp_path):
    right = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
    assert figures("--check", "docs/benchmarks.md").returncode == 0
    page, line = tmp_path / "page.md", right[: right.index("| 84.2 |")].count("\n") + 1
    page.write_text(right.replace("| 84.2 |", "| 84.3 |"), encoding="utf-8")
    done = figures("--check", str(page))
    assert done.returncode == 1
    assert f"{page}:{line}: " in done.stderr
    assert figures(str(page)).returncode == 0
    assert page.read_text(encoding="utf-8") == right
