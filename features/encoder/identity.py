"""What makes an encoder that encoder: checksums of weights, configuration, tokenizer and code that runs."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

from mcbert.features.encoder.files import WEIGHT_FILES, text_files
from mcbert.features.encoder.tokens import tokenizer_identity
from mcbert.features.encoder.trust import trusts
from mcbert.files import sha256_of_all

Stamps = tuple[tuple[str, int, int, int], ...]


def encoder_identity(folder: str | os.PathLike[str]) -> dict[str, str]:
    """Return the checksums that make an encoder that encoder, those of its code among them where it runs."""
    folder = Path(folder)
    return dict(_identity(folder, _stamps(folder), trusts(folder)))


def _stamps(folder: Path) -> Stamps:
    files = [*folder.glob(WEIGHT_FILES), *text_files(folder), *folder.glob("*.py")]
    found = ((path.name, path.stat()) for path in sorted(files))
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in found)


@lru_cache(maxsize=8)  # weights may be gigabytes, and a stage asks several times
def _identity(folder: Path, _: Stamps, code: bool) -> dict[str, str]:
    found = {
        "encoder_weights": sha256_of_all(sorted(folder.glob(WEIGHT_FILES))),
        "encoder_config": sha256_of_all([folder / "config.json"]),
        "tokenizer": tokenizer_identity(folder),
    }
    return found | ({"encoder_code": sha256_of_all(sorted(folder.glob("*.py")))} if code else {})
