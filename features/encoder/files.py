"""Find an encoder's files: in a folder or fetched from the hub by name, with checksums of weights."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from mcbert.files import opening, sha256_of_all

log = logging.getLogger(__name__)

WEIGHT_FILES = "*.safetensors"
PICKLED_FILES = "pytorch_model*.bin"
ADAPTER = "adapter_config.json"
TEXT_FILES = ("*.json", "*.txt", "*.model", "*.spm", "*.tiktoken", "*.bpe", "*.vocab")
"""Patterns of the files that a configuration or a tokenizer of any kind is read from."""


class EncoderError(ValueError):
    """An encoder that cannot be used; the message says which, why, and what to do."""


def first_sentence(error: Exception) -> str:
    """Return an error's first sentence: transformers follows it with advice of its own."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", str(error))  # torch colours its words for a terminal
    return " ".join(plain.split()).partition(". ")[0][:200]


def reason_of(error: Exception) -> str:
    """Return an error's kind and first sentence."""
    return f"{type(error).__name__}: {first_sentence(error)}".removesuffix(": ")


@contextmanager
def told(where: str, problem: str) -> Iterator[None]:
    """Turn any error of a package into an `EncoderError` of one line: where, the problem, what it said."""
    try:
        yield
    except (EncoderError, MemoryError):
        raise
    except Exception as error:
        raise EncoderError(f"{where}: {problem} ({reason_of(error)})") from error


def resolve(
    name: str,
    *,
    key: str = "encoder.path",
    files: Sequence[str] = (),
    revision: str = "",
    pickled: bool = False,
    code: bool = False,
    adapters: bool = False,
) -> Path:
    """Return the local folder of an encoder, fetching a hub name.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    key : str
        The setting that names it, for messages.
    files : sequence of str
        Patterns of files fetched beside weights, configuration and the files of a tokenizer.
    revision : str
        Commit, tag or branch on the hub; empty for the newest.
    pickled : bool
        Accept pickled weights where there are no others.
    code : bool
        Fetch the model's own Python files, too.
    adapters : bool
        Accept a folder of an adapter, which the caller merges.

    Raises
    ------
    EncoderError
        Not a folder with safetensors weights, and not reachable on the hub.
    """
    folder = Path(name)
    if not folder.is_dir():
        if _is_path(name):
            problem = "is a file" if folder.exists() else "is not a folder"
            raise EncoderError(f"{key}: {name!r} {problem}; accepted: a folder or a hub name")
        extra = [*([PICKLED_FILES] if pickled else []), *(["*.py"] if code else [])]
        folder = _fetch(name, key, [*files, *extra], revision)
    adapter = (folder / ADAPTER).is_file()
    if adapter and not adapters:
        raise EncoderError(
            f"{key}: {name}: it holds an adapter ({ADAPTER}), which is not applied here; accepted: the "
            "merged model, such as encoder.path makes of it under cache/encoders"
        )
    if not (folder / "config.json").is_file() and not adapter:
        raise EncoderError(f"{key}: {name}: no config.json there; accepted: a folder or a hub name")
    weights = list(folder.glob(WEIGHT_FILES)) or (pickled and list(folder.glob(PICKLED_FILES)))
    if not weights:
        raise EncoderError(
            f"{key}: {name}: no safetensors weights there; pickled weights are not read: convert them or let "
            "encoder.pickled_weights=true do so for an encoder"
        )
    return folder


def _is_path(name: str) -> bool:
    """Tell whether a name cannot be one of the hub, which are ``name`` or ``owner/name``."""
    return (
        name.startswith(("/", ".", "~")) or name.count("/") > 1 or name.endswith("/") or Path(name).exists()
    )


def _fetch(name: str, key: str, files: Sequence[str], revision: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    patterns = [WEIGHT_FILES, *TEXT_FILES, *files]
    at = f"huggingface.co/{name}"
    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=patterns))
    except GatedRepoError as error:  # a kind of the next
        raise EncoderError(
            f"{key}: {name!r}: {at} is gated; accept its terms there and log in with `hf auth login`, or set "
            f"{key} to a folder with it"
        ) from error
    except RepositoryNotFoundError as error:
        raise EncoderError(
            f"{key}: {name!r} is not a folder, and {at} is missing or private; accepted: a folder or hub name"
        ) from error
    except RevisionNotFoundError as error:
        raise EncoderError(f"{key}: {name!r}: {at} has no revision {revision!r}") from error
    except (OSError, ValueError) as error:
        log.debug("hub: %s", error)
        raise EncoderError(
            f"{key}: {name!r} is not a folder and cannot be fetched ({type(error).__name__}); "
            f"download {at} where there is a network and set {key} to the folder"
        ) from error


def require_own(folder: Path) -> None:
    """Make sure that a received model's folder holds files only; in the hub's cache, links to its files too.

    Raises
    ------
    RefusedFileError
        Names the first link, named pipe, device or socket.
    """
    whole = folder.absolute()
    shares = whole.parent.name == "snapshots" and (whole.parents[1] / "blobs").is_dir()
    opening.require_own(folder, within=whole.parents[1] if shares else folder)


def text_files(folder: Path) -> list[Path]:
    """Return the files of a folder from which a configuration or tokenizer may be read, by name."""
    found = {path for pattern in TEXT_FILES for path in folder.glob(pattern) if path.is_file()}
    return sorted(path for path in found if not path.name.endswith(".index.json"))


def identity(folder: Path) -> dict[str, str]:
    """Return sha256 of weights and of every file from which configuration or tokenizer may be read."""
    return {
        "weights": sha256_of_all(sorted(folder.glob(WEIGHT_FILES))),
        "files": sha256_of_all(text_files(folder)),
    }
