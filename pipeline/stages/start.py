"""Where the head of a training starts: as the best classifier with a score for each label, or random.

python -m mcbert finetune --config demo --run probe-first finetune.start=probe

Writes start.json and start.npz, as winner.json and probe.npz are. They are the winner itself where it has
such scores. Votes (an SVM of more than two labels, k-NN) have no gradient, and the sum of an SVM's margins,
which has, labels texts otherwise than the SVM does: then the best candidate of another kind takes its place,
ranked by the same protocol: by itself of the winner's layers and pooling, with start = "probe" of any.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mcbert.files.objects import read_object
from mcbert.finetune.settings import FinetuneSettings
from mcbert.pipeline.config import Config
from mcbert.pipeline.run import write_json
from mcbert.pipeline.workspace import Workspace

log = logging.getLogger(__name__)

FILES = ("start.json", "start.npz")


def beginning(workspace: Workspace, settings: FinetuneSettings, into: Path) -> Path | None:
    """Return the file of phase one that trainings begin with; None where they take nothing from it.

    Parameters
    ----------
    into : Path
        Folder for start.json, where the head starts from a classifier.
    """
    if not settings.searches:
        return None
    if settings.start == "random":
        return workspace.winner
    if settings.start == "auto":
        winner = read_object(workspace.winner, {"labels": list, "layers": list, "pooling": str})
        why = why_random(workspace, settings, winner)
        if why:
            log.info("%s: the head is newly initialised: %s", settings.section, why)
            return workspace.winner
        chosen = {"layers": tuple(winner["layers"]), "pooling": winner["pooling"]}
        settings = dataclasses.replace(settings, **chosen)
    return starting_point(workspace, settings, into)


def why_random(workspace: Workspace, settings: FinetuneSettings, winner: Mapping[str, Any]) -> str:
    """Say why a head cannot start as a classifier of the winner's layers; nothing where it can."""
    from mcbert.search.refit import find_linear

    if workspace.config.extract.special_tokens != "include":
        return "the search left out special tokens, which a model pools too"
    if settings.head_layers:
        return f"finetune.head_layers is {settings.head_layers}"
    if settings.layers and sorted(settings.layers) != sorted(winner["layers"]):
        return f"finetune.layers are not the winner's, {winner['layers']}"
    if settings.pooling and settings.pooling != winner["pooling"]:
        return f"finetune.pooling is not the winner's, {winner['pooling']}"
    try:
        find_linear(
            workspace.run.folder,
            n_labels=len(winner["labels"]),
            layers=winner["layers"],
            pooling=winner["pooling"],
        )
    except ValueError:
        return (
            f"of the winner's layers and pooling no classifier with a score for each label was searched; "
            f'{settings.section}.start = "probe" takes the best of any'
        )
    return ""


def starting_point(workspace: Workspace, settings: FinetuneSettings, into: Path) -> Path:
    """Fit the classifier again, calibrate it, write it into a folder, and return the path of start.json.

    Raises
    ------
    ValueError
        No candidate has a score for each label, or the search's states are not those that a model computes.
    """
    from mcbert.features.cache import FeatureStore
    from mcbert.finetune.calibration import fit_calibration
    from mcbert.finetune.probe import fold
    from mcbert.search.refit import find_linear, refit

    require_special_tokens(workspace.config)
    out, corpus = workspace.run.folder, workspace.corpus()
    row = find_linear(out, n_labels=len(corpus.labels), layers=settings.layers, pooling=settings.pooling)
    store = workspace.cache_folder()
    found = refit(row, workspace.config.gridsearch, store=store, out=out)
    if found.probe is None:
        raise ValueError(f"finetune.start: {row['candidate_id']} has no weights; accepted: random")
    head = fold(found.probe.arrays())
    calibration = fit_calibration(
        lambda X: head.logits(X, len(corpus.labels)),
        FeatureStore.open(store),
        corpus,
        layers=found.probe.layers,
        pooling=found.probe.pooling,
    )
    temperature = calibration.temperature if calibration else 1.0
    into.mkdir(parents=True, exist_ok=True)
    found.probe.save(into / FILES[1])
    write_json(into / FILES[0], found.record | {"probe": FILES[1], "temperature": temperature})
    log.info("finetune: the head starts from %s, rank %d", row["candidate_id"], row["rank"])
    return into / FILES[0]


def require_special_tokens(config: Config) -> None:
    """Raise where the search's states are not those that a model computes."""
    if config.extract.special_tokens != "include":
        raise ValueError(
            'finetune.start: got "probe" with extract.special_tokens = "exclude", but a model pools over the '
            'special tokens too; accepted: "include", or finetune.start = "random"'
        )
