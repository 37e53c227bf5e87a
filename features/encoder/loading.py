"""Read an encoder's configuration and weights: nothing in a folder chooses code, a kernel or a download.

The configuration is read as data, cleaned of keys that name code, and built by transformers' own class for
its model type; the weights come from safetensors files in the folder. Whatever goes wrong is one line.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING
from transformers.models.auto.modeling_auto import MODEL_FOR_TEXT_ENCODING_MAPPING, MODEL_MAPPING
from transformers.utils import logging as hf_logging

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, first_sentence, told
from mcbert.features.encoder.stack import cut, find_blocks
from mcbert.features.encoder.trust import trusts

log = logging.getLogger(__name__)

CODE_KEYS = frozenset(
    {"attn_implementation", "experts_implementation", "auto_map", "custom_pipelines", "kernel_config",
     "use_kernels", "fusion_config", "distributed_config", "tp_plan", "transformers_weights"}
)  # fmt: skip
"""Keys of a configuration that could choose code, kernels or other files; those that begin with _ as well."""

MOST = {
    "hidden_size": 1 << 20,
    "num_hidden_layers": 1000,
    "num_attention_heads": 1 << 16,
    "vocab_size": 1 << 27,
}
MOST_POSITIONS = 1 << 24
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NOT_NEEDED = ("pooler", "decoder.", "position_ids")  # weights that no state depends on


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' progress bars and loading report out of our log; we check what matters in it."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def read_config(folder: str | os.PathLike[str], where: str = "", *, trust: bool | None = None) -> Any:
    """Return a model's configuration.

    Parameters
    ----------
    folder : Path
        Local folder of the model.
    where : str
        Start of messages; by default the setting of an encoder and its folder.
    trust : bool, optional
        Whether the folder's own code may run; by default as `features.encoder.trust` says.

    Raises
    ------
    EncoderError
        No configuration, one that is damaged, of an unknown family, of quantised weights, or of numbers that
        are none.
    """
    where = where or f"encoder.path: {folder}"
    trust = trusts(folder) if trust is None else trust
    raw = read_json(Path(folder) / "config.json", where)
    kind = raw.get("model_type")
    if trust and raw.get("auto_map"):
        with told(where, "config.json: its own code cannot read it"):
            return AutoConfig.from_pretrained(folder, trust_remote_code=True, local_files_only=True)
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING:
        raise EncoderError(f"{where}: config.json: {_unknown(kind, raw)}")
    for path, key, value in _keys(raw):
        if key == "quantization_config" and value is not None:
            raise EncoderError(
                f"{where}: config.json: {path}: the weights are quantised; accepted: the model before that, "
                "in float32, float16 or bfloat16"
            )
    with told(where, "config.json: it cannot be used"), quiet():
        config = CONFIG_MAPPING[kind].from_dict(_cleaned(raw))
        _require_counts(getattr(config, "encoder_config", config), where)
    return config


def read_json(path: Path, where: str) -> dict[str, Any]:
    """Return the object that a JSON file holds; `where` opens the message of an `EncoderError`."""
    if not path.is_file():
        raise EncoderError(f"{where}: no {path.name} there; accepted: a folder of a model, or a hub name")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise EncoderError(f"{where}: {path.name}: not JSON ({first_sentence(error)})") from error
    if not isinstance(found, dict):
        raise EncoderError(f"{where}: {path.name}: got {type(found).__name__}, accepted: an object")
    return found


def _unknown(kind: object, raw: Mapping[str, Any]) -> str:
    import transformers

    if raw.get("auto_map"):
        return (
            f"model_type: {kind!r} needs code that comes with the model (auto_map), which is not run; "
            "accepted: encoder.remote_code=true, for a model whose code you trust"
        )
    return (
        f"model_type: got {kind!r}, accepted: one of those that transformers {transformers.__version__} knows"
    )


def _keys(node: Any, path: str = "") -> Iterator[tuple[str, str, Any]]:
    """Yield path, name and value of every key, at any depth."""
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in items:
        here = f"{path}.{key}" if path else str(key)
        yield here, str(key), value
        yield from _keys(value, here)


def _cleaned(node: Any) -> Any:
    """Return a configuration without the keys that could choose code or files, at any depth."""
    if isinstance(node, dict):
        return {
            key: _cleaned(value)
            for key, value in node.items()
            if key not in CODE_KEYS and not key.startswith("_")
        }
    return [_cleaned(value) for value in node] if isinstance(node, list) else node


def _require_counts(config: Any, where: str) -> None:
    for name, most in MOST.items():
        value = getattr(config, name, 1)
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
            raise EncoderError(f"{where}: config.json: {name}: got {value!r}, accepted: 1 to {most}")
    positions = getattr(config, "max_position_embeddings", None)  # of some families none, or -1
    if isinstance(positions, int) and positions > MOST_POSITIONS:
        raise EncoderError(
            f"{where}: config.json: max_position_embeddings: got {positions!r}, accepted: at most "
            f"{MOST_POSITIONS}"
        )


def read_tensors(folder: Path, where: str) -> dict[str, torch.Tensor]:
    """Return the weights of a folder, all of them finite.

    Raises
    ------
    EncoderError
        No safetensors file of a model, a damaged one, a tensor with values that are not finite.
    """
    tensors: dict[str, torch.Tensor] = {}
    for path in weight_files(folder, where):
        with told(where, f"{path.name}: it cannot be read"):
            tensors |= load_file(path)
    narrow = sorted({str(t.dtype) for t in tensors.values() if t.is_floating_point() and t.itemsize < 4})
    if narrow:
        _say_widened(folder, ", ".join(kind.removeprefix("torch.") for kind in narrow))
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            n_bad = int((~torch.isfinite(tensor)).sum())
            raise EncoderError(
                f"{where}: {name}: {n_bad} of {tensor.numel()} values are not finite; accepted: a model "
                "whose weights are all numbers"
            )
    return tensors


@functools.cache
def _say_widened(folder: Path, kinds: str) -> None:
    log.info("encoder: %s: its weights are %s; widened to float32", folder, kinds)  # once, not a line a load


def weight_files(folder: Path, where: str) -> list[Path]:
    """Return the safetensors files of a folder's model: one, or those that its index names."""
    if (folder / WEIGHTS).is_file():
        return [folder / WEIGHTS]
    if not (folder / INDEX).is_file():
        raise EncoderError(f"{where}: no {WEIGHTS} there; accepted: a folder with one, or with {INDEX}")
    shards = read_json(folder / INDEX, where).get("weight_map")
    names = sorted({str(name) for name in shards.values()}) if isinstance(shards, dict) else []
    bad = [
        n for n in names if Path(n).name != n or not n.endswith(".safetensors") or not (folder / n).is_file()
    ]
    if bad or not names:
        raise EncoderError(
            f"{where}: {INDEX}: weight_map: got {bad[0] if bad else shards!r}, accepted: names of "
            "safetensors files in the folder"
        )
    return [folder / name for name in names]


def load_weights(
    kind: Any,
    folder: str | os.PathLike[str],
    config: PreTrainedConfig,
    where: str,
    *,
    new_head: bool = False,
) -> tuple[PreTrainedModel, frozenset[str]]:
    """Load a model in float32 from the safetensors files of a folder, on the CPU.

    Parameters
    ----------
    kind : type
        A class of transformers, or a mapping from configurations to classes.
    config : PreTrainedConfig
        As returned by `read_config`.
    where : str
        Start of messages.
    new_head : bool
        Whether weights outside the encoder itself may have other shapes: they start random then.

    Returns
    -------
    model : PreTrainedModel
        As `from_pretrained` leaves it, in evaluation mode.
    missing : frozenset of str
        Names of weights that the files lack; they are random.

    Raises
    ------
    EncoderError
        Damaged files, tensors of other shapes than the configuration's, a family without that kind of model.
    """
    tensors = read_tensors(Path(folder), where)
    if isinstance(kind, Mapping) or not isinstance(kind, type):
        if type(config) not in kind:
            raise EncoderError(f"{where}: model type {config.model_type!r} has no model of that kind")
        kind = kind[type(config)]
        kind = kind[0] if isinstance(kind, tuple) else kind
    with told(where, f"model type {config.model_type!r}: it cannot be loaded"), quiet():
        model, report = kind.from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            dtype=torch.float32,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    hardware.align(model)
    new = set(report["missing_keys"])
    for name, found, wanted in sorted(report["mismatched_keys"]):
        if new_head and not name.startswith(f"{model.base_model_prefix}."):
            new.add(name)
            continue
        raise EncoderError(
            f"{where}: config.json and weights disagree: {name} is {tuple(found)} in the weights, "
            f"{tuple(wanted)} by the configuration"
        )
    spare = _spare_blocks(report["unexpected_keys"], model)
    if spare:
        _tell_spare(where, spare[0], len(spare))
    return model, frozenset(new)


def _spare_blocks(unexpected: Iterable[str], model: PreTrainedModel) -> list[str]:
    """Return weights that are like one of the model's own but for the number of their block."""
    own = {_unnumbered(name) for name in model.state_dict()}
    prefix = f"{model.base_model_prefix}."
    return sorted(name for name in unexpected if _unnumbered(name.removeprefix(prefix)) in own)


def _unnumbered(name: str) -> str:
    return re.sub(r"\.\d+\.", ".#.", name, count=1)


@functools.cache
def _tell_spare(where: str, first: str, count: int) -> None:
    """Say it once a process: a folder is loaded several times."""
    log.warning(
        "%s: %d weights of blocks beyond those of config.json are not used, first %s; if the encoder should "
        "have them, its number of layers there is too small", where, count, first,
    )  # fmt: skip


def load_encoder(folder: str | os.PathLike[str], deepest_layer: int | None = None) -> PreTrainedModel:
    """Load the encoder in float32, without pooler and decoder, cut after block `deepest_layer`.

    Raises
    ------
    EncoderError
        The files are damaged, or weights are missing from them.
    """
    where = f"encoder.path: {folder}"
    config = read_config(folder, where)
    if trusts(folder) and type(config) not in MODEL_MAPPING:
        with told(where, "its own code cannot load it"), quiet():
            model = AutoModel.from_pretrained(
                folder, config=config, dtype=torch.float32, trust_remote_code=True, use_safetensors=True,
                local_files_only=True,
            )  # fmt: skip
        missing: frozenset[str] = frozenset()
    else:
        stack_only = type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING  # T5: cut, it claims to have no decoder
        kinds = MODEL_FOR_TEXT_ENCODING_MAPPING if stack_only else MODEL_MAPPING
        model, missing = load_weights(kinds, folder, config, where)
        if config.is_encoder_decoder and not stack_only:
            model = model.get_encoder()
    lost = sorted(name for name in missing if not any(part in name for part in NOT_NEEDED))
    if lost:
        raise EncoderError(f"{where}: {len(lost)} weights are missing, first {lost[0]}")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    with told(where, "it cannot be pooled"):
        find_blocks(model)
        if deepest_layer is not None:
            cut(model, deepest_layer)
    if hasattr(model.config, "use_cache"):
        model.config.use_cache = False
    encoder: PreTrainedModel = model
    return encoder


def n_layers(folder: str | os.PathLike[str]) -> int:
    """Return the number of transformer blocks."""
    return _declared(folder, "num_hidden_layers")


def hidden_size(folder: str | os.PathLike[str]) -> int:
    """Return the columns of a layer."""
    return _declared(folder, "hidden_size")


def _declared(folder: str | os.PathLike[str], name: str) -> int:
    config = read_config(folder)
    if not hasattr(config, name):
        raise EncoderError(
            f"encoder.path: {folder}: config.json: model_type: got {config.model_type!r}, which has no "
            f"{name}; accepted: an encoder of texts"
        )
    return int(getattr(config, name))


def require_layers(layers: Sequence[int], available: int, key: str) -> None:
    """Raise when `layers` is empty, repeats a layer or names one that the encoder lacks."""
    if not layers:
        raise ValueError(f"{key}: got no layer; accepted: 0 (embeddings) to {available}")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= available:
            raise ValueError(f"{key}: got {layer!r}; accepted: 0 (embeddings) to {available}")
    if len(set(layers)) != len(layers):
        raise ValueError(f"{key}: got {list(layers)}; a layer may appear once")
