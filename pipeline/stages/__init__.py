"""The stages: each a function from a workspace to files in its run's folder, one table of them.

A stage makes sure of those before it, each of which does nothing where it is up to date.

    texts.csv <- prepare
    cache/<digest>/ <- extract <- texts.csv
    winner.json, gridsearch.csv <- gridsearch <- cache/<digest>/
    finetune.csv, table1.csv, models/ <- finetune <- texts.csv, winner.json
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from mcbert.pipeline.workspace import Workspace


@dataclasses.dataclass(frozen=True, kw_only=True)
class Stage:
    """A stage of the command line."""

    function: str
    """Its function, "module:name" in this package; imported when it runs."""

    text: str
    """Input and output, for the help."""

    needs: tuple[str, ...] = ()
    """Stages that are run before it where they are missing."""

    workers: Literal["encode", "fit", ""] = "encode"
    """Work of its worker processes; empty: it has none."""


STAGES = {
    "prepare": Stage(
        function="stages.prepare:prepare",
        text="raw labelled texts -> texts.csv: top labels, split, balanced train, translated dev and test",
    ),
    "extract": Stage(
        function="stages.extract:extract",
        text="texts.csv -> feature cache: every layer x pooling of the frozen encoder, in HDF5",
        needs=("prepare",),
    ),
    "gridsearch": Stage(
        function="stages.gridsearch:gridsearch",
        text="feature cache -> gridsearch.csv, confusion.csv, winner.json, probe.npz",
        needs=("prepare", "extract"),
        workers="fit",
    ),
    "export": Stage(
        function="stages.export:export",
        text="winner -> models/probe: the winner as a Hugging Face model, frozen encoder and linear head; "
        "a winner that is no head of weights -> models/probe-skops; another candidate -> models/ID",
        needs=("gridsearch",),
        workers="fit",
    ),
    "tune": Stage(
        function="stages.tune:tune",
        text="texts.csv + winner -> tune.csv: the settings of finetune, tried on dev; prints the best",
        needs=("gridsearch",),
        workers="fit",
    ),
    "finetune": Stage(
        function="stages.finetune:finetune",
        text="texts.csv + winner -> finetune.csv, table1.csv, models/, TensorBoard log",
        needs=("gridsearch",),
        workers="fit",
    ),
    "embeddings": Stage(
        function="stages.embeddings:embeddings",
        text="pairs of sentences -> embeddings.csv, models/embeddings, models/embeddings-st; then as "
        "evaluate-embeddings",
        workers="fit",
    ),
    "retrieval": Stage(
        function="stages.evaluation:retrieval",
        text="Tatoeba pairs -> tatoeba.csv: translations found, every layer x pooling, both directions",
    ),
    "evaluate-embeddings": Stage(
        function="stages.evaluation:evaluate_embeddings",
        text="STS Benchmark + Tatoeba pairs -> sts.csv, tatoeba.csv, reductions.csv: "
        "frozen layers, the run's own sentence encoders and any others, side by side",
    ),
    "report": Stage(
        function="stages.report:report",
        text="the run's CSVs, as far as they exist -> report.html, figures/ (every figure as SVG and PNG), "
        "conclusions.csv (with report.paper)",
        workers="",
    ),
}


def run_stage(name: str, workspace: Workspace, **options: Any) -> None:
    """Import a stage and run it.

    Parameters
    ----------
    options
        Those of its command: `candidate` of export, `models` of evaluate-embeddings.
    """
    module, _, function = STAGES[name].function.partition(":")
    getattr(importlib.import_module(f"mcbert.pipeline.{module}"), function)(workspace, **options)
