"""Layers of an encoder and the pooling of each: the columns of a feature matrix, and how they are written.

    spec = FeatureSpec.of("6+8+11", "max")
    spec.blocks                           # ((6, "max"), (8, "max"), (11, "max"))
    FeatureSpec.of((6, 6), "max+mean")    # layer 6 under two poolings

Tables, ids and options write layers as "6+8+11", and poolings as "max" where all layers have the same one,
else as one for each layer, "max+mean+cls". These texts are split and joined here only.

python -m pytest tests/features/test_spec.py
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

Pooling = Literal["max", "mean", "cls", "last"]
POOLINGS: tuple[Pooling, ...] = get_args(Pooling)
"""Names of the functions that pool a text's token states (`features.encoder.pooling`), in canonical order."""

StorageDtype = Literal["float16", "float32"]
STORAGE_DTYPES: tuple[StorageDtype, ...] = get_args(StorageDtype)
"""Types of the numbers that a cache stores; it gives float32."""

LAYERS_FORM = r"\d+(\+\d+)*"
"""Regular expression of layers as text."""

POOLINGS_FORM = r"(?:{0})(?:\+(?:{0}))*".format("|".join(POOLINGS))
"""Regular expression of poolings as text."""

POOLINGS_ACCEPTED = f"{', '.join(POOLINGS)}, or one of them for each layer, joined by +"
"""The poolings that a text may name, for messages and help."""


def layers_text(layers: Iterable[int]) -> str:
    """Return layers as text, in their order: "6+8+11"; "" for none."""
    return "+".join(str(layer) for layer in layers)


def _ranges(layers: Iterable[int]) -> str:
    """Return layers as prose has them, three or more in a row by the ends: "1, 5 to 8, 11, 12"."""
    runs: list[list[int]] = []
    for layer in sorted(layers):
        if runs and layer == runs[-1][-1] + 1:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    parts = [f"{run[0]} to {run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def parse_layers(text: str) -> tuple[int, ...]:
    """Return the layers that a text such as "6+8+11" names, in its order.

    Raises
    ------
    ValueError
        The text has another form.
    """
    if not re.fullmatch(LAYERS_FORM, text):
        raise ValueError(f"layers: got {text!r}, accepted: whole numbers joined by +, such as 6+8+11")
    return tuple(int(layer) for layer in text.split("+"))


def parse_poolings(text: str, n_layers: int) -> tuple[str, ...]:
    """Return the pooling of each of so many layers: "max" names one for all, "max+mean" one for each of two.

    Raises
    ------
    ValueError
        An unknown pooling, or another number of them.
    """
    named = tuple(str(text).split("+"))
    poolings = named * n_layers if len(named) == 1 else named
    if len(poolings) != n_layers or not set(named) <= set(POOLINGS):
        raise ValueError(_no_poolings(text, n_layers))
    return poolings


def _no_poolings(given: str, n_layers: int) -> str:
    return f"pooling: got {given!r} for {n_layers} layers, accepted: {POOLINGS_ACCEPTED}"


def mixes_poolings(pooling: str) -> bool:
    """Return whether a text of poolings names one for each layer."""
    return "+" in pooling


@dataclasses.dataclass(frozen=True, order=True)
class FeatureSpec:
    """Layers and the pooling of each, in the order of the columns.

    The features of n texts are a float32 array of shape (n, len(layers) * hidden_size): the pooled states of
    each block, hidden_size columns wide, side by side.

    Parameters
    ----------
    layers : tuple of int
        At least one; 0 is the output of the embeddings. A layer may occur again under another pooling.
    poolings : tuple of str
        A name of `POOLINGS` for each layer.

    Raises
    ------
    ValueError
        No layers, a layer that is no whole number from 0, an unknown pooling, not as many poolings as layers.
    """

    layers: tuple[int, ...]
    poolings: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse what names no features."""
        if not self.layers or any(type(layer) is not int or layer < 0 for layer in self.layers):
            accepted = "at least one whole number, 0 (embeddings) or more"
            raise ValueError(f"layers: got {list(self.layers)}, accepted: {accepted}")
        if len(self.poolings) != len(self.layers) or not set(self.poolings) <= set(POOLINGS):
            got = "+".join(map(str, self.poolings))
            raise ValueError(_no_poolings(got, len(self.layers)))

    @classmethod
    def of(cls, layers: str | Sequence[int], pooling: str) -> FeatureSpec:
        """Read a spec from layers, as text or numbers, and the text of their poolings."""
        numbers = parse_layers(layers) if isinstance(layers, str) else tuple(layers)
        return cls(numbers, parse_poolings(pooling, len(numbers)))

    @classmethod
    def of_blocks(cls, blocks: Iterable[tuple[int, str]]) -> FeatureSpec:
        """Return the spec of (layer, pooling) pairs in canonical order: by layer, then as in `POOLINGS`."""
        ordered = sorted(blocks, key=lambda block: (block[0], POOLINGS.index(block[1])))
        return cls(tuple(layer for layer, _ in ordered), tuple(pooling for _, pooling in ordered))

    @property
    def blocks(self) -> tuple[tuple[int, str], ...]:
        """The (layer, pooling) of each hidden_size columns, in their order."""
        return tuple(zip(self.layers, self.poolings, strict=True))

    @property
    def is_mixed(self) -> bool:
        """Return True if layers have different poolings."""
        return len(set(self.poolings)) > 1

    @property
    def named_poolings(self) -> tuple[str, ...]:
        """One pooling where all layers have the same, else that of each layer."""
        return self.poolings if self.is_mixed else self.poolings[:1]

    @property
    def pooling(self) -> str:
        """The poolings as text: "max" where all layers have the same one, else "max+mean+cls"."""
        return "+".join(self.named_poolings)

    @property
    def words(self) -> str:
        """Layers and poolings as prose has them: "layers 5 to 12 under max, mean, cls"."""
        under: dict[int, list[str]] = {}
        for layer, pooling in self.blocks:
            under.setdefault(layer, []).append(pooling)
        alike: dict[tuple[str, ...], list[int]] = {}
        for layer, poolings in under.items():
            alike.setdefault(tuple(poolings), []).append(layer)
        return "; ".join(
            f"{'layers' if len(layers) > 1 else 'layer'} {_ranges(layers)} under {', '.join(poolings)}"
            for poolings, layers in alike.items()
        )

    def __str__(self) -> str:
        """Return layers and poolings as candidate ids have them: "6+8+11-max"."""
        return f"{layers_text(self.layers)}-{self.pooling}"
