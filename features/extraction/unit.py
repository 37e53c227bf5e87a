"""Encode one unit of texts: tokenise, batch by token count, pool every layer, cast to the storage dtype."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, reason_of
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import plan_batches, set_prompt, tokenise

# batches between which the buffers are given back: after each would cost 7% of a small encoder's time, after
# a whole unit the peak grows by 150 MB over a hundred thousand texts
BATCHES_KEPT = 4

Tokens = list[dict[str, list[int]]]


@dataclass(frozen=True)
class Prepared:
    """A tokenised unit and its batches: row numbers of the unit, shortest texts first."""

    tokens: Tokens
    batches: list[np.ndarray]


class UnencodableTextError(EncoderError):
    """A text on which the encoder itself fails.

    Attributes
    ----------
    number : int
        Of the text, from 0: in a unit, or among all distinct texts.
    reason : str
        What the library said, one line.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number, self.reason = number, reason

    def __str__(self) -> str:
        """Say which text and why."""
        return f"text {self.number + 1}: the encoder fails on it ({self.reason})"


class UnitEncoder:
    """The encoder with everything that decides the bits of a feature.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    fields : dict
        The fields of the cache's fingerprint that are in `NEEDS`.
    model : PreTrainedModel, optional
        The encoder, loaded from `folder` already; by default it is loaded.
    """

    NEEDS = ("encoder_weights", "encoder_config", "tokenizer", "layers", "poolings", "dtype",
             "special_tokens", "storage_dtype", "max_length", "prompt", "tokens_per_batch")  # fmt: skip

    def __init__(self, folder: Path, fields: dict[str, Any], model: PreTrainedModel | None = None) -> None:
        self.max_length, self.tokens_per_batch = fields["max_length"], fields["tokens_per_batch"]
        self.storage = getattr(torch, fields["storage_dtype"])
        self.pooled = PooledEncoder(
            folder,
            layers=fields["layers"],
            poolings=fields["poolings"],
            dtype=getattr(torch, fields["dtype"]),
            content_only=fields["special_tokens"] == "exclude",
            model=model,
        )
        set_prompt(self.pooled.tokenizer, fields["prompt"])

    def prepare(self, texts: Sequence[tuple[str, str]]) -> Prepared:
        """Tokenise texts and plan their batches."""
        special = self.pooled.content_only
        tokens = tokenise(self.pooled.tokenizer, texts, self.max_length, special=special)
        lengths = np.array([len(row["input_ids"]) for row in tokens])
        return Prepared(tokens, plan_batches(lengths, self.tokens_per_batch))

    def encode(self, unit: Prepared, check: Callable[[], None]) -> torch.Tensor:
        """Run the encoder over a unit; `check` is called before every batch and may raise.

        Returns
        -------
        Tensor
            (n_unit, n_layers, n_poolings, hidden) in the storage dtype, on the encoder's device, in the order
            of the texts; one layer and pooling of it is contiguous, as it will be on the disk.
        """
        pooled = self.pooled
        shape = (len(pooled.layers), len(pooled.poolings), len(unit.tokens), pooled.hidden_size)
        states = torch.empty(shape, dtype=self.storage, device=pooled.device)
        for done, rows in enumerate(unit.batches):
            check()
            if done % BATCHES_KEPT == 0:
                hardware.release_buffers()
            self._encode_batch(states, unit, rows)
        hardware.release_buffers()
        return states.permute(2, 0, 1, 3)

    def _encode_batch(self, states: torch.Tensor, unit: Prepared, rows: np.ndarray) -> None:
        """Encode rows of a unit; where the encoder fails, alone once more, to tell which of them it is."""

        def run(some: np.ndarray) -> None:
            tokens = [unit.tokens[r] for r in some]
            longest = max(len(row["input_ids"]) for row in tokens)
            with hardware.steady_threads(len(tokens) * longest):
                self.pooled.encode_into(states, tokens, torch.from_numpy(some).to(self.pooled.device))

        try:
            run(rows)
        except torch.OutOfMemoryError:
            raise
        except (RuntimeError, IndexError, ValueError) as error:
            for row in rows:
                try:
                    run(np.array([row]))
                except (RuntimeError, IndexError, ValueError) as alone:
                    raise UnencodableTextError(int(row), reason_of(alone)) from error
            raise UnencodableTextError(int(rows[0]), f"{reason_of(error)}; not alone, in a batch") from error


def first_bad_layers(states: np.ndarray) -> np.ndarray:
    """Return for each text the position of the first layer with a NaN or infinity, or -1.

    Parameters
    ----------
    states : ndarray of float
        (n_unit, n_layers, n_poolings, hidden).
    """
    lowest, largest = torch.aminmax(
        torch.from_numpy(states)
    )  # a NaN passes through; numpy takes 100 times as long
    if bool(torch.isfinite(lowest) & torch.isfinite(largest)):
        return np.full(len(states), -1)
    bad = ~np.isfinite(states).all(axis=(2, 3))
    return np.where(bad.any(axis=1), bad.argmax(axis=1), -1)
