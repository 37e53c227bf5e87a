"""Every command of the pages is run: by .ci/run, by .ci/commands.py, or by a test that is named here."""

import configparser
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
TESTED = {
    "make stress": "tests/finetune/test_kill.py::test_killed_at_random_moments_ends_bit_identical",
    "mcbert caches --remove":
        "tests/pipeline/commands/test_caches.py::test_a_cache_is_removed_by_what_begins_its_digest",
    "mcbert extract --config tickets.toml --scheduler tls://host:8786 --tls-ca ca.pem --tls-cert me.pem "
    "--tls-key me-key.pem":
        "tests/pipeline/cluster/test_scheduler.py::test_a_running_scheduler_is_used_over_tls",
    "mcbert extract --config tickets.toml --workers 4":
        "tests/pipeline/cluster/test_scheduler.py::test_two_processes_make_the_same_cache_as_one",
    "mcbert gridsearch --config demo --run content extract.special_tokens=exclude gridsearch.max_layers=1":
        "tests/features/extraction/test_extract.py::test_every_setting_is_part_of_the_identity",
    "mcbert gridsearch --config demo --run single extract.storage_dtype=float32 gridsearch.max_layers=1":
        "tests/pipeline/commands/test_predict.py::test_labels_are_those_that_the_run_measured",
    "mcbert gridsearch --config demo --run unbalanced prepare.balance=false gridsearch.max_layers=1":
        "tests/features/corpus/preparation/test_prepare.py::test_without_balance_nothing_is_duplicated",
    "python -m mcbert evaluate-embeddings --config demo --model sentence-transformers/LaBSE "
    "--model xlm-roberta-base@8:mean":
        "tests/pipeline/evaluation/test_similarity.py::test_the_command_prints_measured_and_published_apart",
    "python -m mcbert.pipeline.reference > docs/reference.md":
        "tests/pipeline/test_reference.py::test_the_command_prints_it",
    "python -m mcbert.results.dictionary > results/README.md":
        "tests/results/test_dictionary.py::test_the_command_prints_it",
}  # fmt: skip
ELSEWHERE = {
    ".venv/bin/pre-commit install": "changes the clone's .git; its hooks are make lint and make types",
    "make setup CONSTRAINTS=/dev/null": "another environment, of whatever is newest that day",
    "pip install .": "another environment, of whatever is newest that day",
    "mcbert finetune --config demo --run findings finetune.epochs=6 'finetune.seeds=[0,1,2,3,4]' "
    '\'finetune.systems=["mcbert","mcbert_wf"]\'': "ten trainings; make finetune makes fewer",
    "ssh -L": "needs another machine",
}


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
    """Say what a command does: its program, what that runs, and names of options, variables and settings.

    Nothing of what is no command. Values may differ: `runs --csv a.csv` has the form of `runs --csv b.csv`.
    Of make: one for each target.
    """
    command = bare(command)
    command = command.replace(".venv/bin/", "").replace("python -m mcbert ", "mcbert ")
    try:
        words = shlex.split(command)
    except ValueError:
        return []
    while words and re.match(r"[A-Z_]+=", words[0]):
        words.pop(0)
    if len(words) < 2 or words[0] not in PROGRAMS:
        return []
    program, *rest = words
    names = {word.split("=")[0] for word in rest if word.startswith("-") or "=" in word} - {"-m"}
    plain = [word for word in rest if not word.startswith("-") and "=" not in word]
    return [(program, what, names) for what in (plain if program == "make" else [*plain, ""][:1])]


def is_installed(command):
    """Whether it installs an extra that `make setup` does, too."""
    extras = configparser.RawConfigParser()
    extras.read(HOME / "setup.cfg")
    ours = re.findall(r"%\((\w+)\)s", extras["options.extras_require"]["test"])
    named = re.fullmatch(r"pip install 'mcbert\[(\w+)\]'", command)
    return bool(named and named[1] in ours)


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
    return [form for line in typed for form in forms(line)]


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_of_a_page_is_run(page, run):
    """By its form: with all the options, variables and settings that the page names, perhaps others, too."""
    idle = [
        command
        for command in {*blocks(page), *spans(page)} - TESTED.keys() - ELSEWHERE.keys()
        for program, what, names in forms(command)
        if not is_installed(command)
        and not any((program, what) == (one[0], one[1]) and names <= one[2] for one in run)
    ]
    assert idle == [], "run it in .ci/run, or name in TESTED the test that does"


@pytest.mark.parametrize(("command", "test"), TESTED.items())
def test_the_tests_named_here_exist_and_their_commands_are_on_a_page(command, test):
    path, _, name = test.partition("::")
    assert f"\ndef {name}(" in (HOME / path).read_text(encoding="utf-8")
    assert any(command in {*blocks(page), *spans(page)} for page in PAGES)


def test_what_runs_elsewhere_is_on_a_page():
    said = {command for page in PAGES for command in (*blocks(page), *spans(page))}
    assert [command for command in ELSEWHERE if command not in said] == []


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
        ("MCBERT_DATA=data python a.py --seeds 3", [("python", "a.py", {"--seeds"})]),
        (".venv/bin/mcbert show --config demo >/dev/null", [("mcbert", "show", {"--config"})]),
        ("python -m mcbert runs a b --csv x.csv | head", [("mcbert", "runs", {"--csv"})]),
        ("make lint test ARGS='-x y'", [("make", "lint", {"ARGS"}), ("make", "test", {"ARGS"})]),
        ("mcbert finetune 'finetune.freeze={1 = [2]}' &", [("mcbert", "finetune", {"finetune.freeze"})]),
        ("layers = [1, 2]", []),
        ("prepare: 1245 texts, it's", []),
    ],
)
def test_what_a_command_does(command, found):
    assert forms(command) == found
