"""Steps and peak memory of a training of all word embeddings and of those in use; part of `finetune.py`.

    python benchmarks/finetune.py --only rows --encoder FOLDER

Both are this project's training of its baseline, one epoch of so many steps of 32 texts, with its evaluation
and checkpoint; the one holds and updates every row of the embedding, the other (what `fit` does) those that
the texts use. Each runs in a process of its own, in turn, several rounds: a round's figure is the median of
its steps, by the clock and in seconds of a CPU (which others on the machine move less), and memory is the
largest resident set from loading to the end. Without an encoder it is one of multilingual-e5-small's size
(250,037 rows x 384, 12 blocks, random weights).
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import peak
from trained_ways import BATCH, Bench, now, read_texts
from transformers import BertConfig, BertModel

from mcbert.features.encoder.tokens import ids_in_use, load_tokenizer
from mcbert.finetune.training.data import Texts

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
WAYS = ("all rows", "rows in use")
MEASURED = {"step": 3, "cpu": 3, "epoch": 1, "memory": 0, "checkpoint": 0}
"""Of a run, with the digits that are printed: seconds of a step by the clock and of a CPU, and of an epoch
with its evaluation and checkpoint; MB of memory and of the checkpoint."""


def e5_sized(folder: Path) -> Path:
    """Save an encoder of multilingual-e5-small's size with random weights and the sample tokenizer."""
    sizes = {
        "hidden_size": 384,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
        "intermediate_size": 1536,
    }
    BertModel(BertConfig(vocab_size=250_037, **sizes), add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer(SAMPLES / "encoder").save_pretrained(folder)
    return folder


def compare_rows(folder: Path, *, rounds: int, steps: int, longest: int) -> dict[str, Any]:
    """Train each way on texts of at most `longest` tokens, in turn; print and return what they took."""
    runs: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(rounds):
        for way in WAYS:
            command = [sys.executable, __file__, way, str(folder), str(steps), str(longest)]
            out = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            runs[way].append(json.loads(out.splitlines()[-1]))
    print("\n{texts}; {rows} of {of} rows in use".format(**runs[WAYS[0]][0]))
    print(f"\n| way | s a step of {BATCH} texts (range) | of a CPU | s an epoch | MB | MB of a checkpoint |")
    print("|---|---|---|---|---|---|")
    medians: dict[str, list[float]] = {}
    for way, found in runs.items():
        columns = [[run[name] for run in found] for name in MEASURED]
        medians[way] = [statistics.median(column) for column in columns]
        cells = [spread(column, digits) for column, digits in zip(columns, MEASURED.values(), strict=True)]
        print("| " + " | ".join([way, *cells]) + " |", flush=True)
    ratios = [round(whole / ours, 2) for whole, ours in zip(*medians.values(), strict=True)]
    return {f"rows_{name}": ratio for name, ratio in zip(MEASURED, ratios, strict=True)} | {"rows_runs": runs}


def spread(figures: Sequence[float], digits: int) -> str:
    """Return a median with its range."""
    low, middle, high = min(figures), statistics.median(figures), max(figures)
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def train_once(way: str, folder: Path, steps: int, longest: int) -> dict[str, Any]:
    """Train one way; return what `MEASURED` names, and what it was trained on."""
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(folder, read_texts(SAMPLES / "intents" / "raw.csv"), Path(scratch))
        rows = np.flatnonzero(bench.lengths <= longest)[: steps * BATCH]
        tokens = [bench.tokens[row] for row in rows]
        texts = Texts(tokens=tokens, y=bench.y[rows], language=bench.language[rows])
        model, began = bench.baseline(), now()
        clock = bench.ours(model, steps + 1, texts=texts, whole=way == WAYS[0])
        epoch = now() - began
    return {
        "step": statistics.median(clock.took[1:] or clock.took),
        "cpu": statistics.median(clock.busy[1:] or clock.busy),
        "epoch": epoch,
        "memory": round(peak.highest_mb()),
        "checkpoint": round(clock.saved / 1e6),
        "texts": f"{len(rows)} texts, {bench.lengths[rows].mean():.1f} tokens in the mean, {bench.precision}",
        "rows": len(ids_in_use(bench.tokenizer, tokens)),
        "of": bench.n_rows,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("encoder", type=Path)
    parser.add_argument("steps", type=int)
    parser.add_argument("longest", type=int)
    given = parser.parse_args()
    print(json.dumps(train_once(given.way, given.encoder, given.steps, given.longest)))
