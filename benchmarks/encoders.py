"""Seconds that encoders of common sizes take for 1,000 texts: all layers x 3 poolings, cache written.

    python benchmarks/encoders.py

Weights are random, of the shapes that the encoders' configurations name: time does not depend on them. The
vocabulary is that of the sample encoder, and every text has `--tokens` tokens, so that a tokenizer's pieces a
word play no part; loading is not counted. Rounds go through the encoders in turn. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from extract import SAMPLES, machine, run_extract
from transformers import (
    AutoModel,
    BertConfig,
    DebertaV2Config,
    ModernBertConfig,
    PretrainedConfig,
    XLMRobertaConfig,
)
from transformers.utils import logging as hf_logging

from mcbert.features.encoder.loading import hidden_size, n_layers
from mcbert.features.encoder.tokens import load_tokenizer

SPECIAL = {"pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2, "bos_token_id": 1, "eos_token_id": 2}
SHAPES: dict[str, tuple[type[PretrainedConfig], dict[str, object]]] = {
    "e5-small, MiniLM": (BertConfig, {"hidden_size": 384, "intermediate_size": 1536}),
    "M-BERT, LaBSE": (BertConfig, {}),
    "XLM-R, e5-base": (XLMRobertaConfig, {"max_position_embeddings": 514, "pad_token_id": 1}),
    "mDeBERTa": (
        DebertaV2Config,
        {
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "relative_attention": True,
            "position_biased_input": False,
            "pos_att_type": ["p2c", "c2p"],
            "position_buckets": 256,
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "type_vocab_size": 0,
            "max_relative_positions": -1,
        },
    ),
    "mmBERT-small": (
        ModernBertConfig,
        {"hidden_size": 384, "intermediate_size": 1152, "num_attention_heads": 6, **SPECIAL},
    ),
    "mmBERT-base": (ModernBertConfig, {**SPECIAL}),
}


def main() -> None:
    """Measure, print a table, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=32, help="of each text, special tokens included")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoders", nargs="+", default=list(SHAPES), choices=list(SHAPES))
    args = parser.parse_args()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    texts = made_texts(args.texts, args.tokens)
    took: dict[str, list[float]] = {name: [] for name in args.encoders}
    with tempfile.TemporaryDirectory() as scratch:
        folders = {name: saved(name, Path(scratch) / f"encoder-{k}") for k, name in enumerate(took)}
        for k in range(args.rounds):
            for name, folder in folders.items():
                run_extract(folder, texts[k : k + 32], Path(scratch), "auto")  # loads the encoder
                seconds = timed(folder, [*texts[k:], *texts[:k]], Path(scratch))
                took[name].append(1000 / len(texts) * seconds)
        shapes = {name: f"{n_layers(folder)} x {hidden_size(folder)}" for name, folder in folders.items()}
    print(f"{args.tokens} tokens a text; seconds for 1,000 texts\n\n| encoder | shape | s, median (range) |")
    print("|---|---|---|")
    for name, seconds in took.items():
        spread = f"{statistics.median(seconds):.1f} ({min(seconds):.1f}-{max(seconds):.1f})"
        print(f"| {name} | {shapes[name]} | {spread} |")
    print(json.dumps({"machine": machine(), "tokens": args.tokens, "shapes": shapes, "seconds": took}))


def made_texts(n: int, tokens: int) -> list[str]:
    """Return distinct texts of so many tokens each, of one-token words of the sample encoder."""
    tokenizer = load_tokenizer(SAMPLES / "encoder")
    ids = sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids))
    words = [word for word in tokenizer.batch_decode([[i] for i in ids]) if word.isalpha()]
    whole = [word for word in words if len(tokenizer(word, add_special_tokens=False)["input_ids"]) == 1]
    drawn = torch.randint(len(whole), (n, tokens - 2), generator=torch.Generator().manual_seed(0))
    return [" ".join(whole[k] for k in row) for row in drawn.tolist()]


def saved(name: str, folder: Path) -> Path:
    """Save an encoder of a shape with random weights and the sample encoder's tokenizer."""
    kind, fields = SHAPES[name]
    tokenizer = load_tokenizer(SAMPLES / "encoder")
    torch.manual_seed(0)
    AutoModel.from_config(kind(vocab_size=len(tokenizer), **fields)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def timed(folder: Path, texts: Sequence[str], cache: Path) -> float:
    """Return the seconds of an extraction; other texts, or others first, make another cache."""
    began = time.perf_counter()
    run_extract(folder, texts, cache, "auto")
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
