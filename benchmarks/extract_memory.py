"""Peak memory of extraction at 10 thousand texts and at a million: it must not grow with the corpus.

    python benchmarks/extract_memory.py

Each size runs in a process of its own, with a small encoder (2 x 128, random weights) so that a million texts
are a matter of minutes; texts come from a generator, as those of a corpus file do. The last line is JSON;
`growth` is the largest peak over the smallest.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

SAMPLES = Path(__file__).resolve().parents[1] / "samples"


class Sentences:
    """Random sentences of 3 to 20 words, the same ones each time it is gone through."""

    def __init__(self, n: int) -> None:
        self.n = n
        corpus = (SAMPLES / "intents" / "raw.csv").read_text(encoding="utf-8")
        self.words = np.array(sorted({w for w in corpus.split() if w.isalpha()}))

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Yield (id, text, no second text)."""
        rng = np.random.default_rng(0)
        for k in range(self.n):
            yield str(k), " ".join(self.words[rng.integers(0, len(self.words), rng.integers(3, 21))]), ""


def child(n: int, scratch: Path) -> None:
    """Extract `n` texts and print seconds and peak memory in MiB as JSON."""
    import torch
    from transformers import BertConfig, BertModel

    from mcbert.features.encoder.tokens import load_tokenizer
    from mcbert.features.extraction import extract
    from mcbert.features.settings import EncoderSettings, ExtractSettings

    torch.manual_seed(0)
    folder = scratch / "encoder"
    sizes = {"hidden_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 512}
    tokenizer = load_tokenizer(SAMPLES / "encoder")
    BertModel(BertConfig(vocab_size=len(tokenizer), **sizes), add_pooling_layer=False).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    began = time.perf_counter()
    extract(
        Sentences(n),
        folder,
        encoder=EncoderSettings(path=str(folder)),
        settings=ExtractSettings(layers=(2,), poolings=("mean",)),
        cache=scratch / "cache",
    )
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    print(json.dumps({"texts": n, "seconds": round(time.perf_counter() - began, 1), "peak_mb": peak // 1024}))


def main() -> None:
    """Run the sizes, print a line each and the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(args.texts[0], args.child)
        return
    runs = []
    for n in args.texts:
        with tempfile.TemporaryDirectory() as scratch:
            command = [sys.executable, __file__, "--texts", str(n), "--child", scratch]
            out = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs.append(json.loads(out.splitlines()[-1]))
        print("{texts:>9,} texts: peak {peak_mb} MiB, {seconds} s".format(**runs[-1]))
    peaks = [run["peak_mb"] for run in runs]
    print(json.dumps({"runs": runs, "growth": round(max(peaks) / min(peaks), 3)}))


if __name__ == "__main__":
    main()
