"""Imports point one way, and heavy libraries stay where they belong."""

import ast
import graphlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("pipeline", "features", "search", "finetune", "results", "files")
ALLOWED = {
    "pipeline": {"features", "search", "finetune", "results", "files"},
    "features": {"files"},
    "search": {"mcbert.features.store", "results", "files"},
    "finetune": {"features", "results", "files"},
    "results": {"files"},
    "files": set(),
}
ONLY_IN = {
    "h5py": ["features/store/hdf5.py"],
    "joblib": ["pipeline/cluster/loky.py"],
    "dask": ["pipeline/cluster/dask.py"],
    "distributed": ["pipeline/cluster/dask.py"],
}


def modules():
    """The project's own: runs hold copies that exported models run from."""
    found = [p for package in PACKAGES for p in sorted((ROOT / package).rglob("*.py"))]
    return [p for p in found if ROOT / "results" / "runs" not in p.parents]


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path):
    package = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        other = name.split(".")[0]
        if other in PACKAGES and other != package:
            assert any(name == a or name.startswith(f"{a}.") for a in ALLOWED[package]), name
        where = str(path.relative_to(ROOT))
        assert where in ONLY_IN.get(other, [where]), f"{where} imports {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(ROOT)))
def test_modules_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 300


def module_of(name):
    """The file that a dotted name, perhaps of something in a module, is found in; None outside."""
    for parts in (name.split("."), name.split(".")[:-1]):
        for path in (ROOT.joinpath(*parts).with_suffix(".py"), ROOT.joinpath(*parts, "__init__.py")):
            if parts and path.is_file():
                return path
    return None


def test_no_modules_import_each_other():
    graph = {path: {module_of(name) for name in imported(path)} - {None, path} for path in modules()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


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
    ],
)
def test_workers_and_commands_start_without_what_they_may_not_need(module, slow):
    code = f"import sys, {module}; sys.exit({slow!r} in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
