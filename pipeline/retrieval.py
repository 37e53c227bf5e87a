"""Tatoeba similarity search over cached features: read the pairs, search every layer x pooling, score.

python -m pipeline retrieval --config demo retrieval.tatoeba=tatoeba/v1
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from features.corpus.tatoeba import languages_in, read_tatoeba, tatoeba_files
from features.store import FeatureStore
from pipeline.extraction import cached
from pipeline.progress import track
from pipeline.run import sha256
from results.schema import TATOEBA
from results.tables import write
from search.retrieval import DIRECTIONS, SCORES, RetrievalSettings, RowError, search, unit_rows

if TYPE_CHECKING:
    from pipeline.stages import Pipeline

log = logging.getLogger(__name__)

NAMES = dict(zip(DIRECTIONS, ("to-en", "from-en"), strict=True))
SHOWN = 5  # skipped sentences named in a warning


def retrieval(pipeline: Pipeline) -> None:
    """Write ``tatoeba.csv``; needs no corpus of labelled texts."""
    config = pipeline.config
    settings = config.retrieval
    found = languages(settings)
    inputs = {
        "retrieval": {"languages": found, "neighbours": settings.neighbours},
        "extract": dataclasses.asdict(config.extract),
        "encoder": dataclasses.asdict(config.encoder) | pipeline.encoder_identity,
        "files": {path.name: sha256(path) for path in files(settings)},
    }

    def work() -> list[str]:
        pairs = read_tatoeba(Path(settings.tatoeba), found)
        cache = cached(pipeline, texts(pairs), settings.tatoeba)
        rows = evaluate(pairs, cache, settings.neighbours)
        write(TATOEBA, rows.assign(**pipeline.stamp), pipeline.run.folder / "tatoeba.csv")
        return ["tatoeba.csv"]

    pipeline.run.stage("retrieval", inputs, work)


def languages(settings: RetrievalSettings) -> list[str]:
    """Return the languages asked for, or all in the folder.

    Raises
    ------
    ValueError
        No folder is given, or it holds no sets.
    """
    if not settings.tatoeba:
        raise ValueError(
            "retrieval.tatoeba: got nothing, accepted: a folder in LASER's layout (its data/tatoeba/v1)"
        )
    found = list(settings.languages) or languages_in(Path(settings.tatoeba))
    if not found:
        raise ValueError(
            f"retrieval.tatoeba: no tatoeba.<xxx>-eng.<xxx> in {settings.tatoeba}, accepted: a folder in "
            "LASER's layout (its data/tatoeba/v1)"
        )
    return found


def files(settings: RetrievalSettings) -> list[Path]:
    """Return the files that are read; those that are missing are left for the reader to name."""
    folder = Path(settings.tatoeba)
    paths = [path for language in languages(settings) for path in tatoeba_files(folder, language)]
    return [path for path in paths if path.is_file()]


def texts(pairs: pd.DataFrame) -> list[tuple[str, str, str]]:
    """Return the rows of the cache: all foreign sentences, then all English ones."""
    sides = [(pairs["id"], pairs["text"]), (pairs["id"] + "-en", pairs["text_pair"])]
    return [(name, text, "") for ids, side in sides for name, text in zip(ids, side, strict=True)]


def evaluate(pairs: pd.DataFrame, cache: Path, neighbours: int) -> pd.DataFrame:
    """Search every layer x pooling of the cache, both directions, by cosine and margin.

    Parameters
    ----------
    pairs : DataFrame
        id, language, text, text_pair (English), as `read_tatoeba` returns them.
    cache : Path
        Cache of the rows of `texts`.
    neighbours : int
        Neighbours on each side in the margin.

    Returns
    -------
    DataFrame
        The columns of ``tatoeba.csv`` without the stamp.

    Raises
    ------
    RowError
        A cached state without direction, naming layer, pooling and sentence.
    """
    store = FeatureStore.open(cache)
    _warn_of_skipped(store, pairs)
    groups = pairs.groupby("language", sort=False).indices
    cases = list(itertools.product(groups.items(), store.layers, store.poolings))
    rows: list[dict[str, Any]] = []
    for (language, group), layer, pooling in track(cases, len(cases), "retrieval"):
        states = _Pairs(store, layer, pooling, pairs, group)
        what = {"language": language, "layer": layer, "pooling": pooling}
        rows.extend(what | measured for measured in _scores(states, neighbours))
    return pd.DataFrame(rows)


class _Pairs:
    """The pairs of a language in a layer and pooling; a side is 0 (foreign) or 1 (English)."""

    def __init__(
        self, store: FeatureStore, layer: int, pooling: str, pairs: pd.DataFrame, group: np.ndarray
    ) -> None:
        self.store, self.layer, self.pooling, self.pairs, self.group = store, layer, pooling, pairs, group

    def kept(self, side: int) -> np.ndarray:
        """Return the numbers, within the group, of pairs whose sentence of this side has states."""
        return np.flatnonzero(self.store.index[self.group + side * len(self.pairs)] >= 0)

    def units(self, side: int) -> np.ndarray:
        """Return the unit vectors of `kept`, float32 (n_kept, hidden_size)."""
        rows = self.group[self.kept(side)] + side * len(self.pairs)
        states = self.store.states(layers=(self.layer,), pooling=self.pooling, rows=rows)
        try:
            return unit_rows(states)
        except RowError as error:
            row = int(rows[error.row])
            where = f"id {_name(self.pairs, row)}: layer {self.layer}, {self.pooling}"
            raise RowError(row, f"{where}: {error.reason}") from error


def _scores(states: _Pairs, neighbours: int) -> Iterator[dict[str, Any]]:
    """Yield counts by direction and score; a pair of which a side was skipped is wrong both ways."""
    kept = states.kept(0), states.kept(1)
    n = len(states.group)
    both = len(np.intersect1d(*kept))
    found = search(states.units(0), states.units(1), k=neighbours) if both else {}
    for direction, score in itertools.product(DIRECTIONS, SCORES):
        asked, others = kept if direction == DIRECTIONS[0] else kept[::-1]
        right = int((others[found[direction, score]] == asked).sum()) if both else 0
        yield {
            "direction": NAMES[direction],
            "score": score,
            "n": n,
            "n_skipped": n - both,
            "n_right": right,
            "accuracy": right / n,
            "error_rate": (n - right) / n,
        }


def _warn_of_skipped(store: FeatureStore, pairs: pd.DataFrame) -> None:
    skipped = store.skipped_rows
    if len(skipped):
        names = ", ".join(_name(pairs, int(row)) for row in skipped[:SHOWN])
        log.warning("retrieval: %d sentences have no finite state; their pairs count as wrong: %s%s",
                    len(skipped), names, ", ..." if len(skipped) > SHOWN else "")  # fmt: skip


def _name(pairs: pd.DataFrame, row: int) -> str:
    """Return the id of a row of the cache: language, line and, for the English side, ``-en``."""
    return str(pairs["id"].iloc[row % len(pairs)]) + ("-en" if row >= len(pairs) else "")
