"""Models of sentence-transformers, by the library itself: its modules may be anything.

python -m pytest tests/finetune/embeddings/test_encode.py
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, first_sentence
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.opening import chosen_prompt
from mcbert.features.encoder.trust import trusts
from mcbert.files import read_bytes
from mcbert.files.objects import parse
from mcbert.finetune.embeddings.sentence_encoder import EncodeSettings, SentenceEncoder
from mcbert.finetune.weights import require_finite_weights

BATCH_SIZE = 32  # texts, the library's own


class LibraryEncoder(SentenceEncoder):
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
        self._model = _load(_library(where), folder, where, str(device))
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
    """Return the classes that a model's modules.json names outside the library.

    Raises
    ------
    EncoderError
        A modules.json that is none.
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


def _library(where: str) -> ModuleType:
    try:
        import sentence_transformers
    except ImportError as error:
        raise EncoderError(
            f"{where}: a model of sentence-transformers, which is not installed: pip install 'mcbert[sbert]'"
        ) from error
    return sentence_transformers


def _load(library: ModuleType, folder: Path, where: str, device: str) -> Any:
    try:
        with quiet():
            return library.SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=trusts(folder),
                local_files_only=True,
                model_kwargs={"dtype": torch.float32, "use_safetensors": True},
            )
    except (ValueError, OSError, KeyError, TypeError, AttributeError, RuntimeError, ImportError) as error:
        reason = first_sentence(error)
        raise EncoderError(f"{where}: sentence-transformers cannot load it ({reason})") from error
