"""Compare the results of the working tree with those of a commit: a refactoring must move no figure.

    python benchmarks/same_results.py COMMIT --keep ../same-results

Three configurations run from texts to report, once with the commit and once with the working tree: the demo;
a mixed search by macro-F1 with a prompt, `last` pooling and a head that starts from the probe; other
classifiers, a deeper head that is tuned, freezing by gradients. Compared are all CSVs and records of the
runs (but for times, versions and digests), the bytes of every cached layer and pooling, and what the exported
models give for texts of three languages. On one machine they are equal digit for digit; `--tolerance` lets
figures differ by so much. A commit from before a renaming gets its commands and settings by the names that it
has, and its results are read by those of today (`RENAMED`). What a commit gave stays in the folder and is
used again. The last line is JSON; the exit status is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[1]
TEXTS = ("raw.csv", "translations/de.csv", "translations/zh.csv")
MOVES = (
    "config_digest",
    "digest",
    "store",
    "versions",
    "seconds",
    "fit_seconds",
    "score_seconds",
    "started",
    "finished",
)

# Run by the tree's own Python: the bytes of all that caches hold, whatever their files look like. A cache is
# known by its number of rows: its digest changes with the layout of its files.
DIGESTS = """
import hashlib, json, sys
{imports}
found = {{}}
for folder in sys.argv[1:]:
    store = FeatureStore.open(folder)
    for layer in store.layers:
        for pooling in store.poolings:
            array = store.states(layers=[layer], pooling=pooling)
            name = f"{{len(array)}} rows, layer {{layer}}, {{pooling}}"
            found[name] = hashlib.sha256(array.tobytes()).hexdigest()
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Configuration:
    """Commands of one run and what they change of the demo's settings."""

    commands: tuple[str, ...]
    settings: tuple[str, ...] = ()


CONFIGURATIONS = {
    "demo": Configuration(("export", "finetune", "embeddings", "report")),
    "mixed": Configuration(
        ("export", "finetune", "report"),
        (
            'encoder.prompt="query: "',
            "extract.layers=[0,4,8,10,11,12]",
            'extract.poolings=["max","mean","cls","last"]',
            'extract.storage_dtype="float32"',
            "gridsearch.layers=[0,8,10,11,12]",
            'gridsearch.poolings=["max","mean","last"]',
            'gridsearch.classifiers=["logistic_regression","linear_svm"]',
            'gridsearch.mixed="beam"',
            "gridsearch.mixed_steps=3",
            'gridsearch.protocol="source-dev"',
            'gridsearch.metric="f1_macro"',
            'gridsearch.class_weight="balanced"',
            "finetune.seeds=[3]",
            'finetune.start="probe"',
            "finetune.freeze={}",
            'finetune.freeze_rule="plateau"',
            "finetune.freeze_groups=[[11,12],[8,10]]",
            "finetune.eval_steps=20",
            'finetune.protocol="source-dev"',
        ),
    ),
    "tuned": Configuration(
        ("tune", "finetune", "report"),
        (
            'extract.special_tokens="exclude"',
            "gridsearch.layers=[7,9,11,12]",
            'gridsearch.classifiers=["ridge","lda","knn","mlp"]',
            "gridsearch.seeds=[1,2]",
            "gridsearch.budget=60",
            "finetune.layers=[9,12]",
            'finetune.pooling="mean"',
            "finetune.seeds=[0,1]",
            "finetune.epochs=2",
            "finetune.batch_tokens=600",
            "finetune.gradient_accumulation=2",
            "finetune.lower_layer_decay=0.9",
            'finetune.class_weight="balanced"',
            "finetune.freeze={}",
            'finetune.freeze_rule="gradient"',
            'finetune.optimizer="adam"',
            "tune.values={dropout=[0.0,0.2],head_layers=[0,1]}",
            'tune.method="random"',
            "tune.trials=2",
            "tune.seeds=[0]",
        ),
    ),
}


@dataclass(frozen=True)
class Renaming:
    """Names that a tree with the file or folder `sign` has, and the working tree has no longer."""

    sign: str
    given: Mapping[str, str]
    """Patterns in its commands and settings, as above, to what it calls them."""
    found: Mapping[str, str]
    """Patterns in the names of its files and in the texts in them to what they are called now."""
    columns: Mapping[str, str]


RENAMED = (
    Renaming(
        "finetune/knobs",
        given={r"^tune\b": "knobs", r'(?<=freeze_rule=)"plateau"': '"record"'},
        found={
            r"\bknobs\b": "tune",
            r"\bknobs_overall\b": "tune_overall",
            r"^record(: .*) stands for": r"plateau\1 not beaten for",
        },
        columns={"knobs": "changes"},
    ),
    Renaming(
        "results/kinds.py",
        given={},
        found={
            r"the interval holds 0": "the 95% interval includes 0",
            r"the interval lies (above|below) 0": r"the 95% interval lies \1 0",
            r"(lies below 0): the other way round": r"\1: the opposite holds",
            r"-1 points": "-1 point",
        },
        columns={},
    ),
)


class Tree:
    """A checkout and the folder that keeps what it gave."""

    def __init__(self, checkout: Path, kept: Path) -> None:
        self.checkout, self.kept = checkout, kept
        self.renamed = [one for one in RENAMED if (checkout / one.sign).exists()]
        one_root = (checkout / "mcbert").exists()
        self.entry = "mcbert" if one_root else "pipeline"
        imports = "from mcbert import FeatureStore" if one_root else "from features.store import FeatureStore"
        self.digests = DIGESTS.format(imports=imports)

    def python(self, *args: str) -> str:
        """Run the tree's own code; give what it printed."""
        environment = {**os.environ, "PYTHONPATH": str(self.checkout), "HF_HUB_OFFLINE": "1", "TERM": "dumb"}
        done = subprocess.run(
            [sys.executable, *args],
            check=False,
            cwd=self.checkout,
            env=environment,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            sys.exit(f"{self.checkout}: {' '.join(args)}: status {done.returncode}\n{done.stderr[-3000:]}")
        return done.stdout

    def make(self, name: str) -> None:
        """Run a configuration into an empty folder, renamed when whole."""
        whole, partial = self.kept / name, self.kept / f"{name}.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        began = time.perf_counter()
        configuration = CONFIGURATIONS[name]
        where = [f"--runs={partial}", f"--cache={partial / 'cache'}", "--run=run", "--config=demo"]
        for command in configuration.commands:
            words = (command, *where, *configuration.settings)
            given = [one.given for one in self.renamed]
            self.python("-m", self.entry, *(replaced(word, given) for word in words))
        caches = [str(manifest.parent) for manifest in (partial / "cache").glob("*/manifest.json")]
        (partial / "states.json").write_text(self.python("-c", self.digests, *caches))
        for model in sorted(partial.glob("run/models/*/config.json")):
            self.use(model.parent, partial)
        print(f"{self.checkout.name}: {name} in {time.perf_counter() - began:.0f} s", flush=True)
        shutil.rmtree(whole, ignore_errors=True)
        partial.rename(whole)

    def read(self, path: Path) -> Any:
        """Return what a file of the results holds, by the names of today."""
        if path.suffix in (".npy", ".npz"):
            return np.load(path)
        patterns = [one.found for one in self.renamed]
        if path.suffix == ".json":
            return json.loads(replaced(path.read_text("utf-8"), patterns))
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        for one in self.renamed:
            table = table.rename(columns=one.columns)
        return table.map(lambda cell: replaced(cell, patterns))

    def results(self, name: str) -> dict[str, Path]:
        """Return the files of a configuration's results, by the names of today."""
        patterns = [one.found for one in self.renamed]
        return {
            replaced(str(path.relative_to(self.kept / name)), patterns): path
            for path in compared(self.kept / name)
        }

    def use(self, model: Path, folder: Path) -> None:
        """Write what a model gives for texts: labels and probabilities, or vectors."""
        vectors = model.name.startswith("embeddings")
        for place in TEXTS:
            text = self.checkout / "samples" / "intents" / place
            output = folder / f"{model.name}-{text.stem}.{'npy' if vectors else 'csv'}"
            command = ["embed"] if vectors else ["predict"]
            self.python(
                "-m", self.entry, *command, f"--model={model}", f"--input={text}", f"--output={output}"
            )


def replaced(text: str, patterns: Iterable[Mapping[str, str]]) -> str:
    """Return a text with every pattern's matches replaced."""
    for pattern, by in ((pattern, by) for one in patterns for pattern, by in one.items()):
        text = re.sub(pattern, by, text)
    return text


def differences(theirs: Tree, ours: Tree, configuration: str) -> Iterator[tuple[str, float]]:
    """Yield what is unlike in two trees' results and by how much; infinity where these are no figures."""
    old, new = theirs.results(configuration), ours.results(configuration)
    for name in sorted(old.keys() ^ new.keys()):
        yield f"{name}: only {'the commit' if name in old else 'the working tree'} wrote it", np.inf
    for name in sorted(old.keys() & new.keys()):
        a, b = theirs.read(old[name]), ours.read(new[name])
        if name.endswith(".csv"):
            found = unlike_tables(a, b)
        elif name.endswith(".json"):
            found = unlike_records(a, b, "")
        else:
            found = unlike_arrays(a, b)
        yield from ((f"{name}: {what}", size) for what, size in found)


def compared(folder: Path) -> Iterator[Path]:
    """Yield the files that hold results: tables, records and arrays, but for models' and caches' own."""
    for pattern in ("*.csv", "*.npy", "states.json", "run/*.csv", "run/*.npz", "run/*.json"):
        yield from folder.glob(pattern)


def unlike_tables(theirs: pd.DataFrame, ours: pd.DataFrame) -> Iterator[tuple[str, float]]:
    """Yield the columns that differ."""
    if list(theirs) != list(ours) or len(theirs) != len(ours):
        yield f"{theirs.shape} cells {sorted(set(theirs) ^ set(ours))}, now {ours.shape}", np.inf
        return
    for column in theirs.columns.difference([*MOVES]):
        unlike = theirs[column] != ours[column]
        if unlike.any():
            yield f"column {column}", largest(theirs.loc[unlike, column], ours.loc[unlike, column])


def largest(theirs: pd.Series, ours: pd.Series) -> float:
    """Give the largest difference of two columns of figures; infinity of other texts."""
    try:
        return float((theirs.astype(float) - ours.astype(float)).abs().max(skipna=False))
    except ValueError:
        return np.inf


def unlike_records(theirs: object, ours: object, where: str) -> Iterator[tuple[str, float]]:
    """Yield the keys at which two JSON values differ."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        for key in sorted((theirs.keys() | ours.keys()) - set(MOVES)):
            yield from unlike_records(theirs.get(key), ours.get(key), f"{where} {key}")
    elif isinstance(theirs, list) and isinstance(ours, list) and len(theirs) == len(ours):
        for place, pair in enumerate(zip(theirs, ours, strict=True)):
            yield from unlike_records(*pair, f"{where} {place}")
    elif isinstance(theirs, float) and isinstance(ours, float):
        if theirs != ours:
            yield f"key{where}", abs(theirs - ours)
    elif theirs != ours:
        yield f"key{where}: {str(theirs)[:80]}, now {str(ours)[:80]}", np.inf


def unlike_arrays(theirs: Any, ours: Any) -> Iterator[tuple[str, float]]:
    """Yield the arrays of two .npy or .npz files that differ."""
    if isinstance(theirs, np.ndarray) and isinstance(ours, np.ndarray):
        if theirs.shape != ours.shape or theirs.dtype != ours.dtype:
            yield f"{theirs.dtype} {theirs.shape}, now {ours.dtype} {ours.shape}", np.inf
        elif not np.array_equal(theirs, ours):
            figures = theirs.dtype.kind == "f"
            yield "array", float(np.abs(theirs - ours).max()) if figures else np.inf
    else:
        for key in sorted({*theirs} | {*ours}):
            if key not in theirs or key not in ours:
                yield f"{key}: in one of them", np.inf
            else:
                yield from ((f"{key}: {what}", size) for what, size in unlike_arrays(theirs[key], ours[key]))


def reference(commit: str, kept: Path) -> Tree:
    """Check the commit out beside the results; give its tree."""
    digest = subprocess.check_output(["git", "rev-parse", "--short", commit], cwd=ROOT, text=True).strip()
    checkout = kept / digest / "tree"
    if not checkout.exists():
        subprocess.run(["git", "clone", "-q", "--no-checkout", str(ROOT), str(checkout)], check=True)
        subprocess.run(["git", "checkout", "-q", digest], cwd=checkout, check=True)
    return Tree(checkout, kept / digest)


def main() -> None:
    """Run both, compare, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commit", help="whose results are right")
    parser.add_argument("--keep", type=Path, required=True, help="folder for both trees' results")
    parser.add_argument("--only", nargs="+", choices=CONFIGURATIONS, default=list(CONFIGURATIONS))
    parser.add_argument(
        "--tolerance", type=float, default=0.0, help="how far figures may be apart (default: 0)"
    )
    args = parser.parse_args()
    theirs, ours = reference(args.commit, args.keep.resolve()), Tree(ROOT, args.keep.resolve() / "tree")
    worst, failed = 0.0, 0
    for name in args.only:
        if not (theirs.kept / name).exists():
            theirs.make(name)
        ours.make(name)
        for what, size in differences(theirs, ours, name):
            worst, failed = max(worst, size), failed + (size > args.tolerance or np.isnan(size))
            print(f"{name}: {what}: {size:.3g}" if np.isfinite(size) else f"{name}: {what}", flush=True)
    print(
        json.dumps(
            {"commit": theirs.kept.name, "compared": args.only, "differ": failed, "largest": str(worst)}
        )
    )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
