"""Sentence embeddings: translations found, likeness judged, and the speed of encoding.

    python benchmarks/embeddings.py --seeds 3
    MCBERT_DATA=data python benchmarks/embeddings.py --seeds 3       # data/stsbenchmark, data/tatoeba/v1

Trains the siamese model of a configuration over seeds (or takes `--model`) and sets it beside the frozen
encoder: mean, max and CLS of the last layer and of its own, every layer for STS. Without MCBERT_DATA the
sentences are samples/intents and samples/sts. Layers and pooling are chosen on dev sentences of
samples/intents where the configuration leaves them open. Then the same model encodes the same texts here and
with sentence-transformers (`pip install -e '.[sbert]'`; left out without it), in turn, float32. The last line
is JSON: `tatoeba_error` (test, mean over languages and both directions, cosine, mean over the seeds),
`baselines`, `sts_spearman` (test, cosine), `encode_ratio` (seconds of sentence-transformers over ours).
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from mcbert.features.corpus.formats.parallel import languages_in, read_pairs
from mcbert.features.corpus.formats.stsbenchmark import read_stsbenchmark
from mcbert.finetune.embeddings.opening import open_sentence_encoder
from mcbert.pipeline.cli import main as mcbert
from mcbert.results import csv_files
from mcbert.results.csv_files import read
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
POOLINGS = ("mean", "max", "cls")
WHERE = {"split": "test", "language": "mean", "direction": "both", "score": "cosine"}


def main() -> None:
    """Train, evaluate, encode; print a table, then the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings")
    parser.add_argument("--model", help="a sentence encoder to take instead of training any")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--run", default="embeddings-benchmark", help="runs are called so, with their seed")
    parser.add_argument("--texts", type=int, default=1024, help="texts to encode, drawn with seed 0")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="one seed, samples, few texts: that it runs")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    args = parser.parse_args()
    if args.quick:
        args.seeds, args.texts, args.rounds = 1, 64, 1
    tatoeba, sts = sources(args)
    runs = evaluated(args, [f"retrieval.tatoeba={tatoeba}", f"retrieval.sts={sts}"])
    figures = [figures_of(run) for run in runs]
    show(figures, runs)
    model = Path(args.model or runs[0] / "models/embeddings-st")
    summary = summed(figures)
    print(json.dumps(summary | encoding(model, texts(tatoeba, sts, args.texts), args.rounds) | {
        "tatoeba": tatoeba.name, "sts": sts.name, "seeds": len(runs), "machine": machine(), "runs": figures
    }))  # fmt: skip


def machine() -> str:
    """Name the device and the threads that products run on."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def sources(args: argparse.Namespace) -> tuple[Path, Path]:
    """Return the folders of parallel sentences and of judged pairs."""
    data = "" if args.quick else os.environ.get("MCBERT_DATA", "")
    if not data:
        return SAMPLES / "intents", SAMPLES / "sts"
    return Path(data) / "tatoeba/v1", Path(data) / "stsbenchmark"


def evaluated(args: argparse.Namespace, overrides: Sequence[str]) -> list[Path]:
    """Run the stages, and return the folders of their results."""
    common = ["--config", args.config, *args.overrides, *overrides]
    if args.model:
        run = f"{args.run}-model"
        _mcbert(["evaluate-embeddings", "--run", run, "--model", args.model, *common])
        return [Path("results/runs") / run]
    runs = [f"{args.run}-{seed}" for seed in range(args.seeds)]
    chosen = f"embeddings.parallel={SAMPLES / 'intents'}"
    for seed, run in enumerate(runs):
        _mcbert(["embeddings", "--run", run, *common, f"embeddings.seeds=[{seed}]", chosen])
    return [Path("results/runs") / run for run in runs]


def _mcbert(command: list[str]) -> None:
    if mcbert(command):
        raise SystemExit(2)


def figures_of(run: Path) -> dict[str, Any]:
    """Return what a run measured on test, each with its interval where there is one."""
    tatoeba = only(csv_files.read_with_sums(TATOEBA, run / TATOEBA.file_name), WHERE)
    sts = only(read(STS, run / STS.file_name), {"split": "test", "similarity": "cosine"})
    cuts = only(csv_files.read_with_sums(REDUCTIONS, run / REDUCTIONS.file_name), WHERE)
    (found,) = tatoeba[tatoeba["system"].ne("frozen")].to_dict("records")
    (judged,) = sts[sts["system"].ne("frozen")].to_dict("records")
    named = {f"{row['baseline_layers']} {row['baseline_pooling']}": row for row in cuts.to_dict("records")}
    frozen = sts[sts["system"].eq("frozen")]
    best = frozen[frozen["versus_frozen"].eq(0)].iloc[0]
    return {
        "layers": found["layers"],
        "pooling": found["pooling"],
        "tatoeba_error": interval(found, ("error_rate", "error_rate_low", "error_rate_high")),
        "baselines": {name: row["baseline_error_rate"] for name, row in named.items()},
        "reductions": {
            name: interval(row, ("reduction", "reduction_low", "reduction_high"))
            for name, row in named.items()
        },
        "sts_spearman": interval(judged, ("spearman", "spearman_low", "spearman_high")),
        "sts_best_frozen": float(best["spearman"]),
        "sts_above_best_frozen": interval(
            judged, ("versus_frozen", "versus_frozen_low", "versus_frozen_high")
        ),
        "sts_frozen": {f"{r['layers']} {r['pooling']}": r["spearman"] for r in frozen.to_dict("records")},
    }


def only(frame: pd.DataFrame, wanted: dict[str, str]) -> pd.DataFrame:
    """Return the rows that have these values."""
    for name, value in wanted.items():
        frame = frame[frame[name].eq(value)]
    return frame


def interval(row: dict[Any, Any], names: Sequence[str]) -> list[float]:
    """Return a figure and the ends of its interval."""
    return [float(row[name]) for name in names]


def show(figures: Sequence[dict[str, Any]], runs: Sequence[Path]) -> None:
    """Print a line per run and baseline."""
    print("| run | layers | Tatoeba error (95%) | frozen baseline | its error | errors avoided (95%) | "
          "STS Spearman (95%) | above the best frozen (95%) |\n" + "|---" * 8 + "|")  # fmt: skip
    for run, found in zip(runs, figures, strict=True):
        for name, error in found["baselines"].items():
            cells = [run.name, f"{found['layers']} {found['pooling']}", _text(found["tatoeba_error"]), name,
                     f"{error:.3f}", _text(found["reductions"][name]), _text(found["sts_spearman"]),
                     _text(found["sts_above_best_frozen"])]  # fmt: skip
            print("| " + " | ".join(cells) + " |")


def _text(ends: Sequence[float]) -> str:
    value, low, high = (f"{end:.3f}" for end in ends)
    return f"{value} [{low}, {high}]"


def summed(figures: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the means over the runs."""
    first = figures[0]
    return {
        "tatoeba_error": statistics.mean(one["tatoeba_error"][0] for one in figures),
        "baselines": {
            "tatoeba": first["baselines"],
            "sts": first["sts_frozen"],
            "sts_best_frozen": first["sts_best_frozen"],
        },
        "sts_spearman": statistics.mean(one["sts_spearman"][0] for one in figures),
    }


def texts(tatoeba: Path, sts: Path, n: int) -> list[str]:
    """Draw distinct sentences of both, in random order."""
    pairs = [read_pairs(tatoeba, languages_in(tatoeba)), read_stsbenchmark(sts)]
    found = sorted({text for frame in pairs for side in ("text", "text_pair") for text in frame[side]})
    order = np.random.default_rng(0).permutation(len(found))[:n]
    return [found[k] for k in order]


def encoding(model: Path, sentences: list[str], rounds: int) -> dict[str, Any]:
    """Encode with sentence-transformers and with mcbert in turn, `rounds` times after a warm-up."""
    if importlib.util.find_spec("sentence_transformers") is None or not (model / "modules.json").is_file():
        return {"encode_ratio": None}
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(str(model), trust_remote_code=True)
    ours = open_sentence_encoder(str(model))
    ways: dict[str, Callable[[list[str]], np.ndarray]] = {
        "ours": ours.encode,
        "library": lambda some: np.asarray(library.encode(some, show_progress_bar=False)),
    }
    vectors = {name: way(sentences) for name, way in ways.items()}
    took: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.perf_counter()
            way(sentences)
            took[name].append(time.perf_counter() - began)
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    print()
    for name, seconds in took.items():
        spread = f"{medians[name]:.2f} s ({min(seconds):.2f}-{max(seconds):.2f})"
        print(f"{name}: {len(sentences)} texts in {spread}")
    return {
        "encode_ratio": round(medians["library"] / medians["ours"], 2),
        "encode_seconds": took,
        "largest_difference": float(np.abs(vectors["ours"] - vectors["library"]).max()),
    }


if __name__ == "__main__":
    main()
