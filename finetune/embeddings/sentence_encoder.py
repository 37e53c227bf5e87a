"""What every sentence encoder does: texts to vectors, a few or any number of them.

python -m pytest tests/finetune/embeddings/test_encode.py
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mcbert.features.encoder import hardware
from mcbert.features.settings import COMPUTE_DTYPES
from mcbert.files import sha256_of_all

# float32 states of more tokens leave a processor's caches: 4,096 take 4% longer at 128 columns, 20% at 768
TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 65_536}
_READ = (".safetensors", ".json", ".txt", ".model", ".py")  # what of a model's files decides its vectors

WINDOW = 4096
"""Texts sorted together when they are streamed."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How texts are encoded; the defaults give the vectors that sentence-transformers gives."""

    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of weights and activations; auto: bfloat16 where the hardware multiplies it and layers are 256 wide."""

    tokens_per_batch: int = 0
    """Most padded tokens in a batch; 0: 1,024 on a processor, 65,536 on a GPU; the library's own size."""

    max_length: int = 0
    """Tokens kept of a text, special tokens included; 0: as many as the model says."""

    prompt: str = ""
    """Put before each text; empty: the model's own, where it has one."""

    prompt_name: str = ""
    """Instead of `prompt`, one that the model's folder names in ``config_sentence_transformers.json``."""

    revision: str = ""
    """Commit, tag or branch of a hub name; empty: the newest."""

    remote_code: bool = False
    """Run the Python files that come with the model, with your rights. A hub name then needs a commit."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if self.precision not in COMPUTE_DTYPES:
            raise ValueError(f"precision: got {self.precision!r}, accepted: {', '.join(COMPUTE_DTYPES)}")
        if self.tokens_per_batch < 0:
            raise ValueError(f"tokens_per_batch: got {self.tokens_per_batch}, accepted: 0 or more")
        if self.max_length < 0 or 0 < self.max_length < 3:
            raise ValueError(f"max_length: got {self.max_length}, accepted: 0, or 3 or more")
        if self.prompt and self.prompt_name:
            raise ValueError("prompt_name: got one beside prompt; accepted: either of them")

    @property
    def budget(self) -> int:
        """Most padded tokens in a batch on this machine."""
        return self.tokens_per_batch or TOKENS_PER_BATCH[hardware.device().type]


class VectorError(ValueError):
    """A text that gives no vector, or none that is finite.

    Attributes
    ----------
    position : int
        Of the text, from 0.
    """

    def __init__(self, name: str, position: int, reason: str = "its vector is not finite") -> None:
        super().__init__(f"{name}: text {position + 1}: {reason}")
        self.name, self.position, self.reason = name, position, reason


class SentenceEncoder(abc.ABC):
    """A model that turns texts into vectors.

    Attributes
    ----------
    name : str
        As it was asked for.
    dimension : int
        Length of a vector.
    """

    def __init__(self, name: str, folder: Path, dimension: int, made: dict[str, Any]) -> None:
        self.name, self.dimension = name, dimension
        self._folder, self._made = folder, made

    def identity(self) -> dict[str, Any]:
        """Return what decides the bits of a vector, in JSON's types; reads the model's files."""
        files = sorted(path for path in self._folder.rglob("*") if path.suffix in _READ and path.is_file())
        return {"model": sha256_of_all(files), **self._made}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Encode texts.

        Parameters
        ----------
        texts : sequence of str
            All are held at once, tokenised.

        Returns
        -------
        ndarray
            (n_texts, dimension), float32, in the order of the texts.

        Raises
        ------
        ValueError
            Something that is no text; a `VectorError` where a vector is not finite.
        """
        given: Sequence[object] = texts
        for position, text in enumerate(given):
            if not isinstance(text, str):
                kind = type(text).__name__
                raise ValueError(f"{self.name}: text {position + 1}: got {kind}, accepted: str")
        if not len(texts):
            return np.empty((0, self.dimension), dtype=np.float32)
        vectors = self._encode(list(texts))
        finite = np.isfinite(vectors.sum(axis=1, dtype=np.float64))
        if not finite.all():
            raise VectorError(self.name, int(np.flatnonzero(~finite)[0]))
        return vectors

    def stream(self, texts: Iterable[str], window: int = WINDOW) -> Iterator[np.ndarray]:
        """Encode any number of texts, `window` at a time; memory does not grow with them.

        Yields
        ------
        ndarray
            (at most `window`, dimension), float32, in the order of the texts.
        """
        rest = iter(texts)
        for start in itertools.count(step=window):
            block = list(itertools.islice(rest, window))
            if not block:
                return
            try:
                yield self.encode(block)
            except VectorError as error:
                raise VectorError(self.name, start + error.position, error.reason) from error

    @abc.abstractmethod
    def _encode(self, texts: list[str]) -> np.ndarray: ...
