"""deploy.json: which of a run's models to deploy, chosen on dev; made anew after each stage that makes any.

python -m pytest tests/pipeline/test_deploy.py
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from mcbert.files import sha256
from mcbert.files.objects import read_object
from mcbert.results import deploy
from mcbert.results.deploy import PROBE, Scored

if TYPE_CHECKING:
    from pathlib import Path

    from mcbert.pipeline.workspace import Workspace

log = logging.getLogger(__name__)


def name_model(workspace: Workspace) -> None:
    """Write deploy.json from the run's scores so far, and log the model that it names."""
    folder = workspace.run.folder
    protocol: str = workspace.config.finetune.protocol
    if workspace.winner.is_file():
        protocol = str(read_object(workspace.winner, {"protocol": str})["protocol"])
    found = deploy.dev_scores(folder, protocol, workspace.config.corpus.source_language)
    compared = [_scored(workspace, system, score) for system, score in found.scores.items()]
    scored = deploy.order(compared, found.level)
    deploy.write(folder, scored, found, workspace.stamp)
    if scored:
        best = scored[0]
        others = ", ".join(f"{one.system} {one.score:.3f}" for one in scored[1:]) or "no other"
        if any(one.score > best.score for one in scored[1:]):
            others += "; what is above it is so by no more than chance"
        log.info("deploy: %s, %s %.3f on dev by %s (%s)%s", folder / best.model,
                 found.words, best.score, found.protocol, others,
                 "" if best.there else f": not there yet, {best.made_by} makes it")  # fmt: skip


def _scored(workspace: Workspace, system: str, score: float) -> Scored:
    folder, model = workspace.run.folder, f"models/{system}"
    if system == PROBE:
        is_head = _is_head(workspace.winner)
        model = "models/probe" if is_head else "models/probe-skops"
    there = (folder / model / "config.json").is_file()
    if system == PROBE:  # a search that went on may have another winner than was exported
        there = there and workspace.run.inputs("export").get("winner") == sha256(workspace.winner)
    made_by = "" if there else "mcbert export" if system == PROBE else "mcbert finetune"
    return Scored(system=system, model=model, score=score, there=there, made_by=made_by)


def _is_head(winner: Path) -> bool:
    from mcbert.files.arrays import read_arrays

    name = read_object(winner, {"candidate_id": str}).get("probe", "probe.npz")
    if name is None:
        return False
    kind = read_arrays(winner.with_name(str(name)), ("kind",), "a probe of gridsearch")["kind"]
    return str(kind) != "neighbours"
