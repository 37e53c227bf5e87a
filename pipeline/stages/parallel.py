"""Sentences and their translations, for what is chosen by agreement: which serve, and their states.

    python -m mcbert gridsearch --config demo gridsearch.parallel=tatoeba/v1

They serve the target languages in which the corpus has no translations of its dev texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.parallel import ParallelFolder
from mcbert.features.corpus.repeats import FEWEST_PAIRS, translations_of
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.workspace import Workspace


def translated_dev(table: pd.DataFrame, source_language: str) -> dict[str, np.ndarray]:
    """Return the source's dev texts and their translations, rows (2, n), by language, where they suffice."""
    return translations_of(table, source_language, "dev", fewest=FEWEST_PAIRS)


def serving(workspace: Workspace, targets: Sequence[str]) -> ParallelFolder | None:
    """Return the sentences of the target languages whose dev texts are not translated; None without any."""
    path, source = workspace.config.gridsearch.parallel, workspace.config.corpus.source_language
    translated = translated_dev(workspace.texts_table(), source)
    lacking = [language for language in targets if language not in translated]
    if not path or not lacking:
        return None
    found = ParallelFolder.of(Path(path), source, lacking)
    return found if found.names else None


def encoded(parallel: ParallelFolder, workspace: Workspace, first: int) -> tuple[Path, dict[str, np.ndarray]]:
    """Return the folder of the sentences' cache and their pairs, whose rows are counted from `first`."""
    from mcbert.finetune.embeddings.systems import texts_of  # torch, which a settled search needs not
    from mcbert.finetune.embeddings.translations import SUFFIXES

    pairs = parallel.pairs()
    folder = cached(workspace, texts_of(pairs, SUFFIXES), str(parallel.path))
    there = np.all(FeatureStore.open(folder).index.reshape(2, len(pairs)) >= 0, axis=0)
    return folder, {target: rows + first for target, rows in parallel.numbered(pairs, there).items()}
