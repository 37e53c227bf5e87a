"""Try an encoder once, before its states are used: they are transformers' own, or the encoder is refused.

Each text goes alone through the whole model as transformers runs it (`output_hidden_states`), and all of
them padded together through the watched, cut and pooled way of `PooledEncoder`. Every layer and pooling must
agree.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import torch
from transformers import PreTrainedModel

from mcbert.features.encoder.files import EncoderError, told
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.tokens import most_tokens, tokenise
from mcbert.features.encoder.verdict import Verdict
from mcbert.features.spec import POOLINGS

TOLERANCE = 1e-3
"""Largest relative error, |ours - theirs| / |theirs| of a pooled vector. Rounding gives 1e-6 to 1e-5 in
float32, a missing norm or another module's output 0.1 and more."""

TEXTS = (
    "It is late.",
    "A longer text, so that the other one is padded: 1, 2, 3; ¿dónde está? 我的包裹在哪里",
)
LENGTH = 32  # tokens of a text at most


def examine(model: PreTrainedModel, folder: str | os.PathLike[str]) -> Verdict:
    """Try a whole encoder, which is cut on the way; `opening.verdict` says what for and what it raises.

    Parameters
    ----------
    model : PreTrainedModel
        As returned by `load_encoder`, not cut.
    folder : Path
        Where it came from.
    """
    where = f"encoder.path: {folder}"
    kind, depth, limit = model.config.model_type, int(model.config.num_hidden_layers), most_tokens(model)
    if getattr(model.config, "attention_type", None) == "block_sparse":  # of BigBird
        raise EncoderError(
            f"{where}: config.json: attention_type: got 'block_sparse', under which states depend on other "
            "texts of a batch and on earlier batches; accepted: 'original_full'"
        )
    with told(where, f"model type {kind!r}: it cannot be run"), torch.inference_mode():
        whole = _pooled(model, folder, depth)
        length = min(LENGTH, limit or LENGTH)
        tokens = [_tokens(whole, text, length) for text in TEXTS]
        alone = [_hidden_states(whole, row) for row in tokens]
        causal = _is_causal(whole, tokens[1], alone[1][-1])
        difference = _largest(whole, tokens, alone, where)
        if depth > 1:
            shorter = _pooled(model, folder, depth // 2)
            difference = max(difference, _largest(shorter, tokens, alone, where))
    return Verdict(model_type=kind, n_layers=depth, causal=causal, most_tokens=limit, difference=difference)


def _pooled(model: PreTrainedModel, folder: str | os.PathLike[str], deepest: int) -> PooledEncoder:
    return PooledEncoder(folder, layers=range(deepest + 1), poolings=POOLINGS, model=model)


def _tokens(encoder: PooledEncoder, text: str, length: int) -> dict[str, list[int]]:
    return tokenise(encoder.tokenizer, [(text, "")], length)[0]


def _hidden_states(encoder: PooledEncoder, row: Mapping[str, Sequence[int]]) -> tuple[torch.Tensor, ...]:
    """Return all states of one text, (1, seq, hidden) each, as transformers itself gives them."""
    inputs = {
        name: torch.tensor([ids], device=encoder.device) for name, ids in row.items() if encoder.takes(name)
    }
    states = encoder.model(**inputs, output_hidden_states=True, return_dict=True).hidden_states
    return tuple(states)


def _is_causal(encoder: PooledEncoder, row: Mapping[str, Sequence[int]], last: torch.Tensor) -> bool:
    """Return True if the states before the last token stay when that token alone changes.

    All of them are looked at: the first is out of reach of the last, too, where tokens see their neighbours.
    """
    ids = list(row["input_ids"])
    others = {**row, "input_ids": [*ids[:-1], ids[1] if ids[1] != ids[-1] else ids[0]]}
    changed = _hidden_states(encoder, others)[-1]
    return bool(torch.allclose(changed[0, :-1], last[0, :-1], rtol=1e-5, atol=1e-6)) and not bool(
        torch.allclose(changed[0, -1], last[0, -1], rtol=1e-5, atol=1e-6)
    )


def _largest(
    encoder: PooledEncoder,
    tokens: Sequence[Mapping[str, Sequence[int]]],
    alone: Sequence[tuple[torch.Tensor, ...]],
    where: str,
) -> float:
    """Return the largest relative error; both ways of pooling are tried, rows sorted by length and not."""
    worst = 0.0
    for order in (
        sorted(range(len(tokens)), key=lambda k: len(tokens[k]["input_ids"])),
        range(len(tokens))[::-1],
    ):
        ours = encoder([tokens[k] for k in order])  # (batch, n_layers, n_poolings, hidden)
        for row, k in enumerate(order):
            mask = torch.ones(alone[k][0].shape[:2], device=encoder.device)
            for position, layer in enumerate(encoder.layers):
                for j, name in enumerate(encoder.poolings):
                    wanted = pool(alone[k][layer], mask, name)[0]
                    error = float((ours[row, position, j] - wanted).norm() / wanted.norm().clamp_min(1e-12))
                    if not error <= TOLERANCE:
                        raise EncoderError(
                            f"{where}: model type {encoder.model.config.model_type!r}: layer {layer}, "
                            f"pooling {name}: our state differs from that of transformers by {error:.2g} of "
                            f"its length, accepted: {TOLERANCE:g}; this encoder cannot be used"
                        )
                    worst = max(worst, error)
    return worst
