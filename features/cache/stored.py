"""What is stored of each distinct text; the errors of a cache, each one line that says which file and why."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np

from mcbert.features.spec import STORAGE_DTYPES

MOST_COLUMNS = 1 << 20  # of one layer; the largest encoders have some 20,000
_NAME = re.compile(r"[a-z][a-z0-9_]*")


class StoreError(ValueError):
    """A cache that is not whole, not ours, not the one asked for, or that cannot be written."""


class StoreFullError(StoreError, OSError):
    """There is no room for what was to be written; everything acknowledged before is kept."""


def are_whole(numbers: Iterable[Any]) -> bool:
    """Whether all are whole numbers from 0 that fit 64 bits."""
    return all(type(number) is int and 0 <= number < 1 << 63 for number in numbers)


def require_whole(what: str, numbers: Iterable[Any]) -> None:
    """Raise unless all are whole numbers from 0 that fit 64 bits; `what` opens the message."""
    wrong = [number for number in numbers if not are_whole([number])]
    if wrong:
        raise StoreError(f"{what}: got {str(wrong[0])[:40]}, accepted: whole numbers from 0")


def dataset_name(layer: int, pooling: str) -> str:
    """Return the HDF5 path of one layer and pooling."""
    return f"layer_{layer:02d}/{pooling}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """Layers, poolings, hidden size and dtype of the states stored of every distinct text."""

    layers: tuple[int, ...]
    """Layers, 0 (embeddings) upwards."""

    poolings: tuple[str, ...]
    """Poolings of each layer."""

    hidden_size: int
    """Columns of one layer."""

    storage_dtype: str
    """``float16`` or ``float32``, little endian."""

    def __post_init__(self) -> None:
        """Refuse what cannot be stored, naming the field."""
        if not self.layers or not are_whole(self.layers) or len(set(self.layers)) < len(self.layers):
            raise StoreError(f"layers: got {list(self.layers)}, accepted: numbers from 0, each once")
        if not self.poolings or len(set(self.poolings)) < len(self.poolings):
            raise StoreError(f"poolings: got {list(self.poolings)}, accepted: names, each once")
        for name in self.poolings:
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                raise StoreError(f"poolings: got {name!r}, accepted: small letters, digits and underscores")
        if not are_whole([self.hidden_size]) or not 1 <= self.hidden_size <= MOST_COLUMNS:
            raise StoreError(f"hidden_size: got {self.hidden_size}, accepted: 1 to {MOST_COLUMNS}")
        if self.storage_dtype not in STORAGE_DTYPES:
            raise StoreError(
                f"storage_dtype: got {self.storage_dtype!r}, accepted: {', '.join(STORAGE_DTYPES)}"
            )

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> StoreSpec:
        """Return the spec that was stored as JSON."""
        lists = {name: tuple(fields[name]) for name in ("layers", "poolings")}
        return cls(**lists, hidden_size=fields["hidden_size"], storage_dtype=fields["storage_dtype"])

    @cached_property
    def datasets(self) -> tuple[tuple[int, str], ...]:
        """(layer, pooling) of every dataset, in the order of their checksums."""
        return tuple((layer, pooling) for layer in self.layers for pooling in self.poolings)

    @property
    def n_datasets(self) -> int:
        """Datasets in the file of a unit."""
        return len(self.layers) * len(self.poolings)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype on the disk."""
        return np.dtype(self.storage_dtype).newbyteorder("<")

    @property
    def stride(self) -> int:
        """Bytes of a row of a dataset."""
        return self.hidden_size * self.dtype.itemsize
