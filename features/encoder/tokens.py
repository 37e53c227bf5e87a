"""Turn texts and pairs into token ids with the encoder's own tokenizer, and plan batches of them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from mcbert.features.encoder.files import EncoderError, told
from mcbert.features.encoder.loading import quiet, read_config
from mcbert.features.encoder.trust import trusts

TOKENISE_AT_ONCE = 1024  # texts: enough to keep the tokenizer's threads busy, little memory
PROMPT = "mcbert_prompt"  # in tokenizer_config.json


def load_tokenizer(
    folder: str | os.PathLike[str], *, where: str = "", prompt: str = ""
) -> PreTrainedTokenizerBase:
    """Load the encoder's tokenizer; casing and accents follow its own config.

    One without a padding token, as of GPT-2, pads with its end token: padding is masked.

    Parameters
    ----------
    where : str
        Start of messages; by default the setting of an encoder and its folder.
    prompt : str
        Prefix that `tokenise` puts before each text; the tokenizer keeps it, also when saved. Empty: its own.

    Raises
    ------
    EncoderError
        It is damaged, or the folder has none: transformers would make one that knows no word.
    """
    where = where or f"encoder.path: {folder}"
    tokenizer: PreTrainedTokenizerBase
    with _told(folder, where), quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, trust_remote_code=trusts(folder), local_files_only=Path(folder).is_dir()
        )
    names = sorted(set(tokenizer.vocab_files_names.values()))
    if Path(folder).is_dir():
        there = [name for name in names if (Path(folder) / name).is_file()]
        words = set(tokenizer.get_vocab()) - set(tokenizer.all_special_tokens)
        if not there or not words:
            raise EncoderError(f"{where}: no tokenizer there; accepted: a folder with {' or '.join(names)}")
    if tokenizer.pad_token is None and tokenizer.eos_token is not None:
        tokenizer.pad_token = tokenizer.eos_token
    set_prompt(tokenizer, prompt)
    return tokenizer


@contextmanager
def _told(folder: str | os.PathLike[str], where: str) -> Iterator[None]:
    """As `told`, but name config.json where that is at fault: a tokenizer is read with it."""
    try:
        with told(where, "its tokenizer cannot be read"):
            yield
    except EncoderError:
        if (Path(folder) / "config.json").is_file():
            read_config(folder, where)
        raise


def set_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> None:
    """Have `tokenise` put `prompt` before each text; an empty one leaves the tokenizer its own."""
    if prompt:
        tokenizer.init_kwargs[PROMPT] = prompt


def prompt_of(tokenizer: PreTrainedTokenizerBase) -> str:
    """Return what `tokenise` puts before each text."""
    return str(tokenizer.init_kwargs.get(PROMPT) or "")


def require_room(tokenizer: PreTrainedTokenizerBase, prompt: str, max_length: int, where: str) -> None:
    """Refuse a prompt that leaves no token to the text: all texts would be the same."""
    taken = len(tokenizer(prompt)["input_ids"]) if prompt else 0
    if taken >= max_length > 0:
        raise ValueError(
            f"{where}: {prompt!r} is {taken} tokens, special ones included, and max_length {max_length}, "
            f"which leaves none to the text; accepted: a shorter prompt, or max_length from {taken + 1}"
        )


def tokenizer_identity(folder: str | os.PathLike[str]) -> str:
    """Return the checksum of what decides the ids of a text, whatever files it was read from.

    That is the serialised tokenizer where it is one of tokenizers (normalisation, casing, splits,
    vocabulary, merges, special tokens), else its vocabulary and files; its class, and what it gives a model.
    """
    tokenizer = load_tokenizer(folder)
    known: dict[str, Any] = {
        "class": type(tokenizer).__name__,
        "special": {name: str(token) for name, token in tokenizer.special_tokens_map.items()},
        "inputs": list(tokenizer.model_input_names),
        "cut": tokenizer.truncation_side,
        "prompt": prompt_of(tokenizer),
    }
    digest = hashlib.sha256(json.dumps(known, sort_keys=True).encode())
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is not None:
        backend.no_padding()
        backend.no_truncation()
        digest.update(backend.to_str().encode())
        return digest.hexdigest()
    digest.update(json.dumps(sorted(tokenizer.get_vocab().items())).encode())
    for name in ("tokenizer_config.json", *sorted(tokenizer.vocab_files_names.values())):
        if (Path(folder) / name).is_file():
            digest.update((Path(folder) / name).read_bytes())
    return digest.hexdigest()


def require_vocabulary(tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel, where: str) -> None:
    """Raise when the tokenizer knows ids for which the model has no embedding.

    Raises
    ------
    EncoderError
        Naming both sizes; a text that holds such a token would end in an IndexError, and no other.
    """
    table = model.get_input_embeddings()
    rows = getattr(table, "num_embeddings", None)
    if rows is not None and len(tokenizer) > rows:
        raise EncoderError(
            f"{where}: the tokenizer has {len(tokenizer):,} entries, the embedding matrix {rows:,}; "
            "accepted: a tokenizer of at most as many, or a model whose embeddings were resized and saved"
        )


def most_tokens(model: PreTrainedModel) -> int | None:
    """Return the most tokens of a text that a model can read, or None where nothing limits them.

    Some families count positions from behind the padding's: of RoBERTa's 514 positions 512 can be used.
    """
    declared = getattr(model.config, "max_position_embeddings", None)
    limits = [declared] if isinstance(declared, int) and declared > 0 else []
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.rpartition(".")[2] in POSITIONS:
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - max(skipped, int(getattr(module, "offset", 0))))
    return min(limits, default=None)


POSITIONS = ("position_embeddings", "embed_positions", "wpe")
"""Names of tables that hold a row for each position."""


def tokenise(
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[tuple[str, str]],
    max_length: int,
    *,
    special: bool = False,
) -> list[dict[str, list[int]]]:
    """Tokenise texts and pairs; a pair is read jointly, an empty second text means a single text.

    The tokenizer's prompt goes before the first.

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
        Output of the tokenizer for each text, in order; a text's tokens do not depend on its neighbours.
    """
    prompt = prompt_of(tokenizer)
    rows: list[dict[str, list[int]]] = [{} for _ in texts]
    for paired in (False, True):
        chosen = [k for k, (_, second) in enumerate(texts) if bool(second) is paired]
        for start in range(0, len(chosen), TOKENISE_AT_ONCE):
            part = chosen[start : start + TOKENISE_AT_ONCE]
            encoded = tokenizer(
                [prompt + texts[k][0] for k in part],
                [texts[k][1] for k in part] if paired else None,
                truncation=True,
                max_length=max_length,
                return_special_tokens_mask=special,
            )
            for i, k in enumerate(part):
                rows[k] = {name: encoded[name][i] for name in encoded}
    return rows


def ids_in_use(
    tokenizer: PreTrainedTokenizerBase, tokens: Iterable[Mapping[str, Sequence[int]]]
) -> np.ndarray:
    """Return the ids that batches of tokenised texts can hold, distinct and ascending, int64.

    These are the texts' and those of all special tokens, what pads among them.
    """
    special = {tokenizer.pad_token_id or 0, *tokenizer.all_special_ids}
    return np.array(sorted(special.union(*(text["input_ids"] for text in tokens))), dtype=np.int64)


def padded(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Mapping[str, Sequence[int]]]
) -> dict[str, torch.Tensor]:
    """Pad tokenised texts to the longest, always on the right.

    Encoders with absolute positions count them from the left, so padding there would change their states.

    Parameters
    ----------
    tokens : sequence of mappings
        As returned by `tokenise`.

    Returns
    -------
    dict of Tensor
        int64 (batch, longest) under the names the tokenizer used.
    """
    lengths = np.array([len(row["input_ids"]) for row in tokens])
    real = np.arange(lengths.max()) < lengths[:, None]
    filler = {"input_ids": tokenizer.pad_token_id or 0, "token_type_ids": tokenizer.pad_token_type_id,
              "special_tokens_mask": 1}  # fmt: skip
    batch = {}
    for name in tokens[0]:
        values = np.full(real.shape, filler.get(name, 0), dtype=np.int64)
        values[real] = np.fromiter((i for row in tokens for i in row[name]), np.int64, int(lengths.sum()))
        batch[name] = torch.from_numpy(values)
    return batch


def plan_batches(lengths: np.ndarray, tokens: int) -> list[np.ndarray]:
    """Group rows of similar token counts into batches as full as the budget of padded tokens allows.

    The plan depends on the token counts alone, never on where a run was interrupted: the last bits of a
    feature depend on the texts that share its batch, so an equal plan is what makes a resumed extraction
    bit-identical. Full batches of one length have one shape, and there are few lengths: a CPU's library of
    kernels compiles its products per shape, which takes about half as long as running them.

    Parameters
    ----------
    lengths : ndarray of int, (n_texts,)
        Token count of each text, special tokens included.
    tokens : int
        Most padded tokens (rows x longest row) in a batch; a longer single text gets a batch of its own.

    Returns
    -------
    list of ndarray of int64
        Row numbers, shortest texts first; each row in exactly one batch.
    """
    order = np.argsort(lengths, kind="stable")
    batches, start = [], 0
    for stop in range(1, len(order) + 1):
        # sorted, so the row at `stop` would be the longest of the batch
        if stop == len(order) or (stop - start + 1) * lengths[order[stop]] > tokens:
            batches.append(order[start:stop])
            start = stop
    return batches
