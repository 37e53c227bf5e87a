"""Fine-tuning against transformers' plain recipe on the same texts, and what frozen layers save; in one run.

    python benchmarks/finetune.py

Ways: (a) padded128: AutoModelForSequenceClassification under transformers' Trainer with its defaults, 32
texts a step in random order, padded to 128, float32; (b) longest: the same padded to the longest of the
batch; (c) ours: the same network, this project's baseline, trained with the default settings; (d) mcbert:
layers 6, 8 and 11 pooled, cut after 11. Each way in turn, several rounds, with the sample encoder and with
one of M-BERT's size (12 x 768, random weights); `vs_` compares (c), the same network as (a) and (b). A few
steps are timed, from the first batch to the beginning of the batch after the last, without evaluation and
checkpoints, and extrapolated to an epoch; (c) and (d) begin an epoch with its longest batch, which counts
once.

`frozen_steps.py` has what frozen layers save, `rows_in_use.py` what it saves to train the rows of the word
embeddings that texts use. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from extract import mbert_sized
from frozen_steps import freeze
from rows_in_use import compare_rows, e5_sized
from trained_ways import BATCH, MAX_LENGTH, Bench, Clock, read_texts
from transformers.utils import logging as hf_logging

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


def main() -> None:
    """Measure, print tables, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=Path, help="CSV with columns text and label; samples/intents")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8, help="of (b), (c) and (d) a round; of (a) a quarter")
    parser.add_argument("--length", type=int, default=MAX_LENGTH, help="tokens of a text where layers freeze")
    parser.add_argument("--encoders", nargs="+", default=["sample", "mbert"], choices=["sample", "mbert"])
    parser.add_argument("--only", choices=["ways", "frozen", "rows"], help="leave the others out")
    parser.add_argument("--encoder", type=Path, help="folder, for rows; one of multilingual-e5-small's size")
    parser.add_argument("--longest", type=int, default=32, help="tokens of the longest text of rows")
    parser.add_argument("--quick", action="store_true", help="sample encoder, one round, for CI")
    args = parser.parse_args()
    if args.quick:
        args.encoders, args.rounds = ["sample"], 1
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    figures: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.encoders if args.only != "rows" else ():
            folder = SAMPLES / "encoder" if name == "sample" else mbert_sized(Path(scratch) / "mbert")
            bench = Bench(folder, read_texts(args.texts or SAMPLES / "intents" / "raw.csv"), Path(scratch))
            print(f"\n{name}: {bench.summary()}", flush=True)
            figures[name] = {"precision": bench.precision}
            if args.only != "frozen":
                figures[name] |= compare(bench, rounds=args.rounds, steps=args.steps)
            if args.only != "ways":
                figures[name] |= freeze(bench, rounds=args.rounds, length=args.length)
        if args.only in (None, "rows"):
            wide = SAMPLES / "encoder" if args.quick else args.encoder or e5_sized(Path(scratch) / "e5")
            figures |= compare_rows(wide, rounds=args.rounds, steps=args.steps, longest=args.longest)
    shown = figures.get("mbert", figures.get("sample", {}))
    keys = ("vs_padded128", "vs_longest", "frozen_step_ratio")
    print(json.dumps(figures | {key: shown[key] for key in keys if key in shown}))


def machine() -> str:
    """Name the device and the threads that products run on."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def compare(bench: Bench, *, rounds: int, steps: int) -> dict[str, Any]:
    """Train every way in turn, `rounds` times after a warm-up; print and return what they took."""
    plain, ours, mcbert = bench.plain_model(), bench.baseline(), bench.mcbert()
    few = max(2, steps // 4)  # all batches of (a) have one shape
    ways: dict[str, Callable[[int], Clock]] = {
        "padded128": lambda n: bench.plain(plain, min(n, few), "max_length"),
        "longest": lambda n: bench.plain(plain, n, "longest"),
        "ours": lambda n: bench.ours(ours, n),
        "mcbert": lambda n: bench.ours(mcbert, n),
    }
    for way in ways.values():
        way(1)
    per_epoch = -(-len(bench.y) // BATCH)
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            first, *rest = way(min(steps, per_epoch - 1)).took
            took[name].append(first + statistics.mean(rest) * (per_epoch - 1))
    print(f"\n| way | s an epoch of {per_epoch} steps, median (range) | texts/s | ours is faster |")
    print("|---|---|---|---|")
    medians = {name: statistics.median(seconds) for name, seconds in took.items()}
    for name, seconds in took.items():
        s = medians[name]
        spread = f"{s:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        print(f"| {name} | {spread} | {len(bench.y) / s:.1f} | {s / medians['ours']:.2f} |")
    print(f"extrapolated from {steps} steps, of padded128 from {min(steps, few)}", flush=True)
    figures = {f"vs_{way}": round(medians[way] / medians["ours"], 2) for way in ("padded128", "longest")}
    faster = {
        f"mcbert_vs_{way}": round(medians[way] / medians["mcbert"], 2) for way in ways if way != "mcbert"
    }
    return figures | faster | {"seconds_an_epoch": took, "steps_timed": steps}


if __name__ == "__main__":
    main()
