"""Turn texts and pairs into token ids with the encoder's own tokenizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from features.encoder.files import EncoderError, first_sentence
from features.encoder.trust import trusts

TOKENISE_AT_ONCE = 1024  # texts: enough to keep the tokenizer's threads busy, little memory


def load_tokenizer(folder: str | os.PathLike[str], *, where: str = "") -> PreTrainedTokenizerBase:
    """Load the encoder's tokenizer; casing and accents follow its own config.

    Parameters
    ----------
    where : str
        What messages begin with; by default the setting of an encoder and its folder.

    Raises
    ------
    EncoderError
        It is damaged, or the folder has none: the library would make one that knows no word.
    """
    where = where or f"encoder.path: {folder}"
    tokenizer: PreTrainedTokenizerBase
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=trusts(folder))
    except (ValueError, OSError, KeyError, TypeError, AttributeError, ImportError) as error:
        raise EncoderError(f"{where}: its tokenizer cannot be read ({first_sentence(error)})") from error
    files = sorted(set(tokenizer.vocab_files_names.values()))
    if files and Path(folder).is_dir() and not any((Path(folder) / name).is_file() for name in files):
        raise EncoderError(f"{where}: no tokenizer there; accepted: a folder with {' or '.join(files)}")
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


def padded(
    tokenizer: PreTrainedTokenizerBase, tokens: Sequence[Mapping[str, Sequence[int]]]
) -> dict[str, torch.Tensor]:
    """Pad tokenised texts to the longest, always on the right.

    Encoders with absolute positions count them from the left, so padding there would change their states.

    Parameters
    ----------
    tokens : sequence of mappings
        What `tokenise` returned.

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
