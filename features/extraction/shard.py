"""Encode one shard: the next unit is tokenised and the last one written while the present one is encoded."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mcbert.features.cache import Shard, ShardWriter, StoreSpec
from mcbert.features.encoder import hardware
from mcbert.features.extraction.overlap import overlap
from mcbert.features.extraction.texts import PackedTexts
from mcbert.features.extraction.unit import Prepared, UnencodableTextError, UnitEncoder, first_bad_layers

Check = Callable[[], None]


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
"""What stops an extraction at a text."""


@dataclass(frozen=True)
class ShardTask:
    """What a process needs to encode a shard: paths and plain values, no texts and no features."""

    cache: Path
    texts: Path
    encoder: Path
    shard: Shard
    spec: StoreSpec
    fingerprint: str  # canonical JSON, hashable, so that a process loads its encoder once
    threads: int = 0  # of this process; 0 leaves them as they are


@lru_cache(maxsize=1)
def _unit_encoder(folder: Path, settings: str) -> UnitEncoder:
    return UnitEncoder(folder, json.loads(settings))


def encode_shard(task: ShardTask) -> int | TextError:
    """Encode what is missing of a shard; return the number of units, or what stops it at a text."""
    try:
        return sum(1 for _ in encode_units(task))
    except (NonFiniteStateError, UnencodableTextError) as error:
        return error


def encode_units(task: ShardTask, check: Check = lambda: None) -> Iterator[int]:
    """Encode the missing units of a shard, yielding the number of texts of each once it is acknowledged.

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
    texts = PackedTexts(task.texts)
    with ShardWriter(task.cache, task.shard, task.spec) as writer:
        pending = writer.pending()
        if not pending:
            return
        encoder = _unit_encoder(task.encoder, json.dumps({name: fields[name] for name in UnitEncoder.NEEDS}))

        def work(prepared: tuple[int, Prepared]) -> torch.Tensor:
            start, unit = prepared
            try:
                return encoder.encode(unit, check)
            except UnencodableTextError as error:
                raise UnencodableTextError(start + error.number, error.reason) from error

        def store(unit: tuple[int, int], states: torch.Tensor) -> int:
            array = states.cpu().numpy()
            writer.write(unit[0], array, refused(unit[0], array, fields))
            return len(array)

        yield from overlap(
            pending,
            before=lambda unit: (unit[0], encoder.prepare(texts.read(*unit))),
            work=work,
            after=store,
        )


def refused(start: int, states: np.ndarray, fields: Mapping[str, Any]) -> list[int]:
    """Return the distinct texts of a unit that have no finite state, or raise at the first."""
    layers = first_bad_layers(states)
    bad = np.flatnonzero(layers >= 0)
    if len(bad) and fields["on_nonfinite"] == "stop":
        raise NonFiniteStateError(start + int(bad[0]), fields["layers"][layers[bad[0]]])
    return [start + int(k) for k in bad]
