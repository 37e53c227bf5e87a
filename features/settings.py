"""Settings of the encoder and of extraction; light to import, so that a config is read without torch."""

from __future__ import annotations

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from mcbert.features.spec import Pooling, StorageDtype
from mcbert.settings import HERE, Distinct, Filled, Positive, Whole, section

ComputeDtype = Literal["auto", "float32", "bfloat16"]
COMPUTE_DTYPES: tuple[ComputeDtype, ...] = get_args(ComputeDtype)


@section("encoder")
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

    max_length: Annotated[int, Field(ge=3)] = 128
    """Tokens kept of a text or pair, special tokens included; at most what the encoder's positions allow."""

    prompt: str = ""
    """Put before each text, as the encoder was trained with: ``"query: "`` for E5. Of a pair before the first
    text. Models that a run exports keep it."""

    prompt_name: str = ""
    """Instead of `prompt`, one that the encoder's ``config_sentence_transformers.json`` names."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.path:
            raise ValueError(f"{HERE}.path: got nothing, accepted: a folder or a hub name")
        if self.prompt and self.prompt_name:
            raise ValueError(f"{HERE}.prompt_name: got one beside {HERE}.prompt; accepted: either of them")
        return self


@section("extract")
class ExtractSettings:
    """Settings of extraction: layers and poolings to cache, and how to compute them."""

    layers: Distinct[Whole] = ()
    """Layers to cache, 0 (embeddings) to the number of blocks; empty: all of them."""

    poolings: Filled[Pooling] = ("max", "mean", "cls")
    """Poolings to cache: max, mean, cls, last. The last real token (last) is for causal encoders, whose first
    sees nothing of the text: there cls is refused."""

    special_tokens: Literal["include", "exclude"] = "include"
    """Special tokens in max and mean pooling; including them is the field's convention."""

    dtype: ComputeDtype = "auto"
    """Of weights and activations; auto: bfloat16 where the hardware multiplies it and layers are 256 wide."""

    storage_dtype: StorageDtype = "float16"
    """Of the cached states; float16 halves the cache."""

    tokens_per_batch: Whole = 0
    """Most padded tokens in a batch; 0: 4,096 on the CPU, 65,536 on a GPU. As of `unit_rows` and
    `unit_tokens`, the last bits of states depend on it: other texts share a batch, whose products round
    otherwise."""

    unit_rows: Positive = 4096
    """Most distinct texts in a unit, the work that a kill can cost; also the window sorted into batches."""

    unit_tokens: Positive = 65_536
    """Most tokens in a unit, as estimated from bytes: a minute of an M-BERT in float32 on two CPU cores."""

    units_per_task: Positive = 8
    """Units that a worker is handed at once; states do not depend on it."""

    on_nonfinite: Literal["stop", "skip"] = "stop"
    """On a NaN or infinite state: stop ends the run, skip leaves the text out of all later stages."""
