"""The search, wired: examples.npz of a corpus beside its cached states, then the search over them.

python -m mcbert gridsearch --config demo
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.pipeline.progress import track

if TYPE_CHECKING:
    from mcbert.execution import Execute
    from mcbert.features.cache import FeatureStore
    from mcbert.features.corpus import Corpus
    from mcbert.search.space import GridsearchSettings


def search(
    settings: GridsearchSettings,
    states: FeatureStore,
    corpus: Corpus,
    *,
    out: Path,
    execute: Execute,
    stamp: Mapping[str, str],
) -> None:
    """Search over cached states of a corpus; rows whose states were skipped take part in nothing.

    Parameters
    ----------
    out : Path
        Folder of the results; must exist.
    execute : Execute
        Runs the tasks.
    stamp : mapping
        Columns that every row carries.
    """
    from mcbert.search import data
    from mcbert.search.gridsearch import gridsearch

    split = corpus.table["split"].to_numpy(dtype=object)
    split[states.skipped_rows] = data.SKIPPED
    path = out / "examples.npz"
    data.write_examples(
        path,
        y=corpus.y,
        language=corpus.table["language"].tolist(),
        split=split.tolist(),
        labels=corpus.labels,
        source_language=corpus.source_language,
        ids=corpus.table["id"].tolist(),
    )
    gridsearch(
        settings, store=states.folder, examples=path, out=out, execute=execute, stamp=stamp, track=track
    )
