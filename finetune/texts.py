"""The run's labelled texts: reading them, and whether a protocol's dev texts are among them.

python -m pytest tests/finetune/test_texts.py
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.parallel import ParallelFolder
from mcbert.features.corpus.repeats import FEWEST_PAIRS, item_names, translations_of
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
    """What dev texts a corpus has, told before any training.

    Attributes
    ----------
    source_language : str
    targets : tuple of str
        The target languages.
    languages : frozenset of str
        Those with dev texts.
    translated : frozenset of str
        Target languages whose dev texts translate those of the source, or that have parallel sentences.
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

    def beside(self, parallel: ParallelFolder | None) -> DevTexts:
        """Return the same where there are parallel sentences, too."""
        more = parallel.names if parallel else ()
        return dataclasses.replace(self, translated=self.translated | frozenset(more))

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
                f"some of {self.source_language!r}, and gridsearch.parallel names no sentences; accepted: "
                f"{accepted}"
            )


def chooses_by_agreement(settings: TrainingSettings, *, freezes: bool) -> bool:
    """Tell whether the weights kept, or the layers frozen, depend on agreement."""
    watches = freezes and settings.freeze_rule in WATCHING
    return "agreement" in (settings.protocol, settings.freeze_watch if watches else "")


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
            watched = getattr(settings, "eval_texts", 0)
            if 0 < watched < FEWEST_PAIRS:
                raise ValueError(
                    f"{settings.section}.eval_texts: got {watched} with {name} agreement, accepted: 0 (all) "
                    f"or at least {FEWEST_PAIRS}"
                )
