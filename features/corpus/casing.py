"""What tokenisers did to cased models' texts when told to lower-case them: the casing of earlier experiments.

A tokenizer's own config says what its model was trained on, and is what everything else here follows. This is
for comparing with figures that were made otherwise.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple


def lowered(text: str) -> str:
    """Lower-case a text and strip its combining marks, as BERT's ``do_lower_case`` does.

    Canonical decomposition, then everything of category Mn away: accents, and also viramas and some vowel
    signs of Devanagari, voicing marks of kana and short vowels of Arabic.
    """
    decomposed = unicodedata.normalize("NFD", text.lower())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


class Altered(NamedTuple):
    """Shares of some sentences, 0 to 1."""

    altered: float
    """Whose letters `lowered` changes: a capital, or a mark."""

    stripped: float
    """That lose a mark."""


def share_altered(texts: Sequence[str]) -> Altered:
    """Return how many of some sentences, at least one, `lowered` alters."""
    whole = [unicodedata.normalize("NFD", text) for text in texts]
    altered = sum(lowered(text) != form for text, form in zip(texts, whole, strict=True))
    stripped = sum(any(unicodedata.category(c) == "Mn" for c in form) for form in whole)
    return Altered(altered / len(whole), stripped / len(whole))
