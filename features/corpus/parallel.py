"""Sentences and their translations, for what is chosen by agreement: found in a folder, and drawn.

parallel = ParallelFolder.of(Path("tatoeba/v1"), "en", ["de", "zh-TW"])
parallel.pairs(500)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import printable
from mcbert.features.corpus.formats.parallel import is_table, languages_in, pair_files, read_pairs
from mcbert.features.corpus.normal_forms import bcp47
from mcbert.features.corpus.repeats import FEWEST_PAIRS
from mcbert.files import sha256

MOST = 500  # pairs of a language: kappa has a standard error of 0.04 then


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
                f"gridsearch.parallel: no translated sentences in {printable(str(path))}; accepted: a folder "
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

    def checksums(self) -> dict[str, str]:
        """Return the checksums of the files with the sentences, by name."""
        return {file.name: sha256(file) for file in pair_files(self.path, sorted(set(self.names.values())))}

    def pairs(self, most: int = MOST) -> pd.DataFrame:
        """Return at most `most` pairs of each language, spread over its files; of a table those of dev.

        Returns
        -------
        DataFrame
            As of `read_pairs`; language is its name in the folder.
        """
        found = read_pairs(self.path, sorted(set(self.names.values())))
        if is_table(self.path):
            found = found[found["split"] == "dev"]
        kept = [
            rows[np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))]
            for rows in found.reset_index(drop=True).groupby("language", sort=False).indices.values()
        ]
        return found.iloc[np.concatenate([np.empty(0, np.int64), *kept])].reset_index(drop=True)

    def numbered(self, pairs: pd.DataFrame, usable: np.ndarray) -> dict[str, np.ndarray]:
        """Return where the English sentences and their translations are, where the translations come first.

        Parameters
        ----------
        pairs : DataFrame
            Of `pairs`.
        usable : ndarray of bool
            (n_pairs,), those that take part.

        Returns
        -------
        dict of str to ndarray
            By target language, int64 (2, n): rows of English sentences, n_pairs and on, and of translations.

        Raises
        ------
        ValueError
            A language has too few.
        """
        named = pairs["language"].to_numpy()
        rows = {name: np.flatnonzero(usable & (named == name)) for name in set(self.names.values())}
        for name, found in rows.items():
            if len(found) < FEWEST_PAIRS:
                raise ValueError(
                    f"gridsearch.parallel: {printable(str(self.path))}: {name}: got {len(found)} pairs to "
                    f"choose by, accepted: at least {FEWEST_PAIRS} of each target language that it has"
                )
        return {
            target: np.stack([rows[name] + len(pairs), rows[name]]) for target, name in self.names.items()
        }


def _subtag(language: str) -> str:
    return bcp47(language).split("-")[0]
