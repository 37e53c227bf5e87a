"""Find an encoder's files and tell what makes it that encoder: folder or hub name, safetensors, checksums."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

log = logging.getLogger(__name__)

WEIGHT_FILES = "*.safetensors"
PICKLED_FILES = "pytorch_model*.bin"
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json",
                   "sentencepiece.bpe.model", "spm.model", "added_tokens.json")  # fmt: skip


class EncoderError(ValueError):
    """An encoder that cannot be used; the message says which, why, and what to do."""


def first_sentence(error: Exception) -> str:
    """Return an error's first sentence: the library follows it with advice of its own."""
    return " ".join(str(error).split()).partition(". ")[0][:200]


def resolve(
    name: str,
    *,
    key: str = "encoder.path",
    files: Sequence[str] = TOKENIZER_FILES,
    revision: str = "",
    pickled: bool = False,
    code: bool = False,
) -> Path:
    """Return the local folder of an encoder, fetching a hub name.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    key : str
        The setting that names it, for messages.
    files : sequence of str
        What its tokenizer reads.
    revision : str
        Commit, tag or branch on the hub; empty for the newest.
    pickled : bool
        Accept pickled weights where there are no others.
    code : bool
        Fetch the model's own Python files, too.

    Raises
    ------
    EncoderError
        Not a folder with safetensors weights, and not reachable on the hub.
    """
    folder = Path(name)
    if not folder.is_dir():
        extra = [*([PICKLED_FILES] if pickled else []), *(["*.py"] if code else [])]
        folder = _fetch(name, key, [*files, *extra], revision)
    if not (folder / "config.json").is_file():
        raise EncoderError(f"{key}: {name}: no config.json there; accepted: a folder or a hub name")
    if not list(folder.glob(WEIGHT_FILES)) and not (pickled and list(folder.glob(PICKLED_FILES))):
        raise EncoderError(
            f"{key}: {name}: no safetensors weights there; pickled weights are not read: convert them or let "
            "encoder.pickled_weights=true do so for an encoder"
        )
    return folder


def _fetch(name: str, key: str, files: Sequence[str], revision: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [WEIGHT_FILES, f"{WEIGHT_FILES}.index.json", "config.json", *files]
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        log.debug("hub: %s", error)
        raise EncoderError(
            f"{key}: {name!r} is no folder and cannot be fetched ({type(error).__name__}); "
            f"download huggingface.co/{name} where there is a network and set {key} to the folder"
        ) from error


def identity(folder: Path, files: Sequence[str] = TOKENIZER_FILES) -> dict[str, str]:
    """Return sha256 of weights, config and tokenizer files: what makes an encoder that encoder."""
    return {
        "encoder_weights": sha256(sorted(folder.glob(WEIGHT_FILES))),
        "encoder_config": sha256([folder / "config.json"]),
        "tokenizer": sha256([folder / f for f in files if (folder / f).is_file()]),
    }


def sha256(paths: Sequence[Path]) -> str:
    """Return the checksum of files, their names and sizes."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()
