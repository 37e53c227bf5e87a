"""Similarity search for translations: every layer x pooling of the cache, and sentence encoders beside them.

python -m mcbert retrieval --config demo retrieval.tatoeba=tatoeba/v1
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from mcbert.features.corpus.casing import lowered
from mcbert.features.corpus.formats.parallel import languages_in, pair_files, read_pairs
from mcbert.features.store import FeatureStore
from mcbert.pipeline.evaluation.systems import (
    Beside,
    System,
    encoded_systems,
    frozen_systems,
    last_layer,
    settled,
)
from mcbert.pipeline.evaluation.translations import evaluate, sentence_name
from mcbert.pipeline.run import sha256
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.workspace import Workspace
from mcbert.results import overall
from mcbert.results.schema import REDUCTIONS, TATOEBA
from mcbert.search.sentences.retrieval import RetrievalSettings

log = logging.getLogger(__name__)

SHOWN = 5  # skipped sentences named in a warning


def retrieval(workspace: Workspace, beside: Sequence[Beside] = ()) -> None:
    """Write ``tatoeba.csv`` and, beside sentence encoders, ``reductions.csv``; needs no labelled texts."""
    config = workspace.config
    settings = config.retrieval
    found = languages(settings)
    inputs = {
        "retrieval": {"languages": found, "neighbours": settings.neighbours, "compat": settings.seed_compat},
        "extract": dataclasses.asdict(config.extract),
        "encoder": workspace.encoder_inputs,
        "files": {path.name: sha256(path) for path in files(settings)},
        "systems": settled(workspace, "retrieval", beside, TATOEBA.file_name),
    }

    def work() -> list[str]:
        pairs = read_pairs(Path(settings.tatoeba), found)
        rows = texts(pairs, compat=settings.seed_compat)
        store = FeatureStore.open(cached(workspace, rows, settings.tatoeba))
        frozen = frozen_systems(workspace, store, beside)
        _warn_of_skipped(store, pairs)
        systems: list[System] = [*frozen, *encoded_systems(beside, rows)]
        last = last_layer(workspace) if beside else None
        tables = evaluate(pairs, systems, neighbours=settings.neighbours, last=last)
        folder = workspace.run.folder
        for name in REDUCTIONS.file_names:
            (folder / name).unlink(missing_ok=True)
        return [
            path.name
            for table, frame in zip((TATOEBA, REDUCTIONS), tables, strict=True)
            if len(frame)
            for path in overall.write(table, workspace.stamped(frame), folder / table.file_name)
        ]

    workspace.run.stage("retrieval", inputs, work, replace=("systems",))


def languages(settings: RetrievalSettings) -> list[str]:
    """Return the languages asked for, or all in the folder.

    Raises
    ------
    ValueError
        No folder is given, or it holds no sets.
    """
    accepted = (
        "accepted: a folder in LASER's layout (its data/tatoeba/v1), or one with raw.csv and "
        "translations/<language>.csv"
    )
    if not settings.tatoeba:
        raise ValueError(f"retrieval.tatoeba: got nothing, {accepted}")
    found = list(settings.languages) or languages_in(Path(settings.tatoeba))
    if not found:
        raise ValueError(f"retrieval.tatoeba: no tatoeba.<xxx>-eng.<xxx> in {settings.tatoeba}, {accepted}")
    return found


def files(settings: RetrievalSettings) -> list[Path]:
    """Return the files that are read; those that are missing are left for the reader to name."""
    paths = pair_files(Path(settings.tatoeba), languages(settings))
    return [path for path in paths if path.is_file()]


def texts(pairs: pd.DataFrame, *, compat: bool = False) -> list[tuple[str, str, str]]:
    """Return the rows of the cache: all foreign sentences, then all English ones, perhaps lower-cased."""
    sides = [(pairs["id"], pairs["text"]), (pairs["id"] + "-en", pairs["text_pair"])]
    rows = [(name, text) for ids, side in sides for name, text in zip(ids, side, strict=True)]
    return [(name, lowered(text) if compat else text, "") for name, text in rows]


def _warn_of_skipped(store: FeatureStore, pairs: pd.DataFrame) -> None:
    skipped = store.skipped_rows
    if len(skipped):
        names = ", ".join(sentence_name(pairs, int(row)) for row in skipped[:SHOWN])
        log.warning("retrieval: %d sentences have no finite state; their pairs count as wrong: %s%s",
                    len(skipped), names, ", ..." if len(skipped) > SHOWN else "")  # fmt: skip
