"""Merge a LoRA adapter into its base by peft, once: an encoder like any other comes out.

An adapter's configuration is input: only the keys that decide the product are passed on, the base is one that
is on this machine, and the weights come from safetensors alone.
"""

from __future__ import annotations

import inspect
import logging
import shutil
import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from safetensors.torch import load_file, save_file
from transformers import PreTrainedModel

from mcbert.features.encoder.files import ADAPTER, EncoderError, resolve, text_files, told
from mcbert.features.encoder.loading import load_encoder, read_json
from mcbert.files import sha256_of_all, writing_folder

log = logging.getLogger(__name__)

ADAPTER_WEIGHTS = "adapter_model.safetensors"
KEPT = ("r", "lora_alpha", "target_modules", "layers_to_transform", "layers_pattern", "rank_pattern",
        "alpha_pattern", "fan_in_fan_out", "use_rslora", "use_dora", "exclude_modules")  # fmt: skip
"""Keys of an adapter's configuration that decide what is added to the weights."""

_PREFIX = "base_model.model."


def merged(folder: Path, into: Path) -> Path:
    """Return a copy of the base that an adapter belongs to, the adapter added to its weights; made once.

    Raises
    ------
    EncoderError
        peft is not installed, the adapter is of another kind than LoRA, its base is not on this machine, or
        its weights do not fit.
    """
    where = f"encoder.path: {folder}"
    raw = read_json(folder / ADAPTER, where)
    kind = raw.get("peft_type")
    if kind != "LORA":
        raise EncoderError(f"{where}: {ADAPTER}: peft_type: got {kind!r}, accepted: LORA")
    if find_spec("peft") is None:
        raise EncoderError(
            f"{where}: a LoRA adapter, to be merged into {raw.get('base_model_name_or_path')} by peft: pip "
            "install 'mcbert[adapters]'"
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        raise EncoderError(f"{where}: no {ADAPTER_WEIGHTS} there; accepted: an adapter in safetensors")
    base = _base(folder, raw, where)
    made_of = [
        folder / ADAPTER_WEIGHTS,
        *text_files(folder),
        *sorted(base.glob("*.safetensors")),
        *text_files(base),
    ]
    target = into / sha256_of_all(made_of)[:16]
    if target.is_dir():
        return target
    model = load_encoder(base)
    with told(where, "the adapter cannot be merged"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks transformers for what that will drop
        model = _merge(model, folder, raw, where)
    tensors = {name: tensor.clone().contiguous() for name, tensor in model.state_dict().items()}
    with writing_folder(target) as partial:
        save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
        for path in (*text_files(base), *text_files(folder)):  # the adapter's tokenizer, where it has one
            if path.name not in (ADAPTER, "config.json") or path.parent == base != folder:
                shutil.copyfile(path, partial / path.name)
        shutil.copyfile(base / "config.json", partial / "config.json")
        (partial / ADAPTER).unlink(missing_ok=True)
    log.info("encoder: the adapter in %s merged into %s: %s", folder, base, target)
    return target


def _base(folder: Path, raw: dict[str, Any], where: str) -> Path:
    """Return the folder of the base: the adapter's own where it holds one, else the one that it names."""
    if (folder / "config.json").is_file():
        return folder
    name = raw.get("base_model_name_or_path")
    if not isinstance(name, str) or not name:
        raise EncoderError(f"{where}: {ADAPTER}: base_model_name_or_path: got {name!r}, accepted: its base")
    if Path(name).is_dir():
        return resolve(name, key=f"{where}: {ADAPTER}: base_model_name_or_path")
    from huggingface_hub import snapshot_download

    try:  # a folder that was received shall start no download
        return Path(snapshot_download(name, local_files_only=True))
    except (OSError, ValueError) as error:
        raise EncoderError(
            f"{where}: its base {name!r} is not on this machine; accepted: after `hf download {name}`, or "
            "with the base's config.json and model.safetensors beside the adapter"
        ) from error


def _merge(model: PreTrainedModel, folder: Path, raw: dict[str, Any], where: str) -> PreTrainedModel:
    from peft import LoraConfig, get_peft_model, set_peft_model_state_dict

    known = inspect.signature(LoraConfig).parameters
    given = {key: raw[key] for key in KEPT if raw.get(key) is not None and key in known}
    adapted = get_peft_model(model, LoraConfig(**given, bias="none", inference_mode=True))
    inner = f"{_PREFIX}{model.base_model_prefix}."
    weights = {
        (_PREFIX + name.removeprefix(inner) if name.startswith(inner) else name): tensor
        for name, tensor in load_file(folder / ADAPTER_WEIGHTS).items()
    }
    own = {name.rpartition(".lora_")[0] for name, _ in adapted.named_parameters() if ".lora_" in name}
    strange = sorted(name for name in weights if name.rpartition(".lora_")[0] not in own)
    if strange or len(own) * 2 > len(weights):
        said = f"{strange[0]} has no place in the base" if strange else f"it lacks some of {len(own)} modules"
        raise EncoderError(f"{where}: {ADAPTER_WEIGHTS}: {said}")
    set_peft_model_state_dict(adapted, weights)
    return cast(PreTrainedModel, adapted.merge_and_unload())
