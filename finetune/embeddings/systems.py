"""The systems compared: layers of the frozen encoder, from a feature cache, and sentence encoders.

systems = [*frozen_systems(store, encoder="samples/encoder"), *encoded_systems(compared, texts)]
systems[0].vectors(rows)     # (n, dimension), float32
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import logging
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pandas as pd

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.normal_forms import lowered
from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.results.csv_files import read
from mcbert.results.schema.embeddings import SEED_COMPAT
from mcbert.results.schema.training import EMBEDDINGS_TRAININGS

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder

log = logging.getLogger(__name__)

_MADE_ELSEWHERE: Mapping[str, object] = {"protocol": "", "seed": None}

Sentences = Sequence[tuple[str, str, str]]


def texts_of(
    pairs: pd.DataFrame, suffixes: tuple[str, str], *, compat: bool = False
) -> list[tuple[str, str, str]]:
    """Return the sentences of pairs as rows of a cache: all first ones, then all second ones.

    Parameters
    ----------
    pairs : DataFrame
        id, text, text_pair.
    suffixes : tuple of str
        Added to a pair's id to name its first and its second sentence.
    compat : bool
        Whether the sentences are lower-cased and lose their combining marks.
    """
    return [
        (f"{name}{suffix}", lowered(text) if compat else text, "")
        for suffix, column in zip(suffixes, ("text", "text_pair"), strict=True)
        for name, text in zip(pairs["id"], pairs[column], strict=True)
    ]


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Layers of the frozen encoder, concatenated, in one pooling."""

    store: FeatureStore
    layers: tuple[int, ...]
    pooling: str
    columns: Mapping[str, str]
    made: ClassVar[Mapping[str, object]] = {"protocol": "last", "seed": None}

    def kept(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows have states, bool (n,)."""
        return np.asarray(self.store.index[rows] >= 0)

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 (n, len(layers) * hidden_size)."""
        return self.store.states(layers=self.layers, pooling=self.pooling, rows=rows)


@dataclasses.dataclass(frozen=True)
class Encoded:
    """The vectors of a sentence encoder."""

    states: np.ndarray
    """(n_rows, dimension), float32."""

    layers: tuple[int, ...]
    columns: Mapping[str, str]
    made: Mapping[str, object]

    def kept(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows are finite, bool (n,)."""
        return np.asarray(np.isfinite(self.states[rows]).all(axis=1))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 (n, dimension)."""
        return np.asarray(self.states[rows])


VectorSource = Frozen | Encoded


def frozen_systems(
    store: FeatureStore,
    *,
    encoder: str,
    compat: bool = False,
    compared: Sequence[ComparedEncoder] = (),
    last: int | None = None,
) -> list[Frozen]:
    """Return every layer x pooling of a cache, then the layers of sentence encoders, concatenated.

    Parameters
    ----------
    encoder : str
        The frozen encoder's name, for the column ``encoder``.
    compat : bool
        Whether the texts were lower-cased, for the column ``system``.
    compared : sequence of ComparedEncoder
        The sentence encoders.
    last : int, optional
        The frozen encoder's last layer; with sentence encoders alone.

    Raises
    ------
    ValueError
        Beside sentence encoders: the cache lacks their layers, the last layer or a pooling, which the
        baselines take.
    """
    own = [one.layers for one in compared if one.layers]
    if last is not None:
        _require(store, {last, *itertools.chain.from_iterable(own)})
    singles = [(layer,) for layer in store.layers]
    joined = dict.fromkeys(layers for layers in own if layers not in singles)
    return [
        Frozen(store, layers, pooling, _columns("frozen", encoder, layers, pooling, compat=compat))
        for layers, pooling in itertools.product([*singles, *joined], store.poolings)
    ]


def _require(store: FeatureStore, needed: Collection[int]) -> None:
    missing = sorted(set(needed) - set(store.layers))
    if missing:
        raise ValueError(
            f"extract.layers: got {list(store.layers)}; the baselines need layer {missing[0]}; accepted: "
            f"any with {sorted(needed)}"
        )
    wanted = ("max", "mean", "last" if "last" in store.poolings else "cls")
    if set(wanted) - set(store.poolings):
        raise ValueError(
            f"extract.poolings: got {list(store.poolings)}; the baselines need {', '.join(wanted)}"
        )


@dataclasses.dataclass(frozen=True)
class ComparedEncoder:
    """A sentence encoder to compare with the frozen encoder's layers."""

    encoder: SentenceEncoder
    digest: str
    """Checksum of its identity."""

    layers: tuple[int, ...]
    """Layers of the frozen encoder that it was made of, each once, ascending; none of other models."""

    columns: Mapping[str, str]
    """Columns of its rows: system, encoder, layers, pooling."""

    made: Mapping[str, object]
    """Columns of its rows: protocol and seed."""

    @classmethod
    def of(cls, encoder: SentenceEncoder, *, name: str, runs: Path, compat: bool = False) -> ComparedEncoder:
        """Describe an encoder; reads its files. It counts as fine-tuned when it lies in the folder of runs.

        Parameters
        ----------
        name : str
            For the column ``encoder``.
        runs : Path
            Folder of all runs.
        compat : bool
            Whether the texts were lower-cased, for the column ``system``.
        """
        identity = encoder.identity()
        blocks = [str(block).partition(":") for block in identity.get("blocks", ())]
        layers = tuple(int(layer) for layer, _, _ in blocks)
        pooling = FeatureSpec(layers, tuple(one for _, _, one in blocks)).pooling if blocks else ""
        folder, runs = Path(encoder.name).resolve(), runs.resolve()
        ours = folder.is_relative_to(runs)
        kind = "fine-tuned" if ours else "other"
        return cls(
            encoder,
            hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
            tuple(sorted(set(layers))) if ours else (),
            _columns(kind, name, layers, pooling, compat=compat),
            _made(runs, folder) if ours else _MADE_ELSEWHERE,
        )


def encoded_systems(compared: Sequence[ComparedEncoder], texts: Sentences) -> list[Encoded]:
    """Encode every distinct text with each sentence encoder.

    Raises
    ------
    ValueError
        Not a vector for every text.
    """
    distinct = list(dict.fromkeys(text for _, text, _ in texts))
    place = {text: k for k, text in enumerate(distinct)}
    rows = np.array([place[text] for _, text, _ in texts])
    systems = []
    for one in compared:
        name = one.encoder.name
        log.info("evaluate: %d distinct sentences with %s", len(distinct), name)
        states = np.asarray(one.encoder.encode(distinct), dtype=np.float32)
        if states.ndim != 2 or len(states) != len(distinct):
            raise ValueError(f"--model {name}: got {states.shape} for {len(distinct)} texts")
        systems.append(Encoded(states[rows], one.layers, one.columns, one.made))
    return systems


def _columns(kind: str, encoder: str, layers: Sequence[int], pooling: str, *, compat: bool) -> dict[str, str]:
    system = kind + (SEED_COMPAT if compat else "")
    return {"system": system, "encoder": encoder, "layers": layers_text(layers), "pooling": pooling}


def _made(runs: Path, model: Path) -> Mapping[str, object]:
    """Look up the protocol and the seed of a run's sentence encoder: the first seed's weights are saved."""
    table = runs / model.relative_to(runs).parts[0] / EMBEDDINGS_TRAININGS.file_name
    rows = read(EMBEDDINGS_TRAININGS, table).to_dict("records") if table.is_file() else []
    return {"protocol": str(rows[0]["protocol"]), "seed": int(rows[0]["seed"])} if rows else _MADE_ELSEWHERE
