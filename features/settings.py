"""Settings of the encoder and of extraction; light to import, so that a config is read without torch."""

from __future__ import annotations

import dataclasses
from typing import Literal

POOLINGS = ("max", "mean", "cls")  # a test holds this equal to what features.encoder.pooling offers
COMPUTE_DTYPES = ("float32", "bfloat16")
STORAGE_DTYPES = ("float16", "float32")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Which encoder, and how it reads a text."""

    path: str = ""
    """Local folder of a Hugging Face encoder, or its name on the hub."""

    max_length: int = 128
    """Tokens kept of a text or pair, special tokens included."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if not self.path:
            raise ValueError("encoder.path: got nothing, accepted: a folder or a hub name")
        if self.max_length < 3:
            raise ValueError(f"encoder.max_length: got {self.max_length}, accepted: 3 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """What to cache, and how to compute it."""

    layers: tuple[int, ...] = ()
    """Layers to cache, 0 (embeddings) to the number of blocks; empty: all of them."""

    poolings: tuple[str, ...] = ("max", "mean", "cls")
    """Poolings to cache."""

    special_tokens: Literal["include", "exclude"] = "include"
    """Whether max and mean see the special tokens; including them is the field's convention."""

    dtype: Literal["float32", "bfloat16"] = "float32"
    """Of weights and activations; bfloat16 is several times faster where the processor has it."""

    storage_dtype: Literal["float16", "float32"] = "float16"
    """Of the cached states; float16 halves the cache."""

    tokens_per_batch: int = 4096
    """Most padded tokens in a batch."""

    unit_rows: int = 1024
    """Distinct texts per acknowledged unit: what a kill can cost at most."""

    rows_per_file: int = 262_144
    """Distinct texts per HDF5 file, a multiple of `unit_rows`."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        for name in self.poolings:
            if name not in POOLINGS:
                raise ValueError(f"extract.poolings: got {name!r}, accepted: {', '.join(POOLINGS)}")
        if not self.poolings or len(set(self.poolings)) != len(self.poolings):
            raise ValueError(f"extract.poolings: got {list(self.poolings)}; name each pooling once")
        for key, accepted in (
            ("special_tokens", ("include", "exclude")),
            ("dtype", COMPUTE_DTYPES),
            ("storage_dtype", STORAGE_DTYPES),
        ):
            if getattr(self, key) not in accepted:
                raise ValueError(
                    f"extract.{key}: got {getattr(self, key)!r}, accepted: {', '.join(accepted)}"
                )
        for key in ("tokens_per_batch", "unit_rows", "rows_per_file"):
            if getattr(self, key) < 1:
                raise ValueError(f"extract.{key}: got {getattr(self, key)}, accepted: 1 or more")
