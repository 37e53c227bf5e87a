"""Settings of one section that would do nothing beside those of another, refused before anything is read.

python -m pytest tests/pipeline/test_effects.py
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from mcbert.features.corpus import CorpusSettings, PrepareSettings

OF_RAW = (
    "translations",
    "labelled",
    "top_labels",
    "language",
    "seed",
    "balance",
    "dev_fraction",
    "test_fraction",
)
"""Settings of `prepare` that say what becomes of `prepare.raw`."""
OF_MODELS = ("translator_codes", "beams", "translation_length")
"""Settings of `prepare` for models that translate."""


def require_effect(corpus: CorpusSettings, prepare: PrepareSettings) -> None:
    """Refuse a corpus beside the raw texts, which would go unread, and what else nothing would read.

    Raises
    ------
    ValueError
        A setting that differs from its default and does nothing, with the one that makes it so.
    """
    for name in ("path", "languages", "format"):
        if prepare.raw and _is_set(corpus, name):
            raise ValueError(
                f"corpus.{name}: means nothing beside prepare.raw, which is read instead "
                f"({prepare.raw}); leave one of them out (prepare.raw=)"
            )
    if not prepare.raw:
        _require_default(prepare, OF_RAW, "without prepare.raw")
    if prepare.transfer != "translate-train":  # tables and models may stay: a file serves all transfers
        why = f'with prepare.transfer = "{prepare.transfer}", but with "translate-train"'
        _require_default(prepare, ("train_language",), why)
    if not prepare.raw and prepare.transfer != "translate-train":
        _require_default(
            prepare, ("translator",), 'without prepare.raw or prepare.transfer "translate-train"'
        )
    if not prepare.translator and not prepare.source_translator:
        _require_default(prepare, OF_MODELS, "without prepare.translator or prepare.source_translator")


def _require_default(settings: PrepareSettings, names: tuple[str, ...], why: str) -> None:
    for name in names:
        if _is_set(settings, name):
            default = json.dumps(_default(settings, name))
            raise ValueError(f"prepare.{name}: means nothing {why}; leave it out (prepare.{name}={default})")


def _is_set(settings: CorpusSettings | PrepareSettings, name: str) -> bool:
    return bool(getattr(settings, name) != _default(settings, name))


def _default(settings: CorpusSettings | PrepareSettings, name: str) -> Any:
    field = next(f for f in dataclasses.fields(settings) if f.name == name)
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
