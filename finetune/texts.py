"""The run's labelled texts: reading them, and whether a protocol's dev texts are among them.

python -m pytest tests/finetune/test_texts.py
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.repeats import item_names
from mcbert.features.corpus.stratified import stratified_sample
from mcbert.finetune.settings import WATCHING, TrainingSettings
from mcbert.results import csv_files
from mcbert.results.schema.texts import TEXTS

log = logging.getLogger(__name__)


def read_texts(path: Path, source_language: str) -> Corpus:
    """Return the corpus of a run's texts.csv, with the cells that were neutralised in it restored."""
    return Corpus.of(csv_files.read(TEXTS, path), source_language, str(path))


def watched_dev(corpus: Corpus, n: int) -> np.ndarray:
    """Draw the dev texts that trainings score after each epoch: of each language the same items, by label.

    Parameters
    ----------
    n : int
        Texts of each language; 0, or more than it has: all.

    Returns
    -------
    ndarray
        Whether a dev row is scored, bool (n_dev,). No seed of a training changes it.
    """
    table = corpus.table.iloc[corpus.rows(split="dev")]
    watched = np.ones(len(table), dtype=bool)
    if not n:
        return watched
    names, labels, language = item_names(table), table["label"].to_numpy(), table["language"].to_numpy()
    for one in corpus.languages:
        here = language == one
        watched[here] = stratified_sample(names[here].tolist(), labels[here].tolist(), n)
    log.info("finetune: trainings are scored on %d of %d dev texts (finetune.eval_texts), the weights kept "
             "on all", watched.sum(), len(watched))  # fmt: skip
    return watched


@dataclasses.dataclass(frozen=True)
class DevTexts:
    """The target languages of a corpus, and which languages have dev texts, told before any training."""

    targets: tuple[str, ...]
    languages: frozenset[str]

    @classmethod
    def of(cls, rows: Iterable[tuple[str, str]], source_language: str) -> DevTexts:
        """Read them off the split and the language of each text."""
        found = set(rows)
        targets = sorted({language for _, language in found} - {source_language})
        return cls(tuple(targets), frozenset(language for split, language in found if split == "dev"))

    @classmethod
    def of_corpus(cls, corpus: Corpus) -> DevTexts:
        """Read them off a corpus."""
        rows = zip(corpus.table["split"], corpus.table["language"], strict=True)
        return cls.of(rows, corpus.source_language)

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


def require_protocol(settings: TrainingSettings, dev: DevTexts, *, freezes: bool) -> None:
    """Raise when the protocol, or the rule that freezes, looks at dev rows that are not there."""
    if settings.protocol == "target-dev":
        dev.require(f"{settings.section}.protocol", "last, source-dev")
    elif freezes and settings.freeze_rule in WATCHING and settings.freeze_watch == "target-dev":
        dev.require(f"{settings.section}.freeze_watch", "source-dev")
