"""The stage ``export``: a candidate of the search -> models/.

python -m mcbert export --config demo                  the winner: models/probe, or models/probe-skops
python -m mcbert export --config demo --candidate 3    another one by id or rank: models/<candidate_id>
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from mcbert.files import sha256
from mcbert.pipeline.deploy import name_model
from mcbert.pipeline.stages.gridsearch import searched
from mcbert.pipeline.workspace import Workspace

if TYPE_CHECKING:
    from mcbert.finetune.export.candidate import ExportInputs, FittedCandidate

LONGEST = 120  # characters of a file's name that come from a candidate's id


def export(workspace: Workspace, candidate: str = "") -> None:
    """Write a candidate as a model, searching first where that was not done.

    Parameters
    ----------
    candidate : str
        Its id or rank; the winner without it.
    """
    searched(workspace)
    inputs = {
        "encoder": workspace.encoder_inputs,
        "winner": sha256(workspace.winner),
    }
    if not candidate:
        workspace.run.stage("export", inputs, lambda: _export_winner(workspace), replace=True)
        name_model(workspace)
        return
    from mcbert.search.refit import find

    name = str(find(candidate, workspace.run.folder)["candidate_id"])
    inputs |= {"candidate": name, "gridsearch": sha256(workspace.run.folder / "gridsearch.csv")}
    stage = f"export-{file_name(name)}"
    workspace.run.stage(
        stage, inputs, lambda: _write(workspace, _refitted(workspace, name), file_name(name)), replace=True
    )


def file_name(candidate: str) -> str:
    """Return a candidate's id as a folder's name; else changed, with a digest that keeps it unique."""
    plain = re.sub(r"^\.|[^A-Za-z0-9+=._-]", "_", candidate)
    if plain == candidate and len(candidate) <= LONGEST:
        return candidate
    return f"{plain[:LONGEST]}-{hashlib.sha256(candidate.encode()).hexdigest()[:8]}"


def _export_winner(workspace: Workspace) -> list[str]:
    from mcbert.finetune.export.candidate import read_chosen

    inputs = _inputs(workspace)
    chosen = read_chosen(inputs.winner, inputs.corpus, inputs.encoder_name)
    if chosen.probe is not None:
        return _write(workspace, chosen, "probe")
    return _write(workspace, _refitted(workspace, chosen.record["candidate_id"]), "probe-skops")


def _refitted(workspace: Workspace, name: str) -> FittedCandidate:
    from mcbert.finetune.export.candidate import FittedCandidate
    from mcbert.search.refit import find, refit

    out = workspace.run.folder
    row = find(name, out)
    found = refit(row, workspace.config.gridsearch, store=workspace.cache_folder(), out=out)
    arrays = None if found.probe is None else found.probe.arrays()
    return FittedCandidate(record=found.record, probe=arrays, estimator=found.estimator)


def _write(workspace: Workspace, chosen: FittedCandidate, name: str) -> list[str]:
    from mcbert.finetune.export import candidate
    from mcbert.search.refit import best_linear

    folder = f"models/{name}"
    try:
        files = candidate.export(_inputs(workspace), chosen, workspace.run.folder / folder)
    except ValueError as error:
        if chosen.estimator is None:
            raise
        raise ValueError(f"{error}; {best_linear(workspace.run.folder)}") from error
    return [f"{folder}/{file}" for file in files]


def _inputs(workspace: Workspace) -> ExportInputs:
    from mcbert.finetune.export.candidate import ExportInputs

    return ExportInputs(
        winner=workspace.winner,
        store=workspace.cache_folder(),
        corpus=workspace.searched_corpus(),
        encoder=workspace.encoder,
        encoder_name=workspace.stamp["encoder"],
        max_length=workspace.config.encoder.max_length,
        prompt=workspace.prompt,
    )
