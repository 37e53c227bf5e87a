"""Measure an encoder by Tatoeba search: share of sentences whose nearest English sentence is their own.

    python samples/evaluate_encoder.py --encoder samples/encoder --tatoeba tatoeba/v1

The folder holds LASER's layout: ``tatoeba.<xxx>-eng.<xxx>`` line by line beside ``tatoeba.<xxx>-eng.eng``.
Mean pooling, cosine, from the language to English. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import plan_batches, tokenise


def vectors(encoder: PooledEncoder, sentences: Sequence[str]) -> np.ndarray:
    """Return mean-pooled unit vectors, (n_sentences, n_layers, hidden)."""
    tokens = tokenise(encoder.tokenizer, [(s, "") for s in sentences], 128)
    out = np.empty((len(sentences), len(encoder.layers), encoder.hidden_size), dtype=np.float32)
    for rows in plan_batches(np.array([len(t["input_ids"]) for t in tokens]), 4096):
        out[rows] = encoder([tokens[r] for r in rows])[:, :, 0].cpu().numpy()
    return out / np.linalg.norm(out, axis=-1, keepdims=True)


def accuracy(source: np.ndarray, target: np.ndarray) -> float:
    """Return the share of rows of `source` whose nearest row of `target` has the same number."""
    return float(((source @ target.T).argmax(axis=1) == np.arange(len(source))).mean())


def evaluate(encoder: PooledEncoder, folder: Path, languages: Sequence[str]) -> dict[str, dict[int, float]]:
    """Return language -> layer -> accuracy towards English."""
    out = {}
    for language in languages:
        stem = folder / f"tatoeba.{language}-eng"
        sides = [Path(f"{stem}.{s}").read_text(encoding="utf-8").splitlines() for s in (language, "eng")]
        if len(sides[0]) != len(sides[1]):
            raise SystemExit(f"{stem}: {len(sides[0])} lines against {len(sides[1])}")
        a, b = (vectors(encoder, side) for side in sides)
        out[language] = {layer: accuracy(a[:, k], b[:, k]) for k, layer in enumerate(encoder.layers)}
    return out


def languages_of(folder: Path) -> list[str]:
    """Return the languages that the folder has beside English."""
    found = {path.suffix[1:] for path in folder.glob("tatoeba.*-eng.*")} - {"eng"}
    if not found:
        raise SystemExit(f"{folder}: no tatoeba.xxx-eng.xxx here")
    return sorted(found)


def main() -> None:
    """Print a table, a row per layer, and the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--encoder", type=Path, required=True)
    parser.add_argument("--tatoeba", type=Path, required=True)
    parser.add_argument("--layers", type=int, nargs="+", default=[0, 4, 8, 11, 12])
    parser.add_argument("--languages", nargs="+", help="three letters each; by default all of the folder")
    args = parser.parse_args()
    languages = args.languages or languages_of(args.tatoeba)
    figures = evaluate(
        PooledEncoder(args.encoder, layers=args.layers, poolings=("mean",)), args.tatoeba, languages
    )
    print("| layer |", " | ".join(languages), "|")
    print("|---" * (len(languages) + 1) + "|")
    for layer in args.layers:
        print(f"| {layer} |", " | ".join(f"{figures[name][layer]:.3f}" for name in languages), "|")
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
