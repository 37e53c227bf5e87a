"""What is compared: layers of the frozen encoder from a feature cache, and sentence encoders beside them.

systems = [*frozen_systems(workspace, store, beside), *encoded_systems(beside, texts)]
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
from typing import Any, ClassVar, Protocol

import numpy as np

from mcbert.features.encoder.loading import n_layers
from mcbert.features.store import FeatureStore
from mcbert.pipeline.workspace import Workspace, shown
from mcbert.results.csv_files import read
from mcbert.results.schema.embeddings import SEED_COMPAT
from mcbert.results.schema.training import EMBEDDINGS

log = logging.getLogger(__name__)

_MADE_ELSEWHERE: Mapping[str, object] = {"protocol": "", "seed": None}

Texts = Sequence[tuple[str, str, str]]


class SentenceEncoder(Protocol):
    """Whatever turns texts into vectors; `finetune.embeddings` opens them."""

    @property
    def name(self) -> str:
        """Folder, or name on the hub."""

    def identity(self) -> dict[str, Any]:
        """Return what decides the bits of a vector; its ``blocks`` are layer:pooling of each part."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return (n_texts, dimension), float32."""


@dataclasses.dataclass(frozen=True)
class Frozen:
    """Layers of the frozen encoder, joined, in one pooling."""

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
    """All rows as a sentence encoder gave them, (n_rows, dimension)."""

    states: np.ndarray
    layers: tuple[int, ...]
    columns: Mapping[str, str]
    made: Mapping[str, object]

    def kept(self, rows: np.ndarray) -> np.ndarray:
        """Return which rows are finite, bool (n,)."""
        return np.asarray(np.isfinite(self.states[rows]).all(axis=1))

    def vectors(self, rows: np.ndarray) -> np.ndarray:
        """Return float32 (n, dimension)."""
        return np.asarray(self.states[rows])


System = Frozen | Encoded


def frozen_systems(workspace: Workspace, store: FeatureStore, beside: Sequence[Beside] = ()) -> list[Frozen]:
    """Return every layer x pooling of a cache, then the layers that sentence encoders join in every pooling.

    Raises
    ------
    ValueError
        Beside sentence encoders: the cache lacks their layers, the last layer or a pooling, which the
        baselines take.
    """
    own = [one.layers for one in beside if one.layers]
    if beside:
        _require(workspace, store, own)
    singles = [(layer,) for layer in store.layers]
    joined = dict.fromkeys(layers for layers in own if layers not in singles)
    return [
        Frozen(
            store, layers, pooling, _columns(workspace, "frozen", workspace.stamp["encoder"], layers, pooling)
        )
        for layers, pooling in itertools.product([*singles, *joined], store.poolings)
    ]


def last_layer(workspace: Workspace) -> int:
    """Return the number of the frozen encoder's last layer."""
    return n_layers(workspace.encoder)


def _require(workspace: Workspace, store: FeatureStore, own: Collection[tuple[int, ...]]) -> None:
    needed = {last_layer(workspace), *itertools.chain.from_iterable(own)}
    missing = sorted(needed - set(store.layers))
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
class Beside:
    """A sentence encoder to set beside the frozen encoder's layers."""

    encoder: SentenceEncoder
    digest: str
    """Of its identity."""

    layers: tuple[int, ...]
    """Layers of the frozen encoder that it was made of, each once, ascending; none of other models."""

    columns: Mapping[str, str]
    """Columns of its rows that name it."""

    made: Mapping[str, object]
    """Columns that say how: protocol and seed."""

    @classmethod
    def of(cls, workspace: Workspace, encoder: SentenceEncoder) -> Beside:
        """Describe an encoder; reads its files. Fine-tuned is what lies among the models of runs."""
        identity = encoder.identity()
        blocks = [str(block).partition(":") for block in identity.get("blocks", ())]
        poolings = [pooling for _, _, pooling in blocks]
        pooling = "+".join(poolings) if len(set(poolings)) > 1 else "".join(poolings[:1])
        runs = workspace.run.folder.parent.resolve()
        ours = Path(encoder.name).resolve().is_relative_to(runs)
        layers = [int(layer) for layer, _, _ in blocks]
        kind = "fine-tuned" if ours else "other"
        return cls(
            encoder,
            hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16],
            tuple(sorted(set(layers))) if ours else (),
            _columns(workspace, kind, shown(encoder.name), layers, pooling),
            _made(runs, Path(encoder.name).resolve()) if ours else _MADE_ELSEWHERE,
        )


def set_beside(workspace: Workspace, encoders: Sequence[SentenceEncoder]) -> list[Beside]:
    """Describe sentence encoders.

    Raises
    ------
    ValueError
        Two of one name.
    """
    found: list[Beside] = []
    for encoder in encoders:
        described = Beside.of(workspace, encoder)
        if any(described.columns == other.columns for other in found):
            called = described.columns["encoder"]
            raise ValueError(f"--model {encoder.name}: another is called {called!r}, too; rename one")
        found.append(described)
    return found


def encoded_systems(beside: Sequence[Beside], texts: Texts) -> list[Encoded]:
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
    for one in beside:
        name = one.encoder.name
        log.info("evaluate: %d distinct sentences with %s", len(distinct), name)
        states = np.asarray(one.encoder.encode(distinct), dtype=np.float32)
        if states.ndim != 2 or len(states) != len(distinct):
            raise ValueError(f"--model {name}: got {states.shape} for {len(distinct)} texts")
        systems.append(Encoded(states[rows], one.layers, one.columns, one.made))
    return systems


def _columns(
    workspace: Workspace, kind: str, encoder: str, layers: Sequence[int], pooling: str
) -> dict[str, str]:
    compat = SEED_COMPAT if workspace.config.retrieval.seed_compat else ""
    joined = "+".join(map(str, layers))
    return {"system": kind + compat, "encoder": encoder, "layers": joined, "pooling": pooling}


def _made(runs: Path, model: Path) -> Mapping[str, object]:
    """Look up the protocol and the seed of a run's sentence encoder: the first seed's weights are saved."""
    table = runs / model.relative_to(runs).parts[0] / EMBEDDINGS.file_name
    rows = read(EMBEDDINGS, table).to_dict("records") if table.is_file() else []
    return {"protocol": str(rows[0]["protocol"]), "seed": int(rows[0]["seed"])} if rows else _MADE_ELSEWHERE


def settled(workspace: Workspace, stage: str, beside: Sequence[Beside], output: str) -> dict[str, Any]:
    """Return the systems that a stage's results should hold: these, or what is there if it has these already.

    So results with further systems are not made poorer by asking for fewer.
    """
    wanted = {" ".join(one.columns.values()).strip(): one.digest for one in beside}
    there: dict[str, Any] = workspace.run.inputs(stage).get("systems", {})
    return there if wanted.items() <= there.items() and (workspace.run.folder / output).is_file() else wanted
