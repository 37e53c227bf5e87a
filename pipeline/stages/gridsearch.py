"""The stage ``gridsearch``: the feature cache -> gridsearch.csv, confusion.csv, winner.json, probe.npz.

python -m mcbert gridsearch --config demo
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.files import sha256
from mcbert.pipeline.cluster import kept_executor
from mcbert.pipeline.deploy import name_model
from mcbert.pipeline.progress import track
from mcbert.pipeline.stages.extract import extracted
from mcbert.pipeline.stages.prepare import prepare
from mcbert.pipeline.workspace import Workspace, file_names
from mcbert.results.schema.search import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP

if TYPE_CHECKING:
    from mcbert.execution import Execute
    from mcbert.features.cache import FeatureStore
    from mcbert.features.corpus.corpus import Corpus
    from mcbert.features.corpus.parallel import ParallelFolder
    from mcbert.search.data import Pairs
    from mcbert.search.settings import GridsearchSettings

log = logging.getLogger(__name__)

REPLACED = ("budget",)
"""Inputs with which a search goes on where it ended with others."""

EVIDENCE = file_names(SCORES, TOP, EFFECTS, PROTOCOL_CHOICES)


def gridsearch(workspace: Workspace, require: Callable[[], None] = lambda: None) -> None:
    """Search layer subset x pooling x classifier over the cache.

    Parameters
    ----------
    require : callable
        Raises where the stage that asks for the search could not continue after it.
    """
    prepare(workspace)
    require()
    settings, parallel = settled(workspace)
    extracted(workspace)
    again = workspace.config.cluster.retry_errors
    workspace.run.stage(
        "gridsearch",
        inputs(workspace, settings, parallel),
        lambda: _gridsearch(workspace, settings, parallel),
        replace=REPLACED,
        again=again,
    )
    name_model(workspace)


def inputs(
    workspace: Workspace, settings: GridsearchSettings, parallel: ParallelFolder | None
) -> dict[str, Any]:
    """Return everything that a search depends on, of a run whose cache is there; arguments of `settled`."""
    fields = dataclasses.asdict(settings)
    fields.pop("parallel")
    return {
        "budget": {name: fields.pop(name) for name in ("budget", "budget_seconds")},
        "gridsearch": fields,
        **({"parallel": parallel.checksums()} if parallel else {}),
        "cache": sha256(workspace.run.folder / "cache.json"),
        "texts": sha256(workspace.texts),
    }


def searched(workspace: Workspace, require: Callable[[], None] = lambda: None) -> None:
    """Make sure of a search for the stages after it: the run's own, as far as its budget took it."""
    given = dataclasses.asdict(workspace.config.gridsearch)
    kept = workspace.run.inputs("gridsearch").get("budget", {})
    differing = [name for name in kept if kept[name] != given[name]]
    if differing:
        log.warning(
            "gridsearch: keeping this run's search: %s; the command gridsearch continues with others",
            ", ".join(f"gridsearch.{name} {kept[name]}, not {given[name]}" for name in differing),
        )
        settings = dataclasses.replace(workspace.config.gridsearch, **kept)
        workspace.config = dataclasses.replace(workspace.config, gridsearch=settings)
    gridsearch(workspace, require)


def settled(workspace: Workspace) -> tuple[GridsearchSettings, ParallelFolder | None]:
    """Return what to search, the protocol settled by the texts, so that nothing is encoded in vain."""
    from mcbert.pipeline.stages.parallel import serving, translated_dev
    from mcbert.search.selection import scored_languages, settle_protocol

    source, settings = workspace.config.corpus.source_language, workspace.config.gridsearch
    table = workspace.texts_table()
    targets = sorted(set(table["language"]) - {source})
    languages = scored_languages(settings, (source, *targets))
    dev = set(table["language"][table["split"] == "dev"])
    parallel = serving(workspace, languages[1:])
    translated = {*translated_dev(table, source), *(parallel.names if parallel else ())}
    settings = settle_protocol(settings, languages, dev, translated, str(workspace.texts))
    if settings.protocol == "agreement" and parallel:
        return settings, parallel
    if settings.parallel:
        log.info("gridsearch: gridsearch.parallel is not read: %s",
                 f"the protocol is {settings.protocol}" if settings.protocol != "agreement"
                 else "it has no language whose dev texts are not translated")  # fmt: skip
    return settings, None


def _gridsearch(
    workspace: Workspace, settings: GridsearchSettings, parallel: ParallelFolder | None
) -> list[str]:
    from mcbert.files.ledger import retry_errors
    from mcbert.pipeline.commands.caches import open_cache
    from mcbert.pipeline.stages.parallel import encoded

    folder = workspace.run.folder
    if workspace.config.cluster.retry_errors:
        n_failed = retry_errors(folder / "gridsearch.jsonl")
        log.info("gridsearch: %d candidates failed earlier and are run again", n_failed)
    with kept_executor(workspace.config.cluster) as execute:
        states = open_cache(workspace.cache_folder())
        search(
            settings,
            states,
            workspace.searched_corpus(),
            out=folder,
            execute=execute,
            stamp=workspace.stamp,
            parallel=encoded(parallel, workspace, states.n_rows) if parallel else None,
        )
    # no probe of a user's classifier, no evidence without a comparison
    there = [name for name in ("probe.npz", *EVIDENCE) if (folder / name).is_file()]
    return ["gridsearch.csv", "confusion.csv", "winner.json", "predictions.npz",
            "predictions_gridsearch.csv", *there]  # fmt: skip


def search(
    settings: GridsearchSettings,
    states: FeatureStore,
    corpus: Corpus,
    *,
    out: Path,
    execute: Execute,
    stamp: Mapping[str, str],
    parallel: tuple[Path, Pairs] | None = None,
) -> None:
    """Search over cached states of a corpus; rows whose states were skipped take part in nothing.

    Parameters
    ----------
    out : Path
        Folder of the results; must exist.
    execute : Execute
        Runs the tasks.
    stamp : mapping
        Columns that every row carries.
    parallel : (Path, mapping), optional
        Folder of the cache of parallel sentences, and their pairs, of languages whose dev is not translated.
    """
    from mcbert.pipeline.stages.parallel import translated_dev
    from mcbert.search import data
    from mcbert.search.gridsearch import gridsearch as run_search
    from mcbert.search.source import Inputs

    split = corpus.table["split"].to_numpy(dtype=object)
    split[states.skipped_rows] = data.SKIPPED
    path, (folder, pairs) = out / "examples.npz", parallel or (None, {})
    data.write_examples(
        path,
        y=corpus.y,
        language=corpus.table["language"].tolist(),
        split=split.tolist(),
        labels=corpus.labels,
        source_language=corpus.source_language,
        ids=corpus.table["id"].tolist(),
        pairs={**translated_dev(corpus.table, corpus.source_language), **pairs},
    )
    texts = corpus.table[["text", "text_pair"]]
    inputs = Inputs(store=states.folder, examples=path, parallel=folder, texts=texts)
    run_search(settings, inputs, out=out, execute=execute, stamp=stamp, track=track)
