"""The stage ``export``: a candidate of the search -> models/.

python -m mcbert export --config demo                  the winner: models/probe, or models/probe-skops
python -m mcbert export --config demo --candidate 3    another one by id or rank: models/<candidate_id>
"""

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING

from mcbert.files import sha256
from mcbert.pipeline.stages.deploy import name_model

if TYPE_CHECKING:
    from mcbert.finetune.export.candidate import Chosen, ExportInputs
    from mcbert.pipeline.stages.pipeline import Pipeline

LONGEST = 120  # characters of a file's name that come from a candidate's id


def export(pipeline: Pipeline, candidate: str = "") -> None:
    """Write a candidate as a model, searching first where that was not done.

    Parameters
    ----------
    candidate : str
        Its id or rank; the winner without it.
    """
    pipeline.searched()
    inputs = {
        "encoder": pipeline.encoder_inputs,
        "winner": sha256(pipeline.winner),
    }
    if not candidate:
        pipeline.run.stage("export", inputs, lambda: _export_winner(pipeline), replace=True)
        name_model(pipeline)
        return
    from mcbert.search.refit import find

    name = str(find(candidate, pipeline.run.folder)["candidate_id"])
    inputs |= {"candidate": name, "gridsearch": sha256(pipeline.run.folder / "gridsearch.csv")}
    stage = f"export-{file_name(name)}"
    pipeline.run.stage(
        stage, inputs, lambda: _write(pipeline, _refitted(pipeline, name), file_name(name)), replace=True
    )


def file_name(candidate: str) -> str:
    """Return a candidate's id as a folder's name; else it is changed, and told apart by a digest."""
    plain = re.sub(r"^\.|[^A-Za-z0-9+=._-]", "_", candidate)
    if plain == candidate and len(candidate) <= LONGEST:
        return candidate
    return f"{plain[:LONGEST]}-{hashlib.sha256(candidate.encode()).hexdigest()[:8]}"


def _export_winner(pipeline: Pipeline) -> list[str]:
    from mcbert.finetune.export.candidate import read_chosen

    inputs = _inputs(pipeline)
    chosen = read_chosen(inputs.winner, inputs.corpus, inputs.encoder_name)
    if chosen.probe is not None:
        return _write(pipeline, chosen, "probe")
    return _write(pipeline, _refitted(pipeline, chosen.record["candidate_id"]), "probe-skops")


def _refitted(pipeline: Pipeline, name: str) -> Chosen:
    from mcbert.finetune.export.candidate import Chosen
    from mcbert.search.refit import find, refit

    out = pipeline.run.folder
    row = find(name, out)
    found = refit(row, pipeline.config.gridsearch, store=pipeline.cache_folder(), out=out)
    arrays = None if found.probe is None else found.probe.arrays()
    return Chosen(record=found.record, probe=arrays, estimator=found.estimator)


def _write(pipeline: Pipeline, chosen: Chosen, name: str) -> list[str]:
    from mcbert.finetune.export import candidate
    from mcbert.search.refit import best_linear

    folder = f"models/{name}"
    try:
        files = candidate.export(_inputs(pipeline), chosen, pipeline.run.folder / folder)
    except ValueError as error:
        if chosen.estimator is None:
            raise
        raise ValueError(f"{error}; {best_linear(pipeline.run.folder)}") from error
    return [f"{folder}/{file}" for file in files]


def _inputs(pipeline: Pipeline) -> ExportInputs:
    from mcbert.finetune.export.candidate import ExportInputs

    return ExportInputs(
        winner=pipeline.winner,
        store=pipeline.cache_folder(),
        corpus=pipeline.corpus(),
        encoder=pipeline.encoder,
        encoder_name=pipeline.stamp["encoder"],
        max_length=pipeline.config.encoder.max_length,
        prompt=pipeline.prompt,
    )
