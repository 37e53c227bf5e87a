"""Every stage by its name, as the command line runs it; a stage's own modules are imported when it runs.

python -m mcbert retrieval --config demo retrieval.tatoeba=tatoeba/v1
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mcbert.pipeline.stages.pipeline import Pipeline


def _retrieval(pipeline: Pipeline) -> None:
    from mcbert.pipeline.stages.evaluation import retrieval

    retrieval(pipeline)


def _evaluate_embeddings(pipeline: Pipeline, models: Sequence[str] = ()) -> None:
    from mcbert.pipeline.stages.evaluation import evaluate_embeddings

    evaluate_embeddings(pipeline, models)


def _embeddings(pipeline: Pipeline) -> None:
    from mcbert.pipeline.stages.embeddings import embeddings

    embeddings(pipeline)


def _tune(pipeline: Pipeline) -> None:
    from mcbert.pipeline.stages.tune import tune

    tune(pipeline)


def _export(pipeline: Pipeline, candidate: str = "") -> None:
    from mcbert.pipeline.stages.export import export

    export(pipeline, candidate)


RUNNERS: dict[str, Callable[..., None]] = {
    "prepare": Pipeline.prepare,
    "extract": Pipeline.extract,
    "gridsearch": Pipeline.gridsearch,
    "export": _export,
    "tune": _tune,
    "finetune": Pipeline.finetune,
    "embeddings": _embeddings,
    "retrieval": _retrieval,
    "evaluate-embeddings": _evaluate_embeddings,
    "report": Pipeline.report,
}
