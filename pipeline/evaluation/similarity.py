"""Sentence vectors against people's judgement, and translations found, frozen layers beside encoders.

python -m mcbert evaluate-embeddings --config demo --model sentence-transformers/LaBSE
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.corpus.casing import lowered, share_altered
from mcbert.features.corpus.formats.bad_rows import CorpusError
from mcbert.features.corpus.formats.stsbenchmark import read_stsbenchmark, sts_files
from mcbert.features.store import FeatureStore
from mcbert.pipeline.evaluation.retrieval import retrieval
from mcbert.pipeline.evaluation.systems import (
    Beside,
    Frozen,
    SentenceEncoder,
    System,
    encoded_systems,
    frozen_systems,
    last_layer,
    set_beside,
    settled,
)
from mcbert.pipeline.progress import track
from mcbert.pipeline.run import sha256
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.workspace import Workspace
from mcbert.results.schema import STS
from mcbert.results.statistics import percentile_interval
from mcbert.results.tables import write
from mcbert.search.sentences.similarity import HEADLINE, correlations, similarities, spearman_samples

log = logging.getLogger(__name__)

SPLITS = ("dev", "test")
TRAINED = Path("models/embeddings")
"""The sentence encoder of a run's folder."""
POOLED = re.compile(r"(?P<name>.+)@(?P<layers>\d+(?:\+\d+)*):(?P<pooling>[a-z]+(?:\+[a-z]+)*)")


def evaluate(workspace: Workspace, encoders: Sequence[SentenceEncoder]) -> None:
    """Write ``sts.csv``, ``tatoeba.csv`` and ``reductions.csv``, as far as `retrieval` names the sentences.

    Raises
    ------
    ValueError
        Neither `retrieval.sts` nor `retrieval.tatoeba` is set; sentences or encoders that cannot be used.
    """
    settings = workspace.config.retrieval
    if not settings.sts and not settings.tatoeba:
        raise ValueError(
            "retrieval.sts: got nothing, and so retrieval.tatoeba; accepted: at least one of them"
        )
    beside = set_beside(workspace, encoders)
    if settings.sts:
        similarity(workspace, beside)
    if settings.tatoeba:
        retrieval(workspace, beside)


def similarity(workspace: Workspace, beside: Sequence[Beside] = ()) -> None:
    """Write ``sts.csv``: every layer x pooling on dev; the best, the baselines and encoders on test, too."""
    config = workspace.config
    settings = config.retrieval
    paths = [path for path in sts_files(Path(settings.sts)) if path.is_file()]
    inputs = {
        "similarity": {"compat": settings.seed_compat},
        "extract": dataclasses.asdict(config.extract),
        "encoder": workspace.encoder_inputs,
        "files": {path.name: sha256(path) for path in paths},
        "systems": settled(workspace, "similarity", beside, STS.file_name),
    }

    def work() -> list[str]:
        pairs = read_pairs(Path(settings.sts))
        rows = texts(pairs, compat=settings.seed_compat)
        store = FeatureStore.open(cached(workspace, rows, settings.sts))
        frozen = frozen_systems(workspace, store, beside)
        systems: list[System] = [*frozen, *encoded_systems(beside, rows)]
        bases = {*(one.layers for one in beside), (last_layer(workspace),)} if beside else set()
        table = measure(pairs, systems, bases)
        write(STS, workspace.stamped(table), workspace.run.folder / STS.file_name)
        return [STS.file_name]

    workspace.run.stage("similarity", inputs, work, replace=("systems",))


def read_pairs(path: Path) -> pd.DataFrame:
    """Read the dev and test pairs of STS Benchmark or of files like it.

    Raises
    ------
    CorpusError
        One of the two splits has fewer than two pairs; what `read_stsbenchmark` refuses.
    """
    pairs = read_stsbenchmark(path)
    for split in SPLITS:
        n_pairs = int(pairs["split"].eq(split).sum())
        if n_pairs < 2:
            raise CorpusError(f"{path}: {n_pairs} {split} pairs; accepted: 2 or more, in dev and in test")
    return pairs[pairs["split"].isin(SPLITS)].reset_index(drop=True)


def texts(pairs: pd.DataFrame, *, compat: bool = False) -> list[tuple[str, str, str]]:
    """Return the rows of the cache: all first sentences, then all second ones, perhaps lower-cased."""
    return [
        (f"{name}-{side}", lowered(text) if compat else text, "")
        for side, column in ((1, "text"), (2, "text_pair"))
        for name, text in zip(pairs["id"], pairs[column], strict=True)
    ]


def measure(pairs: pd.DataFrame, systems: Sequence[System], bases: set[tuple[int, ...]]) -> pd.DataFrame:
    """Correlate every system's similarities with the scores.

    Parameters
    ----------
    pairs : DataFrame
        id, text, text_pair, score, split.
    systems : sequence
        Their rows are those of `texts`; on test, the frozen ones are left to the best on dev and to `bases`.
    bases : set of tuples of int
        Layers of frozen systems that sentence encoders are compared with.

    Returns
    -------
    DataFrame
        The columns of ``sts.csv`` without the stamp.

    Raises
    ------
    ValueError
        A vector that is not finite or has no direction, naming system and sentence.
    """
    dev = _Split(pairs, "dev", systems)
    best = dev.best()
    reported = [s for s in systems if not isinstance(s, Frozen) or s is best or s.layers in bases]
    test = _Split(pairs, "test", reported)
    return pd.DataFrame([*dev.rows(best), *test.rows(best)])


class _Split:
    """The similarities of a split's pairs by each system."""

    def __init__(self, pairs: pd.DataFrame, split: str, systems: Sequence[System]) -> None:
        self.split, self.systems, self.n = split, systems, len(pairs)
        at = np.flatnonzero(pairs["split"].eq(split))
        self.pairs = pairs.iloc[at]
        self.scores = self.pairs["score"].to_numpy(dtype=np.float64)
        self.measured = [self._measure(s, at) for s in track(systems, len(systems), f"similarity ({split})")]
        self.found = [{name: correlations(x, self.scores) for name, x in m.items()} for m in self.measured]

    def _measure(self, system: System, at: np.ndarray) -> dict[str, np.ndarray]:
        vectors = []
        for side, rows in enumerate((at, at + self.n), start=1):
            kept = system.kept(rows)
            states = system.vectors(rows[kept])
            kept[kept] = states.any(axis=1)
            if not kept.all():
                name = self.pairs["id"].iloc[int(kept.argmin())]
                what = " ".join(part for part in system.columns.values() if part)
                raise ValueError(
                    f"retrieval.sts: id {name}, sentence{side}: {what}: its vector is not finite, or 0"
                )
            vectors.append(states)
        return similarities(*vectors)

    def best(self) -> Frozen:
        """Return the frozen system of the highest headline; of equal ones the first."""
        ranked = [
            (-np.nan_to_num(found[HEADLINE].spearman, nan=-1.0), k)
            for k, found in enumerate(self.found)
            if isinstance(self.systems[k], Frozen)
        ]
        found = self.systems[min(ranked)[1]]
        if not isinstance(found, Frozen):
            raise TypeError(f"similarity: {found.columns} is no frozen system")
        return found

    def rows(self, best: Frozen) -> Iterator[dict[str, Any]]:
        """Yield the rows of ``sts.csv``."""
        drawn = spearman_samples([measured[HEADLINE] for measured in self.measured], self.scores)
        b = self.systems.index(best)
        altered = share_altered([*self.pairs["text"], *self.pairs["text_pair"]]).altered
        for (k, system), name in itertools.product(enumerate(self.systems), self.measured[0]):
            found = self.found[k][name]
            yield {
                **system.columns,
                **system.made,
                "split": self.split,
                "similarity": name,
                "n_pairs": len(self.scores),
                **found._asdict(),
                **(self._intervals(drawn, k, b) if name == HEADLINE else _NO_INTERVALS),
                "frozen_layers": best.columns["layers"],
                "frozen_pooling": best.columns["pooling"],
                "altered": altered,
            }

    def _intervals(self, drawn: np.ndarray, k: int, b: int) -> dict[str, float]:
        own, other = (self.found[i][HEADLINE].spearman for i in (k, b))
        if np.isnan(own) or np.isnan(other):
            return _NO_INTERVALS
        score = percentile_interval(own, drawn[:, k])
        versus = percentile_interval(own - other, drawn[:, k] - drawn[:, b])
        return dict(zip(_NO_INTERVALS, (score.low, score.high, *dataclasses.astuple(versus)), strict=True))


_NO_INTERVALS = dict.fromkeys(
    ("low", "high", "versus_frozen", "versus_frozen_low", "versus_frozen_high"), float("nan")
)


def evaluate_models(workspace: Workspace, models: Sequence[str] = ()) -> None:
    """Evaluate sentence encoders by name beside those that the run has trained; print all of them.

    Parameters
    ----------
    models : sequence of str
        Folders or hub names; of plain encoders followed by what to pool, ``@7+8:mean``.
    """
    from mcbert.finetune.embeddings.encode import open_sentence_encoder
    from mcbert.results.report.side_by_side import side_by_side

    trained = [str(path) for path in [workspace.run.folder / TRAINED] if path.is_dir()]
    encoders: list[SentenceEncoder] = []
    for model in dict.fromkeys([*trained, *models]):
        pooled = POOLED.fullmatch(model)
        if pooled is None:
            encoders.append(open_sentence_encoder(model))
        else:
            layers = [int(layer) for layer in pooled["layers"].split("+")]
            encoders.append(open_sentence_encoder(pooled["name"], layers=layers, pooling=pooled["pooling"]))
    evaluate(workspace, encoders)
    sys.stdout.write(side_by_side(workspace.run.folder))
