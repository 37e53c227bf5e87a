"""The stage that trains sentence embeddings on labelled pairs, and compares them with the frozen encoder's.

    python -m mcbert embeddings --config demo embeddings.objective=ranking

Where the settings name no layers or no pooling, the frozen encoder's best take their place: every layer x
pooling searches dev sentences for their translations (embeddings/tatoeba.csv). Test sentences take no part.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pandas as pd

from mcbert.features.corpus.corpus import checked_corpus, read_corpus, source_files
from mcbert.features.corpus.errors import BadRows, of_section
from mcbert.features.corpus.formats.parallel import is_table, languages_in, pair_files, read_pairs
from mcbert.files import sha256
from mcbert.finetune.embeddings import translations
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.embeddings.systems import texts_of
from mcbert.pipeline.cluster import training_executor
from mcbert.pipeline.progress import track
from mcbert.pipeline.run import write_json
from mcbert.pipeline.stages.evaluation import (
    evaluate_embeddings,
    frozen,
    frozen_inputs,
    require_evaluable,
)
from mcbert.pipeline.stages.prepare import short_names
from mcbert.pipeline.workspace import Workspace, shown
from mcbert.results import csv_files
from mcbert.results.csv_files import write
from mcbert.results.schema.embeddings import TATOEBA
from mcbert.results.schema.texts import REJECTED, TEXTS

FOLDER = "embeddings"
PAIRS = f"{FOLDER}/{TEXTS.file_name}"
SEARCHED = f"{FOLDER}/{TATOEBA.file_name}"
BEST = f"{FOLDER}/layers.json"


def embeddings(workspace: Workspace) -> None:
    """Write ``embeddings.csv``, ``models/embeddings`` and, where sentences are named, the scores on them."""
    settings = workspace.config.embeddings
    if not settings.max_length:
        settings = dataclasses.replace(settings, max_length=workspace.config.encoder.max_length)
    read(workspace, settings)
    require_evaluable(workspace)
    if settings.searches:
        search(workspace, settings)
    inputs = {
        "embeddings": dataclasses.asdict(settings),
        "encoder": workspace.encoder_inputs,
        "pairs": sha256(workspace.run.folder / PAIRS),
        "best": sha256(workspace.run.folder / BEST) if settings.searches else None,
    }
    workspace.run.stage("embeddings", inputs, lambda: _train(workspace, settings))
    if workspace.config.retrieval.tatoeba or workspace.config.retrieval.sts:
        evaluate_embeddings(workspace)


def read(workspace: Workspace, settings: EmbeddingsSettings) -> None:
    """Write the pairs, read from their files and checked."""
    corpus = settings.corpus
    if not corpus.path:
        raise ValueError(
            "embeddings.corpus.path: got nothing, accepted: labelled pairs of sentences, such as samples/nli"
        )
    with of_section("embeddings.corpus"):
        files = [str(path) for path in source_files(corpus) if path.is_file()]
    inputs = {
        "corpus": dataclasses.asdict(corpus),
        "files": {name: sha256(Path(file)) for file, name in short_names(files).items()},
    }
    workspace.run.stage("pairs", inputs, lambda: _read(workspace, settings))


def _read(workspace: Workspace, settings: EmbeddingsSettings) -> list[str]:
    corpus, folder = settings.corpus, workspace.run.folder
    bad = BadRows(corpus.on_bad, corpus.columns)
    with of_section("embeddings.corpus"):
        found = checked_corpus(read_corpus(corpus, bad), corpus, corpus.path, bad)
    (folder / FOLDER).mkdir(exist_ok=True)
    write(TEXTS, found.table, folder / PAIRS)
    rejected, path = bad.frame(), folder / FOLDER / REJECTED.file_name
    if rejected.empty:
        path.unlink(missing_ok=True)
        return [PAIRS]
    names = rejected["file"].map(short_names(list(rejected["file"])))
    write(REJECTED, rejected.assign(file=names, **workspace.stamp), path)
    return [PAIRS, f"{FOLDER}/{REJECTED.file_name}"]


def search(workspace: Workspace, settings: EmbeddingsSettings) -> None:
    """Find the frozen encoder's layer and pooling whose nearest dev sentences are most often translations.

    Raises
    ------
    ValueError
        There are no dev sentences to search, or no such layer and pooling was cached.
    """
    config = workspace.config
    folder = parallel_folder(settings, config.retrieval.tatoeba)
    names = languages_in(folder)
    inputs = {
        "asked": {"layers": list(settings.layers), "pooling": settings.pooling},
        **frozen_inputs(workspace, pair_files(folder, names)),
    }

    def work() -> list[str]:
        from mcbert.finetune.embeddings.training import best_layer, require_trainable

        require_trainable(settings, workspace.run.folder / PAIRS)  # before anything is encoded
        pairs = dev_pairs(folder, names)
        layers = frozen(workspace, texts_of(pairs, translations.SUFFIXES), str(folder))
        neighbours = config.retrieval.neighbours
        rows, _ = translations.evaluate(pairs, layers, neighbours=neighbours, track=track)
        write_json(workspace.run.folder / BEST, best_layer(rows, settings))
        written = csv_files.write_with_sums(TATOEBA, workspace.stamped(rows), workspace.run.folder / SEARCHED)
        return [*(path.relative_to(workspace.run.folder).as_posix() for path in written), BEST]

    workspace.run.stage("embeddings-search", inputs, work)


def parallel_folder(settings: EmbeddingsSettings, reported: str) -> Path:
    """Return the folder of the sentences to search.

    Parameters
    ----------
    reported : str
        Folder of the sentences whose error rates are reported, ``retrieval.tatoeba``.

    Raises
    ------
    ValueError
        There is none, or its sentences are those reported as test.
    """
    accepted = "accepted: a folder of sentences to choose by, or embeddings.layers and embeddings.pooling"
    given = settings.parallel or reported
    if not given:
        raise ValueError(f"embeddings.parallel: got nothing, {accepted}")
    folder = Path(given)
    if not is_table(folder) and reported and folder.resolve() == Path(reported).resolve():
        raise ValueError(
            f"embeddings.parallel: got {shown(given)!r}, whose sentences are all reported as test; {accepted}"
        )
    if not languages_in(folder):
        raise ValueError(f"embeddings.parallel: no translated sentences in {shown(given)!r}; {accepted}")
    return folder


def dev_pairs(folder: Path, languages: list[str]) -> pd.DataFrame:
    """Return the sentences to choose by: of a table its dev ones, of the Tatoeba sets all."""
    pairs = read_pairs(folder, languages)
    if not is_table(folder):
        return pairs.assign(split="dev")
    return pairs[pairs["split"] == "dev"].reset_index(drop=True)


def _train(workspace: Workspace, settings: EmbeddingsSettings) -> list[str]:
    from mcbert.finetune.embeddings.training import read_architecture, train_embeddings
    from mcbert.finetune.jobs import Inputs

    train_embeddings(
        settings,
        Inputs(
            corpus=workspace.run.folder / PAIRS,
            source_language=settings.corpus.source_language,
            winner=None,
            encoder=workspace.encoder,
            prompt=workspace.prompt,
            out=workspace.run.folder,
        ),
        read_architecture(settings, workspace.run.folder / BEST),
        execute=training_executor(workspace.config.cluster),
        stamp=workspace.stamp,
        track=track,
    )
    return ["embeddings.csv", "embeddings_trainings.csv", "embeddings_freezing.csv"]
