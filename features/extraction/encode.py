"""Encode units of texts: tokenise, batch by token count, pool every layer, cast, write.

The next unit is tokenised and the last one written while the present one is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from transformers import PreTrainedModel

from mcbert.features.cache import StoreSpec, pending, write_unit
from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, reason_of
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import plan_batches, set_prompt, tokenise
from mcbert.features.extraction.texts import PackedTexts

# batches between which the buffers are given back: after each would cost 7% of a small encoder's time, after
# a whole unit the peak grows by 150 MB over a hundred thousand texts
BATCHES_KEPT = 4

Tokens = list[dict[str, list[int]]]
Check = Callable[[], None]
Item = TypeVar("Item")
Ready = TypeVar("Ready")
Made = TypeVar("Made")
Result = TypeVar("Result")


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
        Message of transformers or torch, on one line.
    """

    def __init__(self, number: int, reason: str) -> None:
        super().__init__(number, reason)
        self.number, self.reason = number, reason

    def __str__(self) -> str:
        """Say which text and why."""
        return f"text {self.number + 1}: the encoder fails on it ({self.reason})"


class NonFiniteStateError(ValueError):
    """A state that is NaN or infinite in the storage dtype.

    Attributes
    ----------
    number, layer : int
        Distinct text, and the first layer where it shows.
    """

    def __init__(self, number: int, layer: int) -> None:
        super().__init__(number, layer)
        self.number, self.layer = number, layer


TextError = NonFiniteStateError | UnencodableTextError
"""Errors that end an extraction and name a text."""


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


@dataclass(frozen=True)
class EncodingTask:
    """Work order for encoding units in a process: paths and plain values, no texts and no features."""

    cache: Path
    texts: Path
    encoder: Path
    units: tuple[tuple[int, int], ...]  # first distinct text and the number after the last
    spec: StoreSpec
    fingerprint: str  # canonical JSON, hashable, so that a process loads its encoder once
    threads: int = 0  # of this process; 0 leaves them as they are


@lru_cache(maxsize=1)
def _unit_encoder(folder: Path, settings: str) -> UnitEncoder:
    return UnitEncoder(folder, json.loads(settings))


def run_task(task: EncodingTask) -> int | TextError:
    """Encode the units of a task; return how many, or what stops it at a text."""
    try:
        return sum(1 for _ in encode_units(task))
    except (NonFiniteStateError, UnencodableTextError) as error:
        return error


def encode_units(task: EncodingTask, check: Check = lambda: None) -> Iterator[int]:
    """Encode the units of a task, yielding the number of texts of each once it is on the disk.

    A task that was begun before, by a process that died, continues after the units that are there.

    Raises
    ------
    NonFiniteStateError
        A state that cannot be stored, unless the fingerprint says to skip such texts.
    RuntimeError
        This process computes on another kind of device than the cache is for.
    """
    fields = json.loads(task.fingerprint)
    kind = hardware.device().type
    if kind != fields["device"]:
        raise RuntimeError(f"{task.cache} is computed on {fields['device']}, and this process has {kind}")
    if task.threads:
        torch.set_num_threads(task.threads)
    left = pending(task.cache, task.spec, task.units)
    if not left:
        return
    texts = PackedTexts(task.texts)
    encoder = _unit_encoder(task.encoder, json.dumps({name: fields[name] for name in UnitEncoder.NEEDS}))

    def work(prepared: tuple[int, Prepared]) -> torch.Tensor:
        start, unit = prepared
        try:
            return encoder.encode(unit, check)
        except UnencodableTextError as error:
            raise UnencodableTextError(start + error.number, error.reason) from error

    def store(unit: tuple[int, int], states: torch.Tensor) -> int:
        array = states.cpu().numpy()
        skipped = refused(unit[0], array, fields)
        write_unit(task.cache, task.spec, start=unit[0], states=array, skipped=skipped)
        return len(array)

    yield from overlap(
        left,
        before=lambda unit: (unit[0], encoder.prepare(texts.read(*unit))),
        work=work,
        after=store,
    )


def overlap(
    items: Sequence[Item],
    before: Callable[[Item], Ready],
    work: Callable[[Ready], Made],
    after: Callable[[Item, Made], Result],
) -> Iterator[Result]:
    """Run ``after(item, work(before(item)))`` for each item, in order.

    `before` runs in a thread one item ahead, `work` in the caller's, `after` in a thread one item behind, so
    no more than three items are under way. An error of any step ends the line once the threads are idle; the
    items before it are finished, those after it untouched.

    Yields
    ------
    Result
        Results of `after`, in order.
    """
    with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as behind:
        ready: Future[Ready] | None = ahead.submit(before, items[0]) if items else None
        finishing: Future[Result] | None = None
        for k, item in enumerate(items):
            prepared = ready.result() if ready is not None else before(item)
            ready = ahead.submit(before, items[k + 1]) if k + 1 < len(items) else None
            made = work(prepared)
            if finishing is not None:
                yield finishing.result()
            finishing = behind.submit(after, item, made)
        if finishing is not None:
            yield finishing.result()


def refused(start: int, states: np.ndarray, fields: Mapping[str, Any]) -> list[int]:
    """Return the distinct texts of a unit that have no finite state, or raise at the first."""
    layers = first_bad_layers(states)
    bad = np.flatnonzero(layers >= 0)
    if len(bad) and fields["on_nonfinite"] == "stop":
        raise NonFiniteStateError(start + int(bad[0]), fields["layers"][layers[bad[0]]])
    return [start + int(k) for k in bad]
