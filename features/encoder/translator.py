"""Any Hugging Face sequence-to-sequence model as a function from sentences to their translations.

Pairs of languages (Marian), many languages by codes (M2M100, NLLB, mBART, many-target Marian), or by
words before the text (T5, MADLAD). Weights come from safetensors files only, computed in float32; decoding
is greedy or by beams, never sampled.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer, PreTrainedTokenizerBase

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.tokens import padded

KEY = "prepare.translator"
TOKENISE_AT_ONCE = 1024  # sentences


class Translator:
    """A translation model, ready to run.

    Parameters
    ----------
    folder : Path
        Local folder of the model.
    codes : (str, str) or None
        The model's own codes of the language read and the language written; None: it knows one pair only.
    beams : int
        Hypotheses followed; 1 is greedy.
    max_length : int
        Tokens read of a sentence, and written, special tokens included.

    Raises
    ------
    EncoderError
        The model is no sequence-to-sequence model, lacks weights, a code or a package, or is not long enough.
    """

    def __init__(self, folder: Path, *, codes: tuple[str, str] | None, beams: int, max_length: int) -> None:
        self.folder, self.max_length = folder, max_length
        self.device = hardware.device()
        with quiet(), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Recommended: pip install sacremoses")
            self.tokenizer = _load_tokenizer(folder)
            self.model = _load_model(folder)
        longest = getattr(self.model.config, "max_position_embeddings", None)
        if longest is not None and max_length > longest:
            raise EncoderError(
                f"prepare.translation_length: got {max_length}, accepted: at most {longest} ({folder})"
            )
        hardware.align(self.model)
        self.model.eval().to(self.device)
        self.prefix, forced = _set_languages(self.tokenizer, codes, folder)
        self.generation = copy.deepcopy(self.model.generation_config)
        self.generation.update(do_sample=False, num_beams=beams, max_length=max_length, max_new_tokens=None)
        if forced is not None:
            self.generation.update(forced_bos_token_id=forced)

    def lengths(self, sentences: Sequence[str]) -> np.ndarray:
        """Return the number of tokens of each sentence, uncut, int64 (n,)."""
        lengths: list[int] = []
        for start in range(0, len(sentences), TOKENISE_AT_ONCE):
            rows = self._tokens(sentences[start : start + TOKENISE_AT_ONCE], None)
            lengths += [len(row["input_ids"]) for row in rows]
        return np.array(lengths, dtype=np.int64)

    @torch.inference_mode()
    def __call__(self, sentences: Sequence[str]) -> list[str]:
        """Translate sentences as one batch; what is longer than `max_length` tokens is cut before."""
        rows = self._tokens(sentences, self.max_length)
        batch = {name: tensor.to(self.device) for name, tensor in padded(self.tokenizer, rows).items()}
        with quiet():
            ids = self.model.generate(**batch, generation_config=self.generation)
        texts: list[str] = self.tokenizer.batch_decode(ids.cpu(), skip_special_tokens=True)
        return [text.strip() for text in texts]

    def _tokens(self, sentences: Sequence[str], most: int | None) -> list[dict[str, list[int]]]:
        texts = [self.prefix + sentence for sentence in sentences]
        with quiet():  # else it warns of a long sentence; the caller does so with a count
            encoded = self.tokenizer(texts, truncation=most is not None, max_length=most)
        return [{name: encoded[name][k] for name in encoded} for k in range(len(texts))]


def _load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except ImportError as error:
        raise EncoderError(
            f"{KEY}: {folder}: its tokenizer needs a package that is not installed; "
            "pip install 'mcbert[translate]'"
        ) from error
    return tokenizer


def _load_model(folder: Path) -> Any:
    try:
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            folder,
            dtype=torch.float32,
            trust_remote_code=False,
            use_safetensors=True,
            output_loading_info=True,
        )
    except ValueError as error:
        if "Unrecognized configuration class" not in str(error):
            raise
        raise EncoderError(
            f"{KEY}: {folder}: not a translation model; accepted: a sequence-to-sequence model (Marian, "
            "M2M100, NLLB, mBART, T5, ...)"
        ) from error
    if report["missing_keys"]:
        missing = sorted(report["missing_keys"])
        raise EncoderError(f"{KEY}: {folder}: {len(missing)} weights are missing, first {missing[0]}")
    return model


def _set_languages(
    tokenizer: PreTrainedTokenizerBase, codes: tuple[str, str] | None, folder: Path
) -> tuple[str, int | None]:
    """Tell the tokenizer which language it reads; return what goes before a text and the forced first token.

    Three conventions: a language token around the text and as the first token written (M2M100, NLLB, mBART);
    the target's token before the text, of a fixed list (Marian with several targets); plain words before the
    text (T5). A Marian model without such a list knows one pair of languages, whatever codes there are.
    """
    if hasattr(tokenizer, "src_lang"):
        if codes is None:
            raise EncoderError(
                f"{KEY}: {folder}: a model of many languages; name its codes of both languages in "
                "prepare.translator_codes"
            )
        for code in codes:
            _token_id(tokenizer, code, folder)
        tokenizer.src_lang = codes[0]
        return "", _token_id(tokenizer, codes[1], folder)
    targets = getattr(tokenizer, "supported_language_codes", None)
    if targets is None:
        return ("" if codes is None else f"{codes[1]} "), None
    if not targets:
        return "", None
    if codes is None or codes[1] not in targets:
        raise EncoderError(
            f"prepare.translator_codes: got {codes and codes[1]!r} for the language to write, accepted by "
            f"{folder}: {', '.join(sorted(targets)[:12])}"
        )
    return f"{codes[1]} ", None


def _token_id(tokenizer: PreTrainedTokenizerBase, code: str, folder: Path) -> int:
    """Return the id of a language's token."""
    try:
        number = tokenizer.get_lang_id(code)
    except AttributeError:
        number = tokenizer.convert_tokens_to_ids(code)
    except KeyError:
        number = tokenizer.unk_token_id
    if number == tokenizer.unk_token_id:
        raise EncoderError(f"prepare.translator_codes: got {code!r}, which is no language code of {folder}")
    return int(number)
