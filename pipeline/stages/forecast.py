"""What of phase two would fail after hours of phase one, told by settings and texts before any encoding.

python -m pytest tests/pipeline/stages/test_forecast.py
"""

from __future__ import annotations

from mcbert.finetune.protocol import DevTexts, require_protocol
from mcbert.finetune.settings import FinetuneSettings
from mcbert.pipeline.workspace import Workspace
from mcbert.results.schema import TEXTS
from mcbert.results.stream import Rows


def require_finetune(workspace: Workspace, settings: FinetuneSettings) -> None:
    """Raise where `finetune` could not end with these settings, texts and this search.

    Raises
    ------
    ValueError
        Naming the key.
    """
    _require_trainable(workspace, settings)
    if "mcbert_wf" in settings.systems:
        _require_freezing(workspace, settings)


def require_knobs(workspace: Workspace) -> None:
    """Raise where `knobs` could not rank its trials, or not train the settings as they are."""
    if workspace.config.knobs.protocol == "target-dev":
        _dev_texts(workspace).require("knobs.protocol", "source-dev")
    _require_trainable(workspace, workspace.config.finetune)


def _require_trainable(workspace: Workspace, settings: FinetuneSettings) -> None:
    from mcbert.features.encoder.opening import examined

    known = examined(workspace.encoder, workspace.cache)
    known.require_length(settings.max_length, "finetune.max_length")
    known.require_poolings([settings.pooling] if settings.pooling else [], "finetune.pooling")
    freezes = "mcbert_wf" in settings.systems
    require_protocol(settings, _dev_texts(workspace), freezes=freezes)
    if settings.start == "probe":
        _require_start(workspace, settings)


def _dev_texts(workspace: Workspace) -> DevTexts:
    rows = Rows(TEXTS, workspace.texts, ("split", "language"))
    return DevTexts.of(
        ((split, language) for split, language in rows), workspace.config.corpus.source_language
    )


def _require_start(workspace: Workspace, settings: FinetuneSettings) -> None:
    """Raise where no candidate of the search can be what the head starts from."""
    from mcbert.pipeline.stages.start import require_special_tokens
    from mcbert.search.refit import score_per_label

    require_special_tokens(workspace.config)
    searched = workspace.config.gridsearch
    labels = {label for (label,) in Rows(TEXTS, workspace.texts, ("label",))}
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
    from mcbert.features.encoder.blocks import n_layers
    from mcbert.finetune.freezing.rules import plan_freezing

    if settings.ignore_unused_frozen and (settings.freeze or settings.freeze_groups):
        return  # what is skipped is logged when it is planned, once
    plan_freezing(settings, max(settings.layers or (n_layers(workspace.encoder),)))
