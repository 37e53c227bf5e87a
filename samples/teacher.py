"""Vectors of a teacher encoder for English sentences, computed once and kept in a folder.

The folder holds blocks of sentences: ``0000.json``, the sentences, and ``0000.npy``, their vectors. A
sentence is encoded when no block has it, so a run that was stopped goes on, and more sentences add blocks.
"""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from mcbert.features.encoder import hardware
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import plan_batches, set_prompt, tokenise
from mcbert.files.whole import sha256, write_bytes, write_text

log = logging.getLogger("teacher")

BLOCK = 8192  # sentences: some minutes of work
CUT = 128  # tokens of a sentence that the teacher reads
IDENTITY = "teacher.json"


class Teacher:
    """Mean-pooled states of a frozen encoder, kept in a folder.

    Parameters
    ----------
    encoder : Path
        A Hugging Face folder.
    kept : Path
        Folder of the blocks, of this encoder and prompt alone.
    prompt : str
        Prefix of every sentence.
    layers : sequence of int
        Layers to return; a new folder keeps these.

    Raises
    ------
    SystemExit
        The blocks are those of another encoder or prompt, or lack a layer.
    """

    def __init__(self, encoder: Path, kept: Path, *, prompt: str, layers: Sequence[int]) -> None:
        kept.mkdir(parents=True, exist_ok=True)
        weights = {path.name: sha256(path) for path in sorted(encoder.glob("*.safetensors"))}
        mine = {"weights": weights, "prompt": prompt, "cut": CUT, "layers": list(layers)}
        identity = kept / IDENTITY
        if not identity.exists():
            write_text(identity, json.dumps(mine))
        other = json.loads(identity.read_text(encoding="utf-8"))
        if {**other, "layers": 0} != {**mine, "layers": 0} or set(layers) - set(other["layers"]):
            raise SystemExit(f"{identity}: made as {other}; asked for: {mine}; choose another folder")
        self.encoder, self.kept, self.prompt, self.layers = encoder, kept, prompt, other["layers"]
        self._columns = [self.layers.index(layer) for layer in layers]

    def vectors(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the pooled states, (n_sentences, n_layers, hidden), float16; encode those not kept yet."""
        self._encode(sorted(set(sentences) - self._sentences().keys()))
        at = self._sentences()
        where = np.array([at[s] for s in sentences])  # (n_sentences, 2): block, row
        out = np.empty((len(sentences), len(self._columns), self._width()), dtype=np.float16)
        for number in np.unique(where[:, 0]):
            rows = np.flatnonzero(where[:, 0] == number)
            block = np.load(self.kept / f"{number:04d}.npy", mmap_mode="r", allow_pickle=False)
            out[rows] = block[where[rows, 1]][:, self._columns]
        return out

    def _width(self) -> int:
        return int(np.load(self.kept / "0000.npy", mmap_mode="r", allow_pickle=False).shape[-1])

    def _sentences(self) -> dict[str, tuple[int, int]]:
        """Return sentence -> (block, row) of all that are kept."""
        return {
            sentence: (number, row)
            for number, path in enumerate(sorted(self.kept.glob("[0-9]*.json")))
            for row, sentence in enumerate(json.loads(path.read_text(encoding="utf-8")))
        }

    def _encode(self, missing: Sequence[str]) -> None:
        if not missing:
            return
        log.info("teacher: %d sentences to encode", len(missing))
        dtype = torch.bfloat16 if hardware.has_bfloat16(hardware.device().type) else torch.float32
        encoder = PooledEncoder(self.encoder, layers=self.layers, poolings=("mean",), dtype=dtype)
        set_prompt(encoder.tokenizer, self.prompt)
        first = len(list(self.kept.glob("[0-9]*.json")))
        for start in range(0, len(missing), BLOCK):
            block = missing[start : start + BLOCK]
            tokens = tokenise(encoder.tokenizer, [(s, "") for s in block], CUT)
            out = np.empty((len(block), len(self.layers), encoder.hidden_size), dtype=np.float16)
            for rows in plan_batches(np.array([len(t["input_ids"]) for t in tokens]), 2048):
                out[rows] = encoder([tokens[r] for r in rows])[:, :, 0].cpu().numpy()
            number = first + start // BLOCK
            stored = io.BytesIO()
            np.save(stored, out)
            write_bytes(self.kept / f"{number:04d}.npy", stored.getvalue())
            write_text(self.kept / f"{number:04d}.json", json.dumps(block, ensure_ascii=False))
            log.info("teacher: %d of %d", start + len(block), len(missing))


def reduce(states: np.ndarray, width: int) -> torch.Tensor:
    """Return unit vectors on the first principal components of centred states.

    Centring spreads the vectors of an encoder whose cosine similarities are all high; of all linear maps to
    `width` columns, the components keep most of the variance.

    Parameters
    ----------
    states : ndarray
        (n, hidden) of any float dtype; at least `width` columns.

    Returns
    -------
    Tensor
        (n, width), float32.
    """
    x = torch.from_numpy(states).float()
    x -= x.mean(dim=0)
    _, components = torch.linalg.eigh(x.T @ x)  # ascending eigenvalues
    return functional.normalize(x @ components[:, -width:].flip(1), dim=-1)
