"""A trained sentence encoder as a folder of sentence-transformers.

    save_sentence_transformer(model, tokenizer, Path("models/embeddings-st"), max_length=128, card="...")
    SentenceTransformer("models/embeddings-st").encode(["..."])

One layer needs modules of sentence-transformers alone. It has none that concatenates several: their folder
carries a small file of code, which runs when the folder is loaded with ``trust_remote_code=True``.
"""

from __future__ import annotations

import copy
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING

from mcbert.features.encoder import pooling
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.stack import bare_encoder, cut_config, final_norms
from mcbert.features.encoder.tokens import prompt_of
from mcbert.files import read_bytes
from mcbert.files.objects import parse
from mcbert.finetune.embeddings import layer_pooling
from mcbert.finetune.export import hub
from mcbert.finetune.export.cards import describe_sentence_transformer, with_reading
from mcbert.finetune.export.saved import save_tokenizer, whole_folder
from mcbert.finetune.model import MCBertModel

MARK = "mcbert"  # a key of config_sentence_transformers.json that sentence-transformers ignores
CODE = "layer_pooling.py"
CODE_HEADER = '''"""Pooled states of several layers of an encoder, concatenated: for sentence-transformers.

SentenceTransformer(FOLDER, trust_remote_code=True)
"""
'''
_MODES = {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens", "last": "lasttoken"}
_STOCK = "1_Pooling"
_OWN = "1_LayerPooling"


def save_sentence_transformer(
    model: MCBertModel, tokenizer: PreTrainedTokenizerBase, folder: Path, *, max_length: int, card: str
) -> None:
    """Write a folder that sentence-transformers loads; it appears whole or not at all.

    Parameters
    ----------
    model : MCBertModel
        Its pooled states are the vectors.
    folder : Path
        Where to; replaced when it is there.
    max_length : int
        Tokens kept of a text.
    card : str
        Markdown for README.md: the model, its training and scores, without a section on use. It may
        open with front matter between lines ``---``, such as languages and data sets.

    Raises
    ------
    EncoderError
        sentence-transformers would not load the encoder that the model has.
    """
    require_loadable(model)
    layers, config = list(model.config.layers), model.config.encoder_config
    encoder = _with_norm(model)
    poolings = list(model.config.features.poolings)
    is_stock = len(layers) == 1
    pooled = _stock_pooling(poolings[0], config.hidden_size) if is_stock else {
        "layers": layers, "poolings": poolings, "hidden_size": config.hidden_size
    }  # fmt: skip
    files = {
        "modules.json": modules(is_stock),
        "sentence_bert_config.json": _transformer_config(encoder, layers, max_length),
        "config_sentence_transformers.json": _model_config(layers, poolings, prompt_of(tokenizer)),
        f"{_STOCK if is_stock else _OWN}/config.json": pooled,
    }
    with whole_folder(folder) as partial:
        with quiet():
            encoder.save_pretrained(partial)
        save_tokenizer(tokenizer, partial, max_length)
        for name, content in files.items():
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        if not is_stock:
            (partial / CODE).write_text(pooling_source(), encoding="utf-8")
        text = describe_sentence_transformer(
            card, layers, poolings, dimension=model.width, max_length=max_length
        )
        text = with_reading(text, prompt=prompt_of(tokenizer))
        (partial / "README.md").write_text(text, encoding="utf-8")


def require_loadable(model: MCBertModel) -> None:
    """Refuse an encoder that sentence-transformers would load with the decoder of its family.

    Its folder would hold the encoder's weights under the names that they have there, none of which the whole
    model finds: the vectors would be those of random weights.
    """
    config = model.config.encoder_config
    whole: Any = MODEL_MAPPING[type(config)]
    alone: Any = MODEL_FOR_TEXT_ENCODING_MAPPING.get(type(config), whole)
    if not isinstance(model.encoder, whole | alone):
        raise EncoderError(
            f"sentence-transformers: model type {config.model_type!r}: it loads {whole.__name__}, decoder "
            "and all, where the vectors are of the encoder alone; accepted: models/embeddings, which mcbert "
            "embed reads, or an encoder without a decoder"
        )


def modules(is_stock: bool) -> list[dict[str, Any]]:
    """Return modules.json of the folders that this module writes."""
    # names since the first versions of sentence-transformers, which maps them to where the classes are now
    kinds = ["sentence_transformers.models.Transformer"]
    kinds.append("sentence_transformers.models.Pooling" if is_stock else "layer_pooling.LayerPooling")
    paths = ["", _STOCK if is_stock else _OWN]
    return [
        {"idx": k, "name": str(k), "path": path, "type": kind}
        for k, (path, kind) in enumerate(zip(paths, kinds, strict=True))
    ]


def recorded_blocks(folder: Path) -> list[tuple[int, str]] | None:
    """Return layer and pooling of each part of a vector of a folder that this module wrote, or None.

    A folder that anyone changed the modules of since is none of this module's.
    """
    try:
        recorded = parse(read_bytes(folder / "config_sentence_transformers.json", links=True))[MARK]
        blocks = list(zip(recorded["layers"], recorded["poolings"], strict=True))
        written = parse(read_bytes(folder / "modules.json", links=True))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return blocks if written == modules(len(blocks) == 1) else None


def pooling_source() -> str:
    """Return the file that folders of several layers carry; it imports nothing of this project."""
    parts = {pooling: hub.ONLY_EXTRACTION, layer_pooling: ()}
    return hub.self_contained(CODE_HEADER, parts)


def _stock_pooling(name: str, hidden_size: int) -> dict[str, Any]:
    # the keys of all versions of sentence-transformers: the newest turns them into its own
    modes = {f"pooling_mode_{mode}": False for mode in _MODES.values()}
    return {
        "word_embedding_dimension": hidden_size,
        **modes,
        f"pooling_mode_{_MODES[name]}": True,
    }


def _transformer_config(encoder: PreTrainedModel, layers: Sequence[int], max_length: int) -> dict[str, Any]:
    config: dict[str, Any] = {"max_seq_length": max_length, "do_lower_case": False}
    if _takes_pooler_choice(encoder):
        config["model_args"] = {"add_pooling_layer": False}  # or random weights are added
    if len(layers) > 1:
        config["config_args"] = {"output_hidden_states": True}
    elif not _is_last(encoder, layers[0]):
        path = ["hidden_states", layers[0]]
        config["modality_config"] = {"text": {"method": "forward", "method_output_name": path}}
        config["module_output_name"] = "token_embeddings"
    return config


def _takes_pooler_choice(encoder: PreTrainedModel) -> bool:
    return "add_pooling_layer" in inspect.signature(type(encoder)).parameters


def _is_last(encoder: PreTrainedModel, layer: int) -> bool:
    """Whether a layer is the encoder's last hidden state: not the embeddings, and no final norm follows."""
    ids = torch.zeros((1, 2), dtype=torch.long, device=encoder.device)
    was_training = encoder.training
    encoder.eval()
    with torch.inference_mode():
        found = encoder(input_ids=ids, attention_mask=ids + 1, output_hidden_states=True, return_dict=True)
    encoder.train(was_training)
    return torch.equal(found.hidden_states[layer], found.last_hidden_state)


def _with_norm(model: MCBertModel) -> PreTrainedModel:
    """Return an encoder that transformers loads with the states that the model pools.

    Where a norm follows the last block of the family, a cut encoder gets one block more, random and unused:
    transformers would put that norm after the block that is pooled.
    """
    encoder = model.encoder
    if not model.config.cut or not final_norms(encoder):
        return encoder
    config = copy.deepcopy(encoder.config)
    cut_config(config, config.num_hidden_layers + 1)
    if getattr(config, "layer_types", None):
        config.layer_types = [*config.layer_types, config.layer_types[-1]]
    longer = bare_encoder(config)
    longer.load_state_dict(encoder.state_dict(), strict=False)
    return longer


def _model_config(layers: Sequence[int], poolings: Sequence[str], prompt: str) -> dict[str, Any]:
    return {
        "model_type": "SentenceTransformer",
        "__version__": {"transformers": transformers.__version__, "pytorch": torch.__version__},
        "prompts": {"query": prompt, "document": prompt},
        "default_prompt_name": "query" if prompt else None,
        "similarity_fn_name": "cosine",
        MARK: {"layers": list(layers), "poolings": list(poolings)},
    }
