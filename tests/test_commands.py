"""Every command of the pages is run, with some options: by .ci/run, .ci/commands.py or a test of a page."""

import re
import shlex
import subprocess
import sys

import pytest

from mcbert.home import HOME, presets
from mcbert.pipeline.cli import build_parser
from mcbert.pipeline.config import load

WHERE = ("README.md", "CONTRIBUTING.md", "docs/**/*.md", "samples/**/README.md", "results/README.md")
PAGES = sorted(path for pattern in WHERE for path in HOME.glob(pattern))
PROGRAMS = "make mcbert python python3 pip torchrun dask pytest pre-commit git ssh".split()
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.DOTALL | re.MULTILINE)
INDENTED = re.compile(r"(?:^    .*\n)+", re.MULTILINE)
INLINE = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")


TESTED_PAGES = {
    "docs/cluster.md": "tests/pipeline/cluster/test_cluster_doc.py",
    "docs/freezing.md": "tests/finetune/test_distributed.py",
}
ELSEWHERE = {
    ("make", "stress"): "its tests run a few times in make test",
    ("pre-commit", "install"): "changes the clone's .git; its hooks are make lint and make types",
    ("pip", "install"): "another environment; make setup installs the same",
    ("python", "docs/method.py"): "tests/test_site.py runs it",
    ("python", "docs/signatures.py"): "tests/test_site.py runs it",
    ("python", "mcbert.pipeline.reference"): "tests/pipeline/test_reference.py runs it",
    ("python", "mcbert.results.dictionary"): "tests/results/test_dictionary.py runs it",
    ("ssh", ""): "needs another machine",
}
"""Programs and what they run, where CI does not."""


def named(page):
    return str(page.relative_to(HOME))


def lines(script):
    """Split a script into commands, one for each line, without comments."""
    for line in script.replace("\\\n", " ").splitlines():
        command = re.sub(r"(^|\s+)#( .*|$)", "", line).strip()
        if command:
            yield " ".join(command.split())


def bare(command):
    """Take away what follows a command: pipes, redirections, the & of one that is left to run."""
    return re.sub(r"\s(\|\|?|2?>+|<|;|&&)\s?.*|\s&$", "", command)


def forms(command):
    """Return what a command does: its program and what that runs; of make one for each target.

    Nothing of what is no command. Options and settings are left out: that there are such is another test's.
    """
    command = bare(command)
    command = command.replace(".venv/bin/", "").replace("python -m mcbert ", "mcbert ")
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    while words and re.match(r"[A-Z0-9_]+=", words[0]):
        words.pop(0)
    if len(words) < 2 or words[0] not in PROGRAMS:
        return []
    program, *rest = words
    plain = [word for word in rest if not word.startswith("-") and "=" not in word]
    return [(program, what) for what in (plain if program == "make" else [*plain, ""][:1])]


def blocks(page):
    """Return the commands in blocks of a page, those apart that .ci/commands.py prints."""
    text = page.read_text(encoding="utf-8")
    others = [block for language, block in FENCED.findall(text) if language not in ("bash", "python")]
    indented = INDENTED.findall(FENCED.sub("", text))
    return [line for block in (*others, *indented) for line in lines(block) if forms(line)]


def spans(page):
    """Return the commands within the sentences and tables of a page."""
    text = INDENTED.sub("", FENCED.sub("", page.read_text(encoding="utf-8")))
    return [line for span in INLINE.findall(text) for line in lines(span) if forms(line)]


@pytest.fixture(scope="module")
def run():
    """Forms of what CI types, of the scripts that it makes of the pages, and of the pages that tests run."""
    printed = subprocess.run(
        [sys.executable, ".ci/commands.py"], cwd=HOME, capture_output=True, check=True, text=True
    )
    ours = (HOME / ".ci/run").read_text(encoding="utf-8").replace("\nbeside ", "\n")
    given = [ours, printed.stdout]
    for page in TESTED_PAGES:
        given += [block for _, block in FENCED.findall((HOME / page).read_text(encoding="utf-8"))]
    typed = [line for script in given for line in lines(script)]
    for command in [line for line in typed if line.startswith("make ")]:
        recipe = [*shlex.split(bare(command)), "--dry-run", "--old-file=.venv/.ready"]
        done = subprocess.run(recipe, cwd=HOME, capture_output=True, check=True, text=True)
        typed += lines(done.stdout)
    return {form for line in typed for form in forms(line)}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_of_a_page_is_run(page, run):
    named_there = {form for command in {*blocks(page), *spans(page)} for form in forms(command)}
    assert named_there - run - ELSEWHERE.keys() == set(), "run it in .ci/run"


def test_what_ci_does_not_run_is_on_a_page(run):
    named_there = {
        form for page in PAGES for command in (*blocks(page), *spans(page)) for form in forms(command)
    }
    assert ELSEWHERE.keys() <= named_there - run


@pytest.mark.parametrize(("page", "test"), TESTED_PAGES.items())
def test_pages_that_ci_leaves_to_tests_are_read_by_them(page, test):
    assert page in (HOME / test).read_text(encoding="utf-8")
    assert f'"{page}"' in (HOME / ".ci/commands.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_commands_in_blocks_are_ones_that_the_program_takes(page):
    for command in blocks(page):
        words = shlex.split(command.replace("python -m mcbert ", "mcbert "))
        if words[0] == "mcbert":
            args = build_parser().parse_args(words[1:])
            if getattr(args, "overrides", None) and args.config in presets():
                load(args.config, args.overrides)


@pytest.mark.parametrize(
    ("command", "found"),
    [
        ("MCBERT_DATA=data python a.py --seeds 3", [("python", "a.py")]),
        (".venv/bin/mcbert show --config demo >/dev/null", [("mcbert", "show")]),
        ("python -m mcbert runs a b --csv x.csv | head", [("mcbert", "runs")]),
        ("make lint test ARGS='-x y'", [("make", "lint"), ("make", "test")]),
        ("mcbert finetune 'finetune.freeze={1 = [2]}' &", [("mcbert", "finetune")]),
        ("layers = [1, 2]", []),
        ("prepare: 1245 texts, it's", []),
    ],
)
def test_what_a_command_does(command, found):
    assert forms(command) == found
