"""Where labelled texts are and how raw ones become a corpus; light to import."""

from __future__ import annotations

import dataclasses
from typing import Literal


@dataclasses.dataclass(frozen=True, kw_only=True)
class CorpusSettings:
    """Where the labelled texts are, when `prepare` does not make them."""

    path: str = ""
    """Table with columns id, text, label, language, split and perhaps text_pair; or a release's folder."""

    format: Literal["table", "xnli"] = "table"
    """``table``: CSV, TSV, JSON Lines or Parquet; ``xnli``: folder with MultiNLI 1.0 and XNLI 1.0 in it."""

    source_language: str = "en"
    """Language of the training texts."""

    languages: tuple[str, ...] = ()
    """Languages to keep; empty keeps all (required for ``xnli``)."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if self.format not in ("table", "xnli"):
            raise ValueError(f"corpus.format: got {self.format!r}, accepted: table, xnli")
        if self.languages and self.source_language not in self.languages:
            raise ValueError(
                f"corpus.languages: the source language {self.source_language!r} is not among them"
            )
        if self.format == "xnli" and not self.languages:
            raise ValueError("corpus.languages: name the XNLI languages to keep, for example ['en', 'de']")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """How raw texts of one language become a corpus of several."""

    raw: str = ""
    """Table of raw texts with columns id, text, label; empty: `corpus.path` is read as it is."""

    language: str = "en"
    """Language of the raw texts, the source language."""

    top_labels: int = 4
    """Keep this many labels, the most frequent ones (ties by name); 0 keeps all."""

    dev_fraction: float = 0.135
    """Share of each label's texts for dev."""

    test_fraction: float = 0.27
    """Share of each label's texts for test."""

    balance: bool = True
    """Duplicate training texts of the smaller labels until every label has as many as the largest."""

    translations: dict[str, str] = dataclasses.field(default_factory=dict)
    """Language -> table with columns id, text that translates the dev and test texts."""

    seed: int = 0
    """Seed of the split and of the choice of duplicates."""

    def __post_init__(self) -> None:
        """Refuse values that cannot work, naming the key."""
        if self.top_labels < 0:
            raise ValueError(f"prepare.top_labels: got {self.top_labels}, accepted: 0 (all) or more")
        for name in ("dev_fraction", "test_fraction"):
            if not 0 < getattr(self, name) < 1:
                raise ValueError(f"prepare.{name}: got {getattr(self, name)}, accepted: between 0 and 1")
        if self.dev_fraction + self.test_fraction >= 1:
            raise ValueError("prepare.dev_fraction: with test_fraction it leaves nothing to train on")
        if self.language in self.translations:
            raise ValueError(f"prepare.translations: {self.language!r} is the language of the raw texts")
