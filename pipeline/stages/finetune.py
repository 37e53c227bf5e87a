"""The stage ``finetune``: texts.csv and the winner -> finetune.csv, table1.csv, models/, TensorBoard log.

python -m mcbert finetune --config demo --run probe-first finetune.start=probe

A head starts as the best classifier with a score for each label, or newly initialised. The former writes
start.json and start.npz, as winner.json and probe.npz are. They are the winner itself where it has
such scores. Votes (an SVM of more than two labels, k-NN) have no gradient, and the sum of an SVM's margins,
which has, labels texts otherwise than the SVM does: then the best candidate of another kind takes its place,
ranked by the same protocol: by itself of the winner's layers and pooling, with start = "probe" of any.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.files import sha256
from mcbert.files.objects import read_object
from mcbert.finetune.settings import FinetuneSettings
from mcbert.pipeline.cluster import training_executor
from mcbert.pipeline.config import Config
from mcbert.pipeline.deploy import name_model
from mcbert.pipeline.progress import track
from mcbert.pipeline.run import write_json
from mcbert.pipeline.stages.gridsearch import searched
from mcbert.pipeline.stages.prepare import prepare
from mcbert.pipeline.workspace import Workspace, file_names
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1, TRAININGS

if TYPE_CHECKING:
    from mcbert.features.corpus.parallel import ParallelFolder
    from mcbert.finetune.texts import DevTexts

log = logging.getLogger(__name__)

FILES = ("start.json", "start.npz")


def finetune(workspace: Workspace) -> None:
    """Fine-tune the winner, with and without freezing, beside the [CLS] baseline."""
    settings = workspace.config.finetune

    def require() -> None:
        if not workspace.run.inputs("finetune"):  # what has ended could
            require_finetune(workspace, settings)

    if settings.searches:
        searched(workspace, require)
    else:
        prepare(workspace)
    workspace.run.stage("finetune", inputs(workspace), lambda: _finetune(workspace))
    name_model(workspace)


def inputs(workspace: Workspace) -> dict[str, Any]:
    """Return everything that the trainings depend on, of a run whose texts and winner are there."""
    settings = workspace.config.finetune
    found = {
        "finetune": dataclasses.asdict(settings),
        "encoder": workspace.encoder_inputs,
        "texts": sha256(workspace.texts),
        "winner": sha256(workspace.winner) if settings.searches else None,
    }
    if parallel := _parallel(workspace, settings):
        found["parallel"] = parallel.checksums()
    if settings.start == "probe":
        found["gridsearch"] = sha256(workspace.run.folder / "gridsearch.csv")
    return found


def _finetune(workspace: Workspace) -> list[str]:
    from mcbert.finetune.jobs import Inputs
    from mcbert.finetune.stage import finetune as train

    config, folder = workspace.config, workspace.run.folder
    settings = config.finetune
    winner = beginning(workspace, settings, folder)
    if not settings.max_length:
        settings = dataclasses.replace(settings, max_length=config.encoder.max_length)
    train(
        settings,
        Inputs(
            corpus=workspace.texts,
            source_language=config.corpus.source_language,
            winner=winner,
            encoder=workspace.encoder,
            prompt=workspace.prompt,
            out=folder,
            parallel=_parallel(workspace, settings),
        ),
        execute=training_executor(config.cluster),
        stamp=workspace.stamp,
        track=track,
    )
    names = [*file_names(FINETUNE, TRAININGS, FREEZING, TABLE1), "predictions_finetune.csv", *FILES]
    return [name for name in names if (folder / name).is_file()]  # no table1 without test texts


def parallel_of(workspace: Workspace, *, needed: bool) -> ParallelFolder | None:
    """Return the sentences that trainings choose by, of languages whose dev texts are not translated."""
    from mcbert.pipeline.stages.parallel import serving

    return serving(workspace, _dev_texts(workspace).targets) if needed else None


def _parallel(workspace: Workspace, settings: FinetuneSettings) -> ParallelFolder | None:
    from mcbert.finetune.texts import chooses_by_agreement

    needed = chooses_by_agreement(settings, freezes=settings.freezes)
    return parallel_of(workspace, needed=needed)


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
        from mcbert.finetune.winner import best_of  # with torch, which a finished training needs not

        winner = best_of(read_object(workspace.winner, {"labels": list, "layers": list, "pooling": str}))
        why = why_random(workspace, settings, winner)
        if why:
            log.info("%s: the head is newly initialised: %s", settings.section, why)
            return workspace.winner
        chosen = {"layers": tuple(winner["layers"]), "pooling": winner["pooling"]}
        settings = dataclasses.replace(settings, **chosen)
    return starting_point(workspace, settings, into)


def why_random(workspace: Workspace, settings: FinetuneSettings, winner: Mapping[str, Any]) -> str:
    """Return why a head cannot start as a classifier of the winner's layers; empty where it can."""
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
    from mcbert.finetune.probe_head import fold
    from mcbert.search.refit import find, find_linear, refit

    require_special_tokens(workspace.config)
    out, corpus = workspace.run.folder, workspace.searched_corpus()
    if settings.start == "ensemble":
        row = find(read_object(workspace.winner, {"candidate_id": str})["candidate_id"], out)
    else:
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


def require_finetune(workspace: Workspace, settings: FinetuneSettings) -> None:
    """Raise where `finetune` could not end with these settings, texts and this search.

    Raises
    ------
    ValueError
        Naming the key.
    """
    _require_trainable(workspace, settings)
    if settings.freezes:
        _require_freezing(workspace, settings)


def require_tune(workspace: Workspace) -> None:
    """Raise where `tune` could not rank its trials, or not train the settings as they are."""
    protocol, dev = workspace.config.tune.protocol, _dev_texts(workspace)
    if protocol == "target-dev":
        dev.require("tune.protocol", "source-dev")
    if protocol == "agreement":
        dev.beside(parallel_of(workspace, needed=True)).require_translations("tune.protocol", "source-dev")
    _require_trainable(workspace, workspace.config.finetune)


def _require_trainable(workspace: Workspace, settings: FinetuneSettings) -> None:
    from mcbert.features.encoder.opening import examined
    from mcbert.finetune.texts import require_protocol

    known = examined(workspace.encoder, workspace.cache)
    known.require_length(settings.max_length, "finetune.max_length")
    known.require_poolings([settings.pooling] if settings.pooling else [], "finetune.pooling")
    freezes = settings.freezes
    dev = _dev_texts(workspace).beside(_parallel(workspace, settings))
    require_protocol(settings, dev, freezes=freezes)
    if settings.start == "probe":
        _require_start(workspace, settings)
    if settings.start == "ensemble":
        _require_ensemble(workspace)


def _dev_texts(workspace: Workspace) -> DevTexts:
    from mcbert.finetune.texts import DevTexts

    return DevTexts.of(workspace.texts_table(), workspace.config.corpus.source_language)


def _require_ensemble(workspace: Workspace) -> None:
    """Raise where the search would end without an ensemble."""
    require_special_tokens(workspace.config)
    searched = workspace.config.gridsearch
    if not searched.ensemble or searched.protocol == "last":
        why = f"gridsearch.ensemble {searched.ensemble} and gridsearch.protocol {searched.protocol}"
        raise ValueError(
            f'finetune.start: got "ensemble" with {why}, accepted: a number of candidates from 2 and another '
            'protocol than last, or finetune.start = "probe"'
        )


def _require_start(workspace: Workspace, settings: FinetuneSettings) -> None:
    """Raise where no candidate of the search can be what the head starts from."""
    from mcbert.search.fitting.classifiers import score_per_label

    require_special_tokens(workspace.config)
    searched = workspace.config.gridsearch
    labels = {label for (label,) in workspace.texts_by("label")}
    names = score_per_label(len(labels))
    if not set(names) & set(searched.classifiers):
        raise ValueError(
            'finetune.start: got "probe", but none of gridsearch.classifiers has a linear score for each of '
            f'{len(labels)} labels; accepted: {", ".join(names)} among them, or finetune.start = "random"'
        )
    missing = [layer for layer in settings.layers if searched.layers and layer not in searched.layers]
    if missing:
        raise ValueError(
            f'finetune.layers: got {missing[0]} with finetune.start = "probe", accepted: those of '
            f"gridsearch.layers, {', '.join(map(str, searched.layers))}"
        )
    if settings.pooling and settings.pooling not in searched.poolings:
        raise ValueError(
            f'finetune.pooling: got {settings.pooling!r} with finetune.start = "probe", accepted: those of '
            f"gridsearch.poolings, {', '.join(searched.poolings)}"
        )


def _require_freezing(workspace: Workspace, settings: FinetuneSettings) -> None:
    """Raise where nothing would freeze; which layers feed the head is known where the settings name them."""
    from mcbert.features.encoder.loading import n_layers
    from mcbert.finetune.freezing.rules import plan_freezing

    if settings.ignore_unused_frozen and (settings.freeze or settings.freeze_groups):
        return  # what is skipped is logged when it is planned, once
    plan_freezing(settings, max(settings.layers or (n_layers(workspace.encoder),)))
