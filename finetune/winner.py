"""Read the winner of phase one from its file, and make sure that it fits this corpus and encoder.

python -m pytest tests/finetune/test_winner.py
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.features.encoder.loading import require_layers
from mcbert.features.spec import FeatureSpec, mixes_poolings
from mcbert.files.objects import AGAIN, Types, read_object, short
from mcbert.finetune.settings import FinetuneSettings

_TYPES = {"layers": list, "pooling": str, "labels": list, "encoder": str}
_OPTIONAL: Types = {
    "protocol": str,
    "candidate_id": str,
    "probe": (str, type(None)),
    "temperature": (int, float),
    "best": dict,
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Architecture:
    """The layers that feed the head, their pooling, and the head's start."""

    features: FeatureSpec
    """Layers ascending; a layer more than once only under different poolings."""

    probe_protocol: str | None
    """Protocol of phase one's winner; None where the settings name the layers and there is no winner."""

    protocol: str = "last"
    """Protocol that chose what training starts from: phase one's; ``last`` where settings name it all."""

    probe: Path | None = None
    """File of the classifier that the head starts from; None: it is newly initialised."""

    temperature: float = 1.0
    """Divides the classifier's scores."""

    start: str = ""
    """The classifier's candidate_id in gridsearch.csv."""

    @property
    def layers(self) -> tuple[int, ...]:
        """Those of `features`."""
        return self.features.layers

    @property
    def pooling(self) -> str:
        """The poolings of `features`, as text."""
        return self.features.pooling


def read_architecture(
    winner: Path | None, settings: FinetuneSettings, *, labels: Sequence[str], encoder: str, n_layers: int
) -> Architecture:
    """Return what to build: the winner's layers and pooling, unless the settings name others.

    Parameters
    ----------
    winner : Path or None
        ``winner.json`` of phase one; may be None or absent when the settings name both layers and pooling.
    labels : sequence of str
        The corpus's label names in the order of their codes.
    encoder : str
        The encoder's name as stamped on results.
    n_layers : int
        Blocks of the encoder.

    Raises
    ------
    ValueError
        A winner that is absent, damaged, or of other labels, layers or another encoder.
    """
    found: dict[str, Any] = {}
    if winner is not None and winner.is_file():
        found = read_winner(winner, labels, encoder)
    elif not (settings.layers and settings.pooling):
        raise ValueError(
            f"{winner or 'winner.json'}: no such file; run gridsearch first, "
            "or set finetune.layers and finetune.pooling"
        )
    features = _features(settings, found, winner, n_layers)
    named = settings.layers and settings.pooling
    probe = _probe(settings, found, winner, features)
    return Architecture(
        features=features,
        probe_protocol=found.get("protocol"),
        protocol="last" if named and not probe else str(found.get("protocol", "last")),
        **probe,
    )


def _probe(
    settings: FinetuneSettings, found: Mapping[str, Any], winner: Path | None, features: FeatureSpec
) -> dict[str, Any]:
    """Return the fields of the probe that training starts from, of the very layers and pooling."""
    if settings.start == "random" or (settings.start == "auto" and "temperature" not in found):
        return {}  # winner.json itself; only a classifier that was made a start has a temperature
    if winner is None or not found.get("probe"):
        raise ValueError(
            f"{winner or 'winner.json'}: probe: got none, accepted: a classifier with a score for each "
            'label, or finetune.start = "random"'
        )
    own = _spec(winner, found["layers"], found["pooling"])
    if own != features:
        raise ValueError(
            f"{winner}: got a classifier of layers {list(own.layers)}, {own.pooling!r}, accepted: one of "
            f"finetune.layers and finetune.pooling, {list(features.layers)}, {features.pooling!r}"
        )
    return {
        "probe": winner.with_name(str(found["probe"])),
        "temperature": float(found.get("temperature", 1.0)),
        "start": str(found.get("candidate_id", "")),
    }


def _features(
    settings: FinetuneSettings, found: Mapping[str, Any], winner: Path | None, n_layers: int
) -> FeatureSpec:
    """Return layers and pooling of the settings, and of the winner what they leave open."""
    found = best_of(found)
    layers, where = (
        (settings.layers, "finetune.layers") if settings.layers else (found["layers"], f"{winner}: layers")
    )
    pooling = settings.pooling or str(found["pooling"])
    if not mixes_poolings(pooling):
        once = list(dict.fromkeys(layers)) if settings.pooling else layers  # as of a winner with several
        require_layers(once, n_layers, where)
        return _spec(winner, sorted(once), pooling)
    if settings.layers:
        raise ValueError(
            f"finetune.layers: got {list(layers)} for a winner with a pooling for each of its own layers, "
            f"{pooling!r}; accepted: no layers, or finetune.pooling too"
        )
    require_layers(sorted(set(layers)), n_layers, where)
    features = _spec(winner, layers, pooling)
    if len(set(features.blocks)) != len(layers):
        raise ValueError(
            f"{winner}: pooling: got {pooling!r} for layers {list(layers)}, accepted: no layer twice under "
            "the same"
        )
    return features


def _spec(winner: Path | None, layers: Sequence[int], pooling: str) -> FeatureSpec:
    try:
        return FeatureSpec.of(layers, pooling)
    except ValueError as error:
        raise ValueError(f"{winner}: {error}") from error


def best_of(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return what winner.json holds, of an ensemble with the layers and pooling of its best candidate.

    An ensemble reads most layers under most poolings; a model that is trained has those of one candidate.
    """
    best = found.get("best", {})
    return {**found, **{name: best[name] for name in ("layers", "pooling") if name in best}}


def _require_values(found: Mapping[str, Any]) -> None:
    if any(type(layer) is not int for layer in found["layers"]):
        raise ValueError(f"layers: got {short(found['layers'])}")
    if not all(isinstance(label, str) for label in found["labels"]):
        raise ValueError(f"labels: got {short(found['labels'])}")
    if found.get("probe") and Path(found["probe"]).name != found["probe"]:
        raise ValueError(f"probe: got {short(found['probe'])}, which is no file beside it")
    temperature = found.get("temperature", 1.0)
    if isinstance(temperature, bool) or not 0 < temperature < math.inf:
        raise ValueError(f"temperature: got {short(temperature)}")


def read_winner(winner: Path, labels: Sequence[str], encoder: str) -> dict[str, Any]:
    """Return what winner.json holds.

    Raises
    ------
    ValueError
        It is not such a file, or of other labels or another encoder.
    """
    try:
        found = read_object(winner, _TYPES, optional=_OPTIONAL)
        _require_values(found)
    except ValueError as error:
        reason = str(error).removeprefix(f"{winner}: ").removesuffix(f"; {AGAIN}")
        raise ValueError(
            f"{winner}: not a winner of gridsearch: {reason}; "
            "accepted: JSON with layers, pooling, labels, encoder"
        ) from error
    names, made_with = found["labels"], found["encoder"]
    if names != list(labels):
        raise ValueError(
            f"{winner}: labels: got {names}, accepted: the corpus's, in its order, {list(labels)}"
        )
    if made_with != encoder:
        raise ValueError(
            f"{winner}: encoder: got {made_with!r}, accepted: {encoder!r}, the one to be trained"
        )
    return found
