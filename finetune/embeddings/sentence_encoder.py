"""Sentence encoders: pooled layers of an encoder, and models of sentence-transformers.

    encoder.encode(["...", "..."])                # (2, encoder.dimension), float32
    for vectors in encoder.stream(texts): ...     # any number of texts, in constant memory

`finetune.embeddings.opening` makes one of a folder or a hub name. Texts are sorted by length within a window
and encoded in batches as full as a budget of tokens allows.
"""

from __future__ import annotations

import abc
import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import numpy as np
import torch
from torch import nn

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, first_sentence
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.opening import chosen_prompt
from mcbert.features.encoder.tokens import prompt_of
from mcbert.features.encoder.trust import trusts
from mcbert.features.extraction.encode import UnencodableTextError, UnitEncoder
from mcbert.features.settings import COMPUTE_DTYPES
from mcbert.files import read_bytes, sha256_of_all
from mcbert.files.objects import parse
from mcbert.finetune.weights import require_finite_weights

# float32 states of more tokens leave the CPU's caches: 4,096 take 4% longer at 128 columns, 20% at 768
TOKENS_PER_BATCH = {"cpu": 1024, "cuda": 65_536}
_READ = (".safetensors", ".json", ".txt", ".model", ".py")  # the files of a model that decide its vectors

WINDOW = 4096
"""Texts sorted together when they are streamed."""

BATCH_SIZE = 32  # texts, the default of sentence-transformers

LayerPoolings = Sequence[tuple[int, str]]
"""Layer and pooling of each part of a vector."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EncodeSettings:
    """How texts are encoded; the defaults give the vectors that sentence-transformers gives."""

    precision: Literal["auto", "float32", "bfloat16"] = "float32"
    """Of weights and activations; auto: bfloat16 where the hardware multiplies it and layers are 256 wide."""

    tokens_per_batch: int = 0
    """Most padded tokens in a batch; 0: 1,024 on the CPU, 65,536 on a GPU, and of a model of
    sentence-transformers 32 texts."""

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
    """A text without a vector, or with one that is not finite.

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
        """Return everything that decides the bits of a vector, in JSON's types; reads the model's files."""
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


class PooledSentenceEncoder(SentenceEncoder):
    """Pooled layers of an encoder, concatenated.

    Parameters
    ----------
    name : str
        As it was asked for.
    folder : Path
        Of the encoder and its tokenizer.
    unit : UnitEncoder
        Pools every layer that a block needs by every pooling that one needs, in float32.
    blocks : sequence of (int, str)
        Layer and pooling of each part of a vector, in order.
    """

    def __init__(self, name: str, folder: Path, unit: UnitEncoder, blocks: LayerPoolings) -> None:
        pooled = unit.pooled
        self._unit = unit
        self._places = [(pooled.layers.index(layer), pooled.poolings.index(one)) for layer, one in blocks]
        made = {
            "blocks": [f"{layer}:{one}" for layer, one in blocks],
            "dtype": str(pooled.model.dtype).removeprefix("torch."),
            "device": pooled.device.type,
            "max_length": unit.max_length,
            "prompt": prompt_of(pooled.tokenizer),
            "tokens_per_batch": unit.tokens_per_batch,
        }
        super().__init__(name, folder, len(blocks) * pooled.hidden_size, made)

    def _encode(self, texts: list[str]) -> np.ndarray:
        prepared = self._unit.prepare([(text, "") for text in texts])
        try:
            states = self._unit.encode(prepared, lambda: None)  # (n_texts, n_layers, n_poolings, hidden)
        except UnencodableTextError as error:
            raise VectorError(self.name, error.number, f"the encoder fails on it ({error.reason})") from error
        vectors = torch.cat([states[:, layer, one] for layer, one in self._places], dim=1)
        found: np.ndarray = vectors.cpu().numpy()
        return found


class SentenceTransformerEncoder(SentenceEncoder):
    """A model of sentence-transformers.

    Parameters
    ----------
    name : str
        As it was asked for.
    folder : Path
        With its modules.json.
    where : str
        Opens messages.
    """

    def __init__(self, name: str, folder: Path, *, where: str, settings: EncodeSettings) -> None:
        foreign = foreign_modules(folder, where)
        if foreign and not trusts(folder):
            raise EncoderError(
                f"{where}: modules.json: {foreign[0]} is code that comes with the model and runs with your "
                "rights; --remote-code allows it, for a folder or a commit of the hub"
            )
        device = hardware.device()
        self._model = _load(_sentence_transformers(where), folder, where, str(device))
        require_finite_weights(self._model, where)
        width = int(getattr(self._model.config, "hidden_size", None) or 0)
        dtype = hardware.compute_dtype(settings.precision, width, device.type)
        module: nn.Module = self._model
        hardware.align(module)
        module.eval().to(dtype=getattr(torch, dtype))
        if settings.max_length:
            self._model.max_seq_length = settings.max_length
        length = self._model.max_seq_length or BATCH_SIZE
        self._batch_size = (
            max(1, settings.tokens_per_batch // length) if settings.tokens_per_batch else BATCH_SIZE
        )
        self._prompt = chosen_prompt(folder, settings, "--prompt-name") or None
        default = self._model.prompts.get(self._model.default_prompt_name or "", "")
        made = {"dtype": dtype, "prompt": self._prompt or default, "device": device.type,
                "max_length": self._model.max_seq_length, "batch_size": self._batch_size}  # fmt: skip
        dimension = self._model.get_embedding_dimension() or len(self._vectors(["a"])[0])
        super().__init__(name, folder, int(dimension), made)

    def _encode(self, texts: list[str]) -> np.ndarray:
        return self._vectors(texts)

    def _vectors(self, texts: list[str]) -> np.ndarray:
        found = self._model.encode(
            texts, prompt=self._prompt, batch_size=self._batch_size, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)


def foreign_modules(folder: Path, where: str) -> list[str]:
    """Return the classes that a model's modules.json names outside sentence-transformers.

    Raises
    ------
    EncoderError
        A modules.json that cannot be read as one.
    """
    try:
        listed = parse(read_bytes(folder / "modules.json", links=True))
        kinds = [one["type"] for one in listed]
        foreign = [kind for kind in kinds if not kind.startswith("sentence_transformers.")]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EncoderError(f"{where}: modules.json: not a list of modules ({error!r})") from error
    if not kinds:
        raise EncoderError(f"{where}: modules.json: not a list of modules (it is empty)")
    return foreign


def _sentence_transformers(where: str) -> ModuleType:
    try:
        import sentence_transformers
    except ImportError as error:
        raise EncoderError(
            f"{where}: a model of sentence-transformers, which is not installed: pip install 'mcbert[sbert]'"
        ) from error
    return sentence_transformers


def _load(sentence_transformers: ModuleType, folder: Path, where: str, device: str) -> Any:
    try:
        with quiet():
            return sentence_transformers.SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=trusts(folder),
                local_files_only=True,
                model_kwargs={"dtype": torch.float32, "use_safetensors": True},
            )
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        reason = first_sentence(error)
        raise EncoderError(f"{where}: sentence-transformers cannot load it ({reason})") from error
