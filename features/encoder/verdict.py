"""Results of an encoder's self-check, kept in a file that is read without torch.

python -m pytest tests/features/encoder/test_families.py
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcbert.features.encoder.files import EncoderError
from mcbert.files import write_text

VERSION = 2  # of the check; part of what a kept verdict is of


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Facts about an encoder whose states are transformers' own."""

    model_type: str
    """Its family, by config.json."""

    n_layers: int
    """Transformer blocks."""

    causal: bool
    """True if a token sees only those before it."""

    most_tokens: int | None
    """Tokens of a text that it can read; None: nothing limits them."""

    difference: float
    """Largest relative error of a pooled vector that was seen."""

    def require_poolings(self, poolings: Sequence[str], key: str) -> None:
        """Raise when a pooling reads a state that saw nothing of the text."""
        if self.causal and "cls" in poolings:
            raise EncoderError(
                f"{key}: got cls, but under the causal mask of {self.model_type} the first token sees only "
                "itself; accepted: last, mean, max"
            )

    def require_length(self, max_length: int, key: str) -> None:
        """Raise when texts may get longer than the encoder can read."""
        if self.most_tokens is not None and max_length > self.most_tokens:
            raise EncoderError(
                f"{key}: got {max_length}, accepted: at most {self.most_tokens}, the tokens that this "
                f"{self.model_type} reads of a text"
            )


def digest_of(identity: Mapping[str, str]) -> str:
    """Return the name of what is kept of an encoder: of its checksums, and the versions that run it."""
    about = {
        **identity,
        "torch": importlib.metadata.version("torch"),
        "transformers": importlib.metadata.version("transformers"),
        "check": str(VERSION),
    }
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()[:16]


def read_verdict(file: Path) -> Verdict | None:
    """Return a verdict that was kept; None where there is none, or it is damaged."""
    try:
        return Verdict(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def keep_verdict(file: Path, found: Verdict) -> None:
    """Write a verdict, whole or not at all."""
    file.parent.mkdir(parents=True, exist_ok=True)
    write_text(file, json.dumps(dataclasses.asdict(found)) + "\n")
