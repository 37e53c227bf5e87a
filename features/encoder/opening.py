"""Open the encoder that the settings name: found or fetched, converted, merged, tried once.

An encoder that was tried is opened without torch and transformers, unless a prompt has to be tokenised.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Protocol

from mcbert.features.encoder.files import ADAPTER, WEIGHT_FILES, EncoderError, resolve
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.trust import allow, converted, require_commit
from mcbert.features.encoder.verdict import Verdict, digest_of, keep_verdict, read_verdict
from mcbert.features.settings import EncoderSettings
from mcbert.files import read_bytes
from mcbert.files.objects import parse

log = logging.getLogger(__name__)

LIBRARY = "config_sentence_transformers.json"


def open_encoder(settings: EncoderSettings, cache: Path) -> Path:
    """Return the local folder of an encoder, its weights as safetensors, its states those of transformers.

    Parameters
    ----------
    settings : EncoderSettings
        Which encoder, and what it is trusted with.
    cache : Path
        Where converted and merged weights and the verdicts on encoders are kept, in ``encoders``.

    Raises
    ------
    EncoderError
        Not there; pickled weights or code of its own without the setting that allows them; code from the hub
        without a commit; an adapter that cannot be merged; states that are not transformers' own; a text
        length that it cannot read; a prompt that it does not name.
    """
    if settings.remote_code:
        require_commit(settings.path, settings.revision, ("encoder.revision", "encoder.remote_code"))
    folder = resolve(
        settings.path,
        revision=settings.revision,
        pickled=settings.pickled_weights,
        code=settings.remote_code,
        adapters=True,
    )
    if (folder / ADAPTER).is_file():
        from mcbert.features.encoder.adapters import merged

        folder = merged(folder, cache / "encoders")
    elif not list(folder.glob(WEIGHT_FILES)):
        folder = converted(folder, cache / "encoders")
    if settings.remote_code:
        allow(folder)
    examined(folder, cache).require_length(settings.max_length, "encoder.max_length")
    prompt = chosen_prompt(folder, settings)
    if prompt and not (prompt.isascii() and len(prompt) + TEMPLATE <= settings.max_length):
        from mcbert.features.encoder.tokens import load_tokenizer, require_room

        require_room(load_tokenizer(folder), prompt, settings.max_length, "encoder.prompt")
    if not prompt and (named := named_prompts(folder)):
        log.warning("encoder: %s names prompts (%s), and none is used: encoder.prompt_name takes one",
                    settings.path, ", ".join(named))  # fmt: skip
    return folder


TEMPLATE = 32
"""More special tokens than a tokenizer adds to a text: an ASCII prompt so many characters below the limit
leaves room, at a token a character at most, and no tokenizer is loaded to see it."""


def examined(folder: Path, cache: Path) -> Verdict:
    """Return what is known of an encoder; verdicts are kept beside the caches."""
    return verdict(folder, cache / "encoders")


known: dict[str, Verdict] = {}


def verdict(folder: str | os.PathLike[str], kept: Path | None = None) -> Verdict:
    """Return what is known of an encoder, and try it when nothing is.

    Parameters
    ----------
    folder : Path
        Local folder of the encoder.
    kept : Path, optional
        Folder of verdicts, so that each encoder is tried once on a machine.

    Raises
    ------
    EncoderError
        It cannot be loaded or run, or its states are not transformers' own; naming model type, layer, pooling
        and difference.
    """
    digest = digest_of(encoder_identity(folder, kept))
    file = None if kept is None else kept / f"{digest}.json"
    written = None if file is None else read_verdict(file)
    found = known.get(digest) or written
    if found is None:
        from mcbert.features.encoder.loading import load_encoder
        from mcbert.features.encoder.selfcheck import examine

        found = examine(load_encoder(folder), folder)
        log.info("encoder: %s: %d layers, equal to transformers' own within %.0e",
                 found.model_type, found.n_layers, found.difference)  # fmt: skip
    known[digest] = found
    if file is not None and written is None:
        keep_verdict(file, found)
    return found


class Prompted(Protocol):
    """Settings that ask for a prompt."""

    @property
    def prompt(self) -> str:
        """The prompt itself."""

    @property
    def prompt_name(self) -> str:
        """Or the name of one that the folder holds."""


def chosen_prompt(folder: Path, settings: Prompted, key: str = "encoder.prompt_name") -> str:
    """Return what goes before each text; empty where the settings ask for nothing.

    Parameters
    ----------
    folder : Path
        Of the encoder; sentence-transformers keeps named prompts there.
    settings : Prompted
        The prompt, or its name.
    key : str
        The setting that names it, for messages.

    Raises
    ------
    EncoderError
        The folder has no prompt of that name.
    """
    if not settings.prompt_name:
        return settings.prompt
    named = named_prompts(folder)
    if settings.prompt_name not in named:
        accepted = ", ".join(named) or "nothing"
        raise EncoderError(f"{key}: got {settings.prompt_name!r}, accepted: {accepted} ({folder})")
    return named[settings.prompt_name]


def named_prompts(folder: Path) -> dict[str, str]:
    """Return the prompts that a folder of sentence-transformers names, but empty ones."""
    try:
        found = parse(read_bytes(folder / LIBRARY, links=True))["prompts"]
        return {str(name): text for name, text in found.items() if isinstance(text, str) and text}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
