"""The run's labelled texts: reading them, and whether a protocol's dev texts are among them.

python -m pytest tests/finetune/test_texts.py
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.repeats import FEWEST_PAIRS, translations_of
from mcbert.finetune.settings import WATCHING, TrainingSettings
from mcbert.results import csv_files
from mcbert.results.schema.texts import TEXTS


def read_texts(path: Path, source_language: str) -> Corpus:
    """Return the corpus of a run's texts.csv, with the cells that were neutralised in it restored."""
    return Corpus.of(csv_files.read(TEXTS, path), source_language, str(path))


@dataclasses.dataclass(frozen=True)
class DevTexts:
    """What dev texts a corpus has, told before any training.

    Attributes
    ----------
    source_language : str
    targets : tuple of str
        The target languages.
    languages : frozenset of str
        Those with dev texts.
    translated : frozenset of str
        Target languages whose dev texts translate those of the source.
    """

    source_language: str
    targets: tuple[str, ...]
    languages: frozenset[str]
    translated: frozenset[str]

    @classmethod
    def of(cls, table: pd.DataFrame, source_language: str) -> DevTexts:
        """Read them off the id, label, language and split of each text."""
        return cls(
            source_language,
            tuple(sorted(set(table["language"]) - {source_language})),
            frozenset(table["language"][table["split"] == "dev"]),
            frozenset(translations_of(table, source_language, "dev", fewest=FEWEST_PAIRS)),
        )

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> DevTexts:
        """Read them off a corpus."""
        return cls.of(corpus.table, corpus.source_language)

    def require(self, key: str, accepted: str) -> None:
        """Raise where a target language has no dev texts, or there is none.

        Parameters
        ----------
        key : str
            The setting that says target-dev.
        accepted : str
            What it may say instead.
        """
        if not self.targets:
            raise ValueError(
                f"{key}: got target-dev, but the corpus has the source language only; accepted: {accepted}"
            )
        for language in self.targets:
            if language not in self.languages:
                raise ValueError(
                    f"{key}: got target-dev, but the corpus has no dev rows of {language!r}; accepted: "
                    f"{accepted}"
                )

    def require_translations(self, key: str, accepted: str) -> None:
        """Raise where there are no source dev texts with translations; parameters as of `require`."""
        if not self.translated:
            raise ValueError(
                f"{key}: got agreement, but no target language has {FEWEST_PAIRS} dev texts that translate "
                f"some of {self.source_language!r}; accepted: {accepted}"
            )


def require_protocol(settings: TrainingSettings, dev: DevTexts, *, freezes: bool) -> None:
    """Raise when the protocol, or the rule that freezes, looks at dev rows that are not there."""
    watches = freezes and settings.freeze_rule in WATCHING
    for name, value, others in (
        ("protocol", settings.protocol, "last, source-dev"),
        ("freeze_watch", settings.freeze_watch if watches else "", "source-dev"),
    ):
        if value == "target-dev":
            dev.require(f"{settings.section}.{name}", others)
        elif value == "agreement":
            dev.require_translations(f"{settings.section}.{name}", others)
