"""The stage ``extract``: texts.csv -> the feature cache, corpus.csv; and the cache of any other texts.

python -m mcbert extract --config demo
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from mcbert.files import sha256
from mcbert.pipeline.cluster import encoding_executor, threads_per_encoder
from mcbert.pipeline.config import Config
from mcbert.pipeline.progress import track
from mcbert.pipeline.run import write_json
from mcbert.pipeline.stages.prepare import prepare
from mcbert.pipeline.workspace import Workspace, shown

SEARCH = ("gridsearch", "export")
TRAIN = ("tune", "finetune")


def extract(workspace: Workspace) -> None:
    """Make sure that the feature cache of the corpus is there and whole; write corpus.csv."""
    prepare(workspace)
    extracted(workspace)


def extracted(workspace: Workspace) -> None:
    """Encode the texts that were prepared."""
    path = workspace.run.folder / "cache.json"
    if path.is_file() and not (workspace.cache_folder() / "manifest.json").is_file():
        path.unlink()
    workspace.run.stage("extract", inputs(workspace), lambda: _extract(workspace))


def inputs(workspace: Workspace) -> dict[str, Any]:
    """Return everything that the feature cache depends on, of a run whose texts.csv is there."""
    return {
        "extract": dataclasses.asdict(workspace.config.extract),
        "encoder": workspace.encoder_inputs,
        "texts": sha256(workspace.texts),
    } | ({"train_texts": workspace.train_texts} if workspace.train_texts else {})


def _extract(workspace: Workspace) -> list[str]:
    from mcbert.features.corpus.statistics import corpus_statistics
    from mcbert.features.encoder.tokens import load_tokenizer
    from mcbert.results.csv_files import write
    from mcbert.results.csv_rows import CsvStream
    from mcbert.results.schema.texts import CORPUS, TEXTS

    config, folder = workspace.config, workspace.run.folder
    texts = CsvStream(TEXTS, workspace.texts, ("id", "text", "text_pair"), rows=workspace.searched_rows)
    target = cached(workspace, texts, config.prepare.raw or config.corpus.path)
    rows = corpus_statistics(
        workspace.corpus(),
        load_tokenizer(workspace.encoder, prompt=workspace.prompt),
        config.encoder.max_length,
        track=track,
    )
    write(CORPUS, rows.assign(**workspace.stamp), folder / "corpus.csv")
    write_json(folder / "cache.json", {"digest": target.name})
    return ["corpus.csv", "cache.json"]


def cached(workspace: Workspace, texts: Iterable[tuple[str, ...]], source: str) -> Path:
    """Return the folder of the cache of these texts, made where it is not there.

    Parameters
    ----------
    texts : iterable of (str, str, str)
        Id, text and second text of every row; gone through twice.
    source : str
        Where the texts come from, for people.
    """
    from mcbert.features.extraction import Runtime, extract

    config = workspace.config
    with workspace.interruption.polled() as check:
        return extract(
            texts,
            workspace.encoder,
            encoder=config.encoder,
            settings=config.extract,
            cache=workspace.cache,
            corpus=shown(source),
            runtime=Runtime(
                execute=encoding_executor(config.cluster),
                threads=threads_per_encoder(config.cluster),
                wait=config.cluster.lock_wait,
                check=check,
                track=track,
            ),
        )


def require_known_layers(workspace: Workspace, stage: str) -> None:
    """Refuse an encoder that cannot be used, and layers and poolings that `stage` would not find.

    It takes a second or, of an encoder never used before, some; texts may take long to prepare and to encode.

    Raises
    ------
    ValueError
        There is no such encoder; it has not as many layers, or extract.layers or extract.poolings leave them
        out.
    """
    config = workspace.config
    searched = stage in SEARCH or (stage in TRAIN and workspace.searches)
    trained = config.finetune.layers if stage in TRAIN else ()
    if not searched and not trained and stage != "extract":
        return
    from mcbert.features.encoder.loading import n_layers, require_layers

    deepest, extracted = n_layers(workspace.encoder), config.extract.layers
    if stage == "extract":
        require_layers(extracted or range(deepest + 1), deepest, "extract.layers")
    if trained:
        require_layers(trained, deepest, "finetune.layers")
    if searched:
        require_layers(extracted or range(deepest + 1), deepest, "extract.layers")
        require_layers(config.gridsearch.layers, deepest, "gridsearch.layers")
        left_out = sorted(set(config.gridsearch.layers).difference(extracted)) if extracted else []
        if left_out:
            accepted = f"those of extract.layers, {', '.join(map(str, extracted))}"
            raise ValueError(f"gridsearch.layers: got {left_out[0]}, accepted: {accepted}")
        _require_extracted_poolings(config)


def _require_extracted_poolings(config: Config) -> None:
    extracted = config.extract.poolings
    left_out = [name for name in config.gridsearch.poolings if name not in extracted]
    if left_out:
        raise ValueError(
            f"gridsearch.poolings: got {left_out[0]!r}, accepted: those of extract.poolings, "
            f"{', '.join(extracted)}"
        )
