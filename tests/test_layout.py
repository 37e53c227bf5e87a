"""Imports point one way, and heavy libraries stay where they belong."""

import ast
import configparser
import graphlib
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("interface", "pipeline", "features", "search", "finetune", "results", "files")
ALLOWED = {
    "interface": {"pipeline", "features", "search", "finetune", "results", "files"},
    "pipeline": {"features", "search", "finetune", "results", "files"},
    "features": {"files"},
    "search": {"features.spec", "features.cache", "results", "files"},
    "finetune": {"features", "results", "files"},
    "results": {"features.spec", "files"},
    "files": set(),
}
ONLY_IN = {
    "h5py": ["features/cache/hdf5.py"],
    "joblib": ["pipeline/cluster/loky.py"],
    "dask": ["pipeline/cluster/dask.py"],
    "distributed": ["pipeline/cluster/dask.py"],
}


def modules():
    """The project's own: runs hold copies that exported models run from."""
    found = [p for room in ROOMS for p in sorted((ROOT / "mcbert" / room).resolve().rglob("*.py"))]
    return [p for p in found if ROOT / "results" / "runs" not in p.parents]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name.removeprefix("mcbert.") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            module = f"{node.module}.".removeprefix("mcbert.")
            yield from (f"{module}{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    room = path.relative_to(ROOT).as_posix().removeprefix("mcbert/").split("/")[0]
    for name in imported(path):
        other = name.split(".")[0]
        if other in ROOMS and other != room:
            assert any(name == a or name.startswith(f"{a}.") for a in ALLOWED[room]), name
        where = str(path.relative_to(ROOT))
        assert where in ONLY_IN.get(other, [where]), f"{where} imports {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def module_of(name):
    """The file that a dotted name, perhaps of something in a module, is found in; None outside."""
    for parts in (name.split("."), name.split(".")[:-1]):
        module = ROOT.joinpath("mcbert", *parts)
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if parts and path.is_file():
                return path.resolve()
    return None


def test_no_modules_import_each_other():
    graph = {path: {module_of(name) for name in imported(path)} - {None, path} for path in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("room", ROOMS)
def test_nothing_is_importable_under_two_names(room):
    code = f"import importlib; importlib.import_module('mcbert.{room}'); importlib.import_module({room!r})"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert f"No module named '{room}'" in run.stderr or f"import mcbert.{room}, not {room}" in run.stderr


def test_every_library_that_is_imported_is_declared():
    options = configparser.ConfigParser()
    options.read(ROOT / "setup.cfg")
    extras = [text for name, text in options["options.extras_require"].items() if name not in {"test", "dev"}]
    required = re.findall(r"^[\w-]+", "\n".join([options["options"]["install_requires"], *extras]), re.M)
    makers = packages_distributions()
    for path in modules():
        for top in {name.split(".")[0] for name in imported(path)} - {*sys.stdlib_module_names, *ROOMS}:
            if not top.startswith("__") and not (ROOT / "mcbert" / f"{top}.py").exists():
                assert {maker.lower().replace("_", "-") for maker in makers[top]} & {*required}, (
                    f"{path} imports {top}"
                )


def test_what_a_docstring_tells_to_run_is_there():
    for path in modules():
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        told = re.findall(r"\b(?:tests|benchmarks|samples|docs)/[\w/]+\.\w+", docstring)
        assert [name for name in told if not (ROOT / name).exists()] == [], path


@pytest.mark.parametrize(
    ("module", "slow"),
    [
        ("mcbert.search.gridsearch", "torch"),
        ("mcbert.search.task", "torch"),
        ("mcbert.results.report.report", "torch"),
        ("mcbert.pipeline.cli", "torch"),
        ("mcbert.pipeline.cli", "sklearn"),
        ("mcbert.pipeline.stages.embeddings", "torch"),
    ],
)
def test_workers_and_commands_start_without_what_they_may_not_need(module, slow):
    code = f"import sys, {module}; sys.exit({slow!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
