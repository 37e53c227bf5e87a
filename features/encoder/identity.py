"""The identity of an encoder: checksums of weights, configuration, tokenizer and code that runs.

That of the tokenizer is of what transformers makes of its files, which takes seconds to import: it is kept in
a file under the files' own checksum and the versions of the libraries.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import re
from functools import lru_cache
from pathlib import Path

from mcbert.features.encoder.files import WEIGHT_FILES, text_files
from mcbert.features.encoder.trust import trusts
from mcbert.files import sha256_of_all, write_text

Stamps = tuple[tuple[str, int, int, int], ...]


def encoder_identity(folder: str | os.PathLike[str], kept: Path | None = None) -> dict[str, str]:
    """Return the checksums that make an encoder that encoder, those of its code among them where it runs.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    kept : Path, optional
        Folder where the tokenizer's checksum is kept.
    """
    folder = Path(folder)
    return dict(_identity(folder, _stamps(folder), trusts(folder), kept and kept.absolute()))


def _stamps(folder: Path) -> Stamps:
    files = [*folder.glob(WEIGHT_FILES), *text_files(folder), *folder.glob("*.py")]
    found = ((path.name, path.stat()) for path in sorted(files))
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)


@lru_cache(maxsize=8)  # weights may be gigabytes, and a stage asks several times
def _identity(folder: Path, _: Stamps, code: bool, kept: Path | None) -> dict[str, str]:
    found = {
        "encoder_weights": sha256_of_all(sorted(folder.glob(WEIGHT_FILES))),
        "encoder_config": sha256_of_all([folder / "config.json"]),
        "tokenizer": _tokenizer(folder, code, kept),
    }
    return found | ({"encoder_code": sha256_of_all(sorted(folder.glob("*.py")))} if code else {})


def _tokenizer(folder: Path, code: bool, kept: Path | None) -> str:
    files = [*text_files(folder), *(sorted(folder.glob("*.py")) if code else [])]
    versions = [importlib.metadata.version(name) for name in ("transformers", "tokenizers")]
    name = hashlib.sha256(" ".join([sha256_of_all(files), *versions]).encode()).hexdigest()[:16]
    file = None if kept is None else kept / f"{name}.tokenizer"
    if file is not None and file.is_file():
        known = file.read_text(encoding="utf-8", errors="replace").strip()
        if re.fullmatch("[0-9a-f]{64}", known):
            return known
    from mcbert.features.encoder.tokens import tokenizer_identity

    found = tokenizer_identity(folder)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, f"{found}\n")
    return found
