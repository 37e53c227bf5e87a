"""Load any Hugging Face encoder, cut it after the deepest layer asked for, and pool its layers while it runs.

Layer 0 is the embedding output, layer k the output of block k. Weights come from safetensors files only and
no code from a model folder is run.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as hf_logging

from features.pooling import pool

log = logging.getLogger(__name__)

WEIGHT_FILES = "*.safetensors"
TOKENISE_AT_ONCE = 1024  # texts: enough to keep the tokenizer's threads busy, little memory
TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json",
                   "sentencepiece.bpe.model", "spm.model", "added_tokens.json")  # fmt: skip


class EncoderError(ValueError):
    """An encoder that cannot be used; the message says which, why, and what to do."""


def resolve(name: str) -> Path:
    """Return the local folder of an encoder, fetching a hub name.

    Raises
    ------
    EncoderError
        Not a folder with safetensors weights, and not reachable on the hub.
    """
    folder = Path(name)
    if not folder.is_dir():
        folder = _fetch(name)
    if not (folder / "config.json").is_file():
        raise EncoderError(f"encoder.path: {name}: no config.json there; accepted: a folder or a hub name")
    if not list(folder.glob(WEIGHT_FILES)):
        raise EncoderError(
            f"encoder.path: {name}: no safetensors weights there; pickled weights are not read, convert them"
        )
    return folder


def _fetch(name: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = [WEIGHT_FILES, "config.json", *TOKENIZER_FILES]
    try:
        return Path(snapshot_download(name, allow_patterns=patterns))
    except (OSError, ValueError) as error:
        log.debug("hub: %s", error)
        raise EncoderError(
            f"encoder.path: {name!r} is no folder and cannot be fetched ({type(error).__name__}); "
            f"download huggingface.co/{name} where there is a network and set encoder.path to the folder"
        ) from error


def identity(folder: Path) -> dict[str, str]:
    """Return sha256 of weights, config and tokenizer files: what makes an encoder that encoder."""
    return {
        "encoder_weights": _sha256(sorted(folder.glob(WEIGHT_FILES))),
        "encoder_config": _sha256([folder / "config.json"]),
        "tokenizer": _sha256([folder / f for f in TOKENIZER_FILES if (folder / f).is_file()]),
    }


def _sha256(paths: Sequence[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        digest.update(f"{path.name}:{path.stat().st_size}\n".encode())
        with path.open("rb") as file:
            while block := file.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Load the encoder's tokenizer; casing and accents follow its own config."""
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    return tokenizer


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, str]],
    max_length: int,
    *,
    special: bool = False,
) -> list[dict[str, list[int]]]:
    """Tokenise texts and pairs; a pair is read jointly, an empty second text means a single text.

    Parameters
    ----------
    texts : sequence of (str, str)
        Text and second text.
    max_length : int
        Tokens kept, special tokens included.
    special : bool
        Whether to add ``special_tokens_mask``.

    Returns
    -------
    list of dict
        What the tokenizer made of each text, in order; a text's tokens do not depend on its neighbours.
    """
    rows: list[dict[str, list[int]]] = [{} for _ in texts]
    for paired in (False, True):
        chosen = [k for k, (_, second) in enumerate(texts) if bool(second) is paired]
        for start in range(0, len(chosen), TOKENISE_AT_ONCE):
            part = chosen[start : start + TOKENISE_AT_ONCE]
            encoded = tokenizer(
                [texts[k][0] for k in part],
                [texts[k][1] for k in part] if paired else None,
                truncation=True,
                max_length=max_length,
                return_special_tokens_mask=special,
            )
            for i, k in enumerate(part):
                rows[k] = {name: encoded[name][i] for name in encoded}
    return rows


def n_layers(folder: Path) -> int:
    """Return the number of transformer blocks."""
    return int(AutoConfig.from_pretrained(folder, trust_remote_code=False).num_hidden_layers)


def require_layers(layers: Sequence[int], available: int, key: str) -> None:
    """Raise when `layers` is empty, repeats a layer or names one that the encoder lacks."""
    if not layers:
        raise ValueError(f"{key}: got no layer; accepted: 0 (embeddings) to {available}")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= available:
            raise ValueError(f"{key}: got {layer!r}; accepted: 0 (embeddings) to {available}")
    if len(set(layers)) != len(layers):
        raise ValueError(f"{key}: got {list(layers)}; a layer may appear once")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's progress bars and loading report out of our log; we check what matters in it."""
    level, bars = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if bars:
            hf_logging.enable_progress_bar()


def load_encoder(folder: Path, deepest_layer: int | None = None) -> PreTrainedModel:
    """Load the encoder in float32, without its pooler, cut after block `deepest_layer`.

    Raises
    ------
    EncoderError
        Weights of the kept blocks are missing from the file.
    """
    with quiet():
        model, report = AutoModel.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    missing = [k for k in report["missing_keys"] if "pooler" not in k]
    if missing:
        raise EncoderError(f"encoder.path: {folder}: {len(missing)} weights are missing, first {missing[0]}")
    if getattr(model, "pooler", None) is not None:
        model.pooler = None
    if deepest_layer is not None:
        cut(model, deepest_layer)
    encoder: PreTrainedModel = model
    return encoder


def encoder_layers(model: PreTrainedModel) -> nn.ModuleList:
    """Return the list of transformer blocks; block k of the design is ``[k - 1]``.

    Raises
    ------
    EncoderError
        No such list: the encoder shares one block between its layers, as ALBERT does.
    """
    wanted = int(model.config.num_hidden_layers)
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise EncoderError(
        f"encoder.path: {type(model).__name__} has no list of {wanted} blocks to pool or freeze"
    )


def cut(model: PreTrainedModel, deepest_layer: int) -> None:
    """Drop the blocks after `deepest_layer`; their output would feed nothing."""
    layers = encoder_layers(model)
    del layers[max(deepest_layer, 1) :]  # an encoder without blocks would not run
    model.config.num_hidden_layers = len(layers)


class PooledEncoder:
    """A frozen encoder that pools each asked layer as soon as it is computed.

    No more than one layer's token states live at a time.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    layers, poolings : sequences
        What to return, in this order.
    dtype : torch.dtype
        Of weights and activations; pooling is always float32.
    content_only : bool
        Leave the special tokens out of max and mean (the field's convention keeps them).
    """

    def __init__(
        self,
        folder: Path,
        *,
        layers: Sequence[int],
        poolings: Sequence[str],
        dtype: torch.dtype = torch.float32,
        content_only: bool = False,
    ) -> None:
        self.tokenizer = load_tokenizer(folder)
        self.layers, self.poolings, self.content_only = tuple(layers), tuple(poolings), content_only
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = load_encoder(folder, max(layers))
        module: nn.Module = self.model
        module.eval().to(device=self.device, dtype=dtype)
        self.hidden_size = int(self.model.config.hidden_size)
        self._pooled: dict[int, torch.Tensor] = {}
        self._masks: dict[str, torch.Tensor] = {}
        blocks = encoder_layers(self.model)
        for layer in layers:
            if layer == 0:
                blocks[0].register_forward_pre_hook(self._keep_input, with_kwargs=True)
            else:
                blocks[layer - 1].register_forward_hook(self._keep_output(layer))

    def _keep_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._keep(0, args[0] if args else kwargs["hidden_states"])

    def _keep_output(self, layer: int) -> Any:
        def hook(_: nn.Module, __: Any, output: Any) -> None:
            self._keep(layer, output[0] if isinstance(output, tuple) else output)

        return hook

    def _keep(self, layer: int, states: torch.Tensor) -> None:
        pooled = [pool(states, self._masks[name], name) for name in self.poolings]
        self._pooled[layer] = torch.stack(pooled, dim=1)  # (batch, n_poolings, hidden)

    @torch.inference_mode()
    def __call__(self, token_ids: Sequence[dict[str, list[int]]]) -> torch.Tensor:
        """Encode tokenised texts.

        Parameters
        ----------
        token_ids : sequence of dict
            What the tokenizer returned for each text; padded here to the longest.

        Returns
        -------
        Tensor
            (batch, n_layers, n_poolings, hidden), float32, on the CPU.
        """
        batch = self.tokenizer.pad(list(token_ids), return_tensors="pt")
        special = batch.pop("special_tokens_mask", None)
        inputs = {name: tensor.to(self.device) for name, tensor in batch.items()}
        every = inputs["attention_mask"].bool()
        content = every
        if self.content_only and special is not None:
            content = every & ~special.bool().to(self.device)
            content = torch.where(content.any(dim=1, keepdim=True), content, every)
        self._masks = {"max": content, "mean": content, "cls": every}
        self.model(**inputs)
        out = torch.stack([self._pooled[layer] for layer in self.layers], dim=1)
        self._pooled.clear()
        return out.cpu()
