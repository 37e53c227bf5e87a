"""Open any model as a sentence encoder: this project's, layers of a plain encoder, sentence-transformers.

encoder = open_sentence_encoder("models/embeddings")
encoder.encode(["...", "..."])                                     # (2, encoder.dimension), float32
open_sentence_encoder("bert-base-multilingual-cased", layers=(8,), pooling="mean")
open_sentence_encoder("sentence-transformers/LaBSE")               # needs the extra sbert
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel
from transformers.models.auto.modeling_auto import MODEL_MAPPING

from mcbert.features.encoder import hardware
from mcbert.features.encoder.adapters import merged
from mcbert.features.encoder.files import ADAPTER, EncoderError, require_own, told
from mcbert.features.encoder.loading import read_config, require_layers
from mcbert.features.encoder.opening import chosen_prompt, verdict
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import most_tokens, prompt_of, require_room
from mcbert.features.encoder.trust import allow, require_commit, trusts
from mcbert.features.extraction.encode import UnitEncoder
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.embeddings.sentence_encoder import (
    EncodeSettings,
    LayerPoolings,
    PooledSentenceEncoder,
    SentenceEncoder,
    SentenceTransformerEncoder,
)
from mcbert.finetune.embeddings.sentence_transformer import recorded_blocks
from mcbert.finetune.export import checksums
from mcbert.finetune.export.saved import load_weights, longest_text
from mcbert.finetune.model import MCBertModel
from mcbert.finetune.weights import require_finite_weights


def open_sentence_encoder(
    name: str | os.PathLike[str],
    *,
    layers: Sequence[int] | None = None,
    pooling: str | None = None,
    settings: EncodeSettings | None = None,
    key: str = "--model",
    verdicts: Path | None = None,
) -> SentenceEncoder:
    """Open a model as a sentence encoder.

    Parameters
    ----------
    name : str or Path
        A folder that this project wrote, of a plain encoder, or of sentence-transformers; or a hub name.
    layers : sequence of int, optional
        Layers to pool, 0 the embeddings, in the order in which they are concatenated. A plain encoder needs
        them; of another model they replace its own pooling.
    pooling : str, optional
        With `layers`: ``max``, ``mean``, ``cls``, ``last``, or one of them for each layer, joined by +.
    key : str
        Name of the argument or option that gave the model, for messages.
    verdicts : Path, optional
        Folder that keeps the verdicts on plain encoders, so that each is checked once, and the encoders that
        adapters are merged into; without it an adapter is refused.

    Raises
    ------
    EncoderError
        No such model, a damaged one, one that needs the extra ``sbert`` or code of its own; a plain encoder
        whose states are not those of transformers, or a pooling that under its causal mask sees no text.
    ValueError
        Layers that it lacks, a pooling that there is not, one without the other.
    """
    name, settings = str(name), settings or EncodeSettings()
    where = f"{key}: {name}"
    folder, is_checked = _folder(name, settings, key, verdicts)
    if (layers is None) != (pooling is None):
        raise ValueError(f"{where}: layers and pooling belong together; got only one of them")
    if layers is None and (folder / "modules.json").is_file():
        recorded = recorded_blocks(folder)
        if recorded is None:
            return SentenceTransformerEncoder(name, folder, where=where, settings=settings)
        if not is_checked:
            checksums.say_unchecked(where)
        return _pooled(name, folder, recorded, settings=settings, where=where)
    config = read_config(folder, where, trust=trusts(folder))
    model, own = None, None
    if config.model_type == MCBertModel.config_class.model_type:
        require_own(folder)
        if not is_checked:
            checksums.say_unchecked(where)
        accepted = "a folder that embeddings or finetune wrote"
        loaded: Any = load_weights(
            MODEL_MAPPING, folder, config, where, what="encoder of ours", accepted=accepted
        )
        model, own = loaded.encoder, config.features.blocks
        config = config.encoder_config
    if layers is not None and pooling is not None:
        require_layers(list(layers), int(config.num_hidden_layers), f"{where}: layers")
        own = FeatureSpec.of(layers, pooling).blocks
    if own is None:
        raise ValueError(
            f"{where}: a plain encoder; accepted: with layers, 0 (embeddings) to {config.num_hidden_layers}, "
            "and a pooling"
        )
    if model is None:
        with _renamed(folder, where):
            verdict(folder, verdicts).require_poolings([one for _, one in own], f"{where}: pooling")
    return _pooled(name, folder, own, settings=settings, where=where, model=model)


def _folder(name: str, settings: EncodeSettings, key: str, kept: Path | None) -> tuple[Path, bool]:
    """Return a model's local folder, and whether its files were compared with checksums."""
    if settings.remote_code:
        require_commit(name, settings.revision, ("--revision", "--remote-code"))
    folder = Path(name)
    if (folder / "modules.json").is_file():  # of sentence-transformers: the encoder may be further down
        is_checked = checksums.require_intact(folder, f"{key}: {name}")
    else:
        folder, is_checked = checksums.resolve_intact(
            name,
            key=key,
            revision=settings.revision,
            code=settings.remote_code,
            adapters=kept is not None,
        )
        if kept is not None and (folder / ADAPTER).is_file() and not (folder / "modules.json").is_file():
            with _renamed(folder, f"{key}: {name}"):
                folder = merged(folder, kept)
    if (folder / "modules.json").is_file():
        require_own(folder)
    if settings.remote_code:
        allow(folder)
    return folder, is_checked


def _pooled(
    name: str,
    folder: Path,
    blocks: LayerPoolings,
    *,
    settings: EncodeSettings,
    where: str,
    model: PreTrainedModel | None = None,
) -> SentenceEncoder:
    config = model.config if model is not None else read_config(folder, where, trust=trusts(folder))
    kind = hardware.device().type
    fields = {
        "layers": sorted({layer for layer, _ in blocks}),
        "poolings": sorted({one for _, one in blocks}),
        "dtype": hardware.compute_dtype(settings.precision, int(config.hidden_size), kind),
        "special_tokens": "include",
        "storage_dtype": "float32",
        "max_length": settings.max_length,
        "prompt": chosen_prompt(folder, settings, "--prompt-name"),
        "tokens_per_batch": settings.budget,
    }
    with _renamed(folder, where), told(where, "its files cannot be read"):
        unit = UnitEncoder(folder, fields, model)
    require_finite_weights(unit.pooled.model, where)
    unit.max_length = _max_length(unit.pooled, settings.max_length, where)
    require_room(
        unit.pooled.tokenizer, prompt_of(unit.pooled.tokenizer), unit.max_length, f"{where}: --prompt"
    )
    return PooledSentenceEncoder(name, folder, unit, blocks)


@contextmanager
def _renamed(folder: Path, where: str) -> Iterator[None]:
    """Let messages about an encoder's folder begin with `where` instead."""
    try:
        yield
    except EncoderError as error:
        message = str(error)
        own = f"encoder.path: {folder}: "
        if message.startswith(own):
            raise EncoderError(f"{where}: {message.removeprefix(own)}") from error
        raise


def _max_length(pooled: PooledEncoder, wanted: int, where: str) -> int:
    """Return the tokens to keep of a text: as many as asked for, or as the encoder can read."""
    most = most_tokens(pooled.model)
    if most is not None and wanted > most:
        raise ValueError(f"{where}: max_length: got {wanted}, accepted: at most {most}")
    return wanted or longest_text(pooled.tokenizer, pooled.model, where)
