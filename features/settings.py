"""Settings of the encoder and of extraction; light to import, so that a config is read without torch."""

from __future__ import annotations

import dataclasses
from typing import Literal

from mcbert.features.spec import POOLINGS

COMPUTE_DTYPES = ("auto", "float32", "bfloat16")
STORAGE_DTYPES = ("float16", "float32")


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncoderSettings:
    """Which encoder, and how it reads a text."""

    path: str = ""
    """Local folder of a Hugging Face encoder, or its name on the hub."""

    revision: str = ""
    """Commit, tag or branch of a hub name; empty: the newest."""

    pickled_weights: bool = False
    """Allow weights in a pickle (``.bin``): read once by torch's loader for tensors only, then kept as
    safetensors under the cache. The format can carry code; that loader refuses to run it."""

    remote_code: bool = False
    """Run the Python files that come with the model, with your rights and whatever they do. A hub name then
    needs `revision` to be a commit."""

    max_length: int = 128
    """Tokens kept of a text or pair, special tokens included; at most what the encoder's positions allow."""

    prompt: str = ""
    """Put before each text, as the encoder was trained with: ``"query: "`` for E5. Of a pair before the first
    text. Models that a run exports keep it."""

    prompt_name: str = ""
    """Instead of `prompt`, one that the encoder's ``config_sentence_transformers.json`` names."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if not self.path:
            raise ValueError("encoder.path: got nothing, accepted: a folder or a hub name")
        if self.max_length < 3:
            raise ValueError(f"encoder.max_length: got {self.max_length}, accepted: 3 or more")
        if self.prompt and self.prompt_name:
            raise ValueError("encoder.prompt_name: got one beside encoder.prompt; accepted: either of them")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExtractSettings:
    """What to cache, and how to compute it."""

    layers: tuple[int, ...] = ()
    """Layers to cache, 0 (embeddings) to the number of blocks; empty: all of them."""

    poolings: tuple[str, ...] = ("max", "mean", "cls")
    """Poolings to cache: max, mean, cls, last. The last real token (last) is for causal encoders, whose first
    sees nothing of the text: there cls is refused."""

    special_tokens: Literal["include", "exclude"] = "include"
    """Whether max and mean see the special tokens; including them is the field's convention."""

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Of weights and activations; auto: bfloat16 where the hardware multiplies it and layers are 256 wide."""

    storage_dtype: Literal["float16", "float32"] = "float16"
    """Of the cached states; float16 halves the cache."""

    tokens_per_batch: int = 0
    """Most padded tokens in a batch; 0: 4,096 on a processor, 65,536 on a GPU."""

    unit_rows: int = 4096
    """Most distinct texts in a unit, the work that a kill can cost; also the window sorted into batches."""

    unit_tokens: int = 65_536
    """Most tokens in a unit, as estimated from bytes: a minute of an M-BERT in float32 on two processors."""

    units_per_task: int = 8
    """Units that a worker is handed at once; states do not depend on it."""

    on_nonfinite: Literal["stop", "skip"] = "stop"
    """What a NaN or infinite state does: end the run, or leave the text out of everything after."""

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
            ("on_nonfinite", ("stop", "skip")),
        ):
            if getattr(self, key) not in accepted:
                raise ValueError(
                    f"extract.{key}: got {getattr(self, key)!r}, accepted: {', '.join(accepted)}"
                )
        for key, least in (
            ("tokens_per_batch", 0),
            ("unit_rows", 1),
            ("unit_tokens", 1),
            ("units_per_task", 1),
        ):
            if getattr(self, key) < least:
                raise ValueError(f"extract.{key}: got {getattr(self, key)}, accepted: {least} or more")
