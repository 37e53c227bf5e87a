"""The stage that trains sentence embeddings on labelled pairs, and compares them with the frozen encoder's.

    python -m mcbert embeddings --config demo embeddings.objective=ranking

Where the settings name no layers or no pooling, the frozen encoder's best take their place: every layer x
pooling searches dev sentences for their translations (embeddings/tatoeba.csv). Test sentences take no part.
"""

from __future__ import annotations

import dataclasses
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from mcbert.features.corpus import BadRows, checked_corpus, read_corpus, source_files
from mcbert.features.corpus.formats.parallel import is_table, languages_in, pair_files, read_pairs
from mcbert.features.corpus.keys import of_section
from mcbert.features.store import FeatureStore
from mcbert.files.objects import AGAIN, read_object, short
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.pipeline.cluster import training_executor
from mcbert.pipeline.evaluation.retrieval import texts
from mcbert.pipeline.evaluation.systems import frozen_systems
from mcbert.pipeline.evaluation.translations import evaluate
from mcbert.pipeline.progress import track
from mcbert.pipeline.run import sha256, write_json
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.stages.prepare import short_names
from mcbert.pipeline.workspace import Workspace, shown
from mcbert.results import overall
from mcbert.results.schema import MEAN, POOLINGS, REJECTED, TATOEBA, TEXTS
from mcbert.results.tables import write

if TYPE_CHECKING:
    from mcbert.finetune.winner import Architecture

log = logging.getLogger(__name__)

FOLDER = "embeddings"
PAIRS = f"{FOLDER}/{TEXTS.file_name}"
SEARCHED = f"{FOLDER}/{TATOEBA.file_name}"
BEST = f"{FOLDER}/layers.json"


def embeddings(workspace: Workspace) -> None:
    """Write ``embeddings.csv``, ``models/embeddings``, and how near translations and like sentences are."""
    settings = workspace.config.embeddings
    if not settings.max_length:
        settings = dataclasses.replace(settings, max_length=workspace.config.encoder.max_length)
    read(workspace, settings)
    require_evaluable(workspace)
    if settings.searches:
        require_trainable(workspace, settings)
        search(workspace, settings)
    inputs = {
        "embeddings": dataclasses.asdict(settings),
        "encoder": workspace.encoder_inputs,
        "pairs": sha256(workspace.run.folder / PAIRS),
        "best": sha256(workspace.run.folder / BEST) if settings.searches else None,
    }
    workspace.run.stage("embeddings", inputs, lambda: _train(workspace, settings))
    if workspace.config.retrieval.tatoeba or workspace.config.retrieval.sts:
        from mcbert.pipeline.evaluation.similarity import evaluate_models

        evaluate_models(workspace, ())


def require_evaluable(workspace: Workspace) -> None:
    """Read once what the encoders will be measured on, so that a bad file does not cost a training first."""
    from mcbert.pipeline.evaluation import retrieval, similarity

    settings = workspace.config.retrieval
    if settings.sts:
        similarity.read_pairs(Path(settings.sts))
    if settings.tatoeba:
        read_pairs(Path(settings.tatoeba), retrieval.languages(settings))


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


def require_trainable(workspace: Workspace, settings: EmbeddingsSettings) -> None:
    """Raise where the pairs do not suit the objective or the protocol, before anything is encoded."""
    from mcbert.finetune.embeddings.train import require_pairs
    from mcbert.finetune.protocol import DevTexts, require_protocol
    from mcbert.finetune.running import read_texts

    path = workspace.run.folder / PAIRS
    corpus = read_texts(path, settings.corpus.source_language)
    require_pairs(corpus, str(path), ranks=settings.objective == "ranking")
    freezes = bool(settings.freeze or settings.freeze_groups)
    require_protocol(settings, DevTexts.of_corpus(corpus), freezes=freezes)


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
        "extract": dataclasses.asdict(config.extract),
        "encoder": workspace.encoder_inputs,
        "files": {path.name: sha256(path) for path in pair_files(folder, names) if path.is_file()},
    }

    def work() -> list[str]:
        pairs = dev_pairs(folder, names)
        store = FeatureStore.open(cached(workspace, texts(pairs), str(folder)))
        rows, _ = evaluate(pairs, frozen_systems(workspace, store), neighbours=config.retrieval.neighbours)
        write_json(workspace.run.folder / BEST, best(rows, settings))
        written = overall.write(TATOEBA, workspace.stamped(rows), workspace.run.folder / SEARCHED)
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


def best(rows: pd.DataFrame, settings: EmbeddingsSettings) -> dict[str, Any]:
    """Return the layer and pooling of the least mean error, among those that the settings leave open.

    Parameters
    ----------
    rows : DataFrame
        Columns of tatoeba.csv.

    Returns
    -------
    dict
        layers, pooling, error_rate; of equals the lower layer, then the first pooling by name.
    """
    found = rows[rows["language"].ne(MEAN) & rows["direction"].eq("both") & rows["score"].eq("cosine")]
    means = found.groupby(["layers", "pooling"], as_index=False)["error_rate"].mean()
    means = means[means["layers"] != "0"]  # nothing that learns
    for name, wanted in (("layers", "+".join(map(str, settings.layers))), ("pooling", settings.pooling)):
        means = means[means[name] == wanted] if wanted else means
    if means.empty:
        raise ValueError(
            f"embeddings.layers: got {list(settings.layers)} and pooling {settings.pooling!r}, of which the "
            "cache has none to search; accepted: both, or a layer and a pooling of extract"
        )
    order = means.assign(layer=means["layers"].astype(int)).sort_values(["error_rate", "layer", "pooling"])
    row = order.iloc[0]
    log.info("embeddings: layer %d, %s: %.3f of dev translations not found, the least of %d",
             row["layer"], row["pooling"], row["error_rate"], len(order))  # fmt: skip
    return {
        "layers": [int(row["layer"])],
        "pooling": str(row["pooling"]),
        "error_rate": float(row["error_rate"]),
    }


def architecture_of(workspace: Workspace, settings: EmbeddingsSettings) -> Architecture:
    """Return the layers and pooling to train: the settings', or the search's."""
    from mcbert.finetune.winner import Architecture

    if not settings.searches:
        return Architecture(
            layers=tuple(sorted(settings.layers)), pooling=settings.pooling, probe_protocol=None
        )
    path = workspace.run.folder / BEST
    found = read_object(path, {"layers": list, "pooling": str})
    known = set(found["pooling"].split("+")) <= set(POOLINGS)
    if not known or any(type(layer) is not int for layer in found["layers"]):
        raise ValueError(f"{path}: damaged ({short(found)}); {AGAIN}")
    return Architecture(
        layers=tuple(found["layers"]),
        pooling=found["pooling"],
        probe_protocol=None,
        protocol="target-dev",  # the sentences are of the target languages, if without labels
    )


def _train(workspace: Workspace, settings: EmbeddingsSettings) -> list[str]:
    from mcbert.finetune.embeddings.train import train_embeddings
    from mcbert.finetune.finetune import Inputs

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
        architecture_of(workspace, settings),
        execute=training_executor(workspace.config.cluster),
        stamp=workspace.stamp,
        track=track,
    )
    return ["embeddings.csv", "embeddings_freezing.csv"]
