"""Sentences and their translations, for the choice by agreement: found, read, encoded.

    python -m mcbert gridsearch --config demo gridsearch.parallel=tatoeba/v1

They serve the target languages in which the corpus has no translations of its dev texts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.formats.parallel import is_table, languages_in, pair_files, read_pairs
from mcbert.features.corpus.normal_forms import bcp47
from mcbert.features.corpus.repeats import FEWEST_PAIRS, translations_of
from mcbert.files import sha256
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.workspace import Workspace, shown

MOST = 500  # pairs of a language that are encoded: kappa has a standard error of 0.04 then


def translated_dev(table: pd.DataFrame, source_language: str) -> dict[str, np.ndarray]:
    """Return the source's dev texts and their translations, rows (2, n), by language, where they suffice."""
    return translations_of(table, source_language, "dev", fewest=FEWEST_PAIRS)


@dataclasses.dataclass(frozen=True)
class ParallelFolder:
    """The sentences that ``gridsearch.parallel`` names, for some target languages.

    Attributes
    ----------
    path : Path
    names : mapping of str to str
        Target language -> its name in the folder; only those that are there.
    """

    path: Path
    names: Mapping[str, str]

    @classmethod
    def of(cls, path: Path, source_language: str, targets: Collection[str]) -> ParallelFolder:
        """Find the target languages in a folder, zh-TW as zh where it has no other.

        Raises
        ------
        ValueError
            The folder has no parallel sentences, or the source language is not English, with which they are
            paired.
        """
        if not languages_in(path):
            raise ValueError(
                f"gridsearch.parallel: no translated sentences in {shown(str(path))!r}; accepted: a folder "
                "in LASER's layout, or one with raw.csv and translations/<language>.csv"
            )
        if _subtag(source_language) != "en":
            raise ValueError(
                f"gridsearch.parallel: got sentences paired with English for corpus.source_language "
                f"{source_language!r}; accepted: nothing, or English as the source"
            )
        names = {
            target: name
            for target in targets
            for name in dict.fromkeys((_subtag(target), target))
            if all(file.is_file() for file in pair_files(path, [name]))
        }
        return cls(path, names)

    def checksums(self) -> dict[str, Any]:
        """Return what the sentences depend on."""
        return {file.name: sha256(file) for file in pair_files(self.path, sorted(set(self.names.values())))}

    def encoded(self, workspace: Workspace, first: int) -> tuple[Path, dict[str, np.ndarray]]:
        """Return the folder of the sentences' cache and their pairs, whose rows are counted from `first`."""
        from mcbert.finetune.embeddings.systems import texts_of  # torch, which a settled search needs not
        from mcbert.finetune.embeddings.translations import SUFFIXES

        pairs = self._pairs()
        folder = cached(workspace, texts_of(pairs, SUFFIXES), str(self.path))
        n, named = len(pairs), pairs["language"].to_numpy()
        there = (FeatureStore.open(folder).index >= 0).reshape(2, n).all(axis=0)
        rows = {name: first + np.flatnonzero(there & (named == name)) for name in set(self.names.values())}
        for name, found in rows.items():
            if len(found) < FEWEST_PAIRS:
                raise ValueError(
                    f"gridsearch.parallel: {shown(str(self.path))}: {name}: got {len(found)} pairs to choose "
                    f"by, accepted: at least {FEWEST_PAIRS} of each target language that it has"
                )
        return folder, {target: np.stack([rows[name] + n, rows[name]]) for target, name in self.names.items()}

    def _pairs(self) -> pd.DataFrame:
        """Return at most `MOST` pairs of each language, spread over its files; of a table those of dev."""
        pairs = read_pairs(self.path, sorted(set(self.names.values())))
        if is_table(self.path):
            pairs = pairs[pairs["split"] == "dev"]
        kept = [
            rows[np.unique(np.linspace(0, len(rows) - 1, MOST).astype(np.int64))]
            for rows in pairs.reset_index(drop=True).groupby("language", sort=False).indices.values()
        ]
        return pairs.iloc[np.concatenate(kept)].reset_index(drop=True)


def _subtag(language: str) -> str:
    return bcp47(language).split("-")[0]
