"""Translate sentences by the models that the configuration names, each distinct sentence once.

    python -m mcbert prepare --config FILE prepare.transfer=translate-train

What a model made is kept in a journal beside the feature caches, under sha256 of the model's files, how it
decodes, the pair of languages and the sentence. The plan of batches follows from all sentences of a call, in
an order of their own, never from those still to do, and a batch is acknowledged whole: a killed run continues
after the last whole batch and ends with the same sentences, to the bit. A sentence keeps the translation that
it got first, also when later corpora would place it among other neighbours.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.execution import Track, untracked
from mcbert.features.corpus.settings import PrepareSettings
from mcbert.files.objects import short

log = logging.getLogger(__name__)

VERSION = 1  # of what is recorded; part of the journal's identity
HYPOTHESIS_TOKENS = {"cpu": 2048, "cuda": 16_384}  # most padded tokens read, times beams, in a batch


class MachineTranslation:
    """The translation models of a configuration, loaded when a sentence needs them.

    Parameters
    ----------
    settings : PrepareSettings
        Which models, and how they decode.
    source_language : str
        The language that `settings.translator` translates from and `settings.source_translator` into.
    cache : Path
        Folder for the journals, shared between runs.
    track : callable
        Progress display.
    """

    def __init__(
        self,
        settings: PrepareSettings,
        source_language: str,
        cache: Path,
        *,
        track: Track = untracked,
    ) -> None:
        self._settings, self._source, self._cache, self._track = settings, source_language, cache, track
        self._files: dict[Path, dict[str, str]] = {}

    def __call__(self, sentences: Sequence[str], source: str, target: str) -> list[str]:
        """Translate sentences from `source` into `target`, one of which is the source language.

        Returns
        -------
        list of str
            A translation for each sentence, in order; it may be empty where the model wrote nothing.

        Raises
        ------
        EncoderError
            The model cannot be used.
        ValueError
            Another process is writing the same journal.
        """
        from mcbert.files.journal import Journal

        identity = self.identity(source, target)
        scope = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()
        distinct = sorted(set(sentences))
        keys = {s: hashlib.sha256(f"{scope}\0{s}".encode()).hexdigest() for s in distinct}
        with Journal(self._cache / "translations" / f"{scope[:16]}.jsonl") as journal:
            if not journal.records:
                journal.append({"identity": identity})
            known = _translations(journal.records, journal.path)
            new = sum(keys[s] not in known for s in distinct)
            log.info("translate %s-%s: %d sentences, %d to do", source, target, len(distinct), new)
            if new:
                self._translate(distinct, keys, known, acknowledge=journal.append, pair=(source, target))
        return [known[keys[s]] for s in sentences]

    def _translate(
        self,
        distinct: Sequence[str],
        keys: dict[str, str],
        known: dict[str, str],
        *,
        acknowledge: Callable[[dict[str, Any]], None],
        pair: tuple[str, str],
    ) -> None:
        """Translate every batch with a sentence that is not known, whole, and add to `known`."""
        from mcbert.features.encoder.tokens import plan_batches
        from mcbert.features.encoder.translator import Translator

        began, settings, description = time.monotonic(), self._settings, f"translate {pair[0]}-{pair[1]}"
        translator = Translator(
            self.folder(*pair),
            codes=self.codes(*pair),
            beams=settings.beams,
            max_length=settings.translation_length,
        )
        lengths = translator.lengths(distinct)
        cut = int((lengths > settings.translation_length).sum())
        if cut:
            log.warning("%s: %d sentences are longer than prepare.translation_length, %d tokens, and are cut",
                        description, cut, settings.translation_length)  # fmt: skip
        tokens = HYPOTHESIS_TOKENS[translator.device.type] // settings.beams
        batches = [[distinct[k] for k in rows] for rows in plan_batches(lengths, tokens)]
        todo = [batch for batch in batches if any(keys[s] not in known for s in batch)]
        done = 0
        for batch in self._track(todo, len(todo), f"{description} (batches)"):
            made = dict(zip((keys[s] for s in batch), translator(batch), strict=True))
            new = {key: text for key, text in made.items() if key not in known}
            acknowledge({"texts": new})
            known |= new
            done += len(batch)
        seconds = time.monotonic() - began
        log.info("%s: %d sentences in %.1f s, %.1f/s", description, done, seconds, done / max(seconds, 1e-9))

    def name(self, source: str, target: str) -> tuple[str, str]:
        """Return the setting that names a pair's model, and the model; the model is empty where none is."""
        into_source = target == self._source
        table = self._settings.source_translator if into_source else self._settings.translator
        language = source if into_source else target
        setting = "prepare.source_translator" if into_source else "prepare.translator"
        key = "*" if "*" in table and language not in table else language
        return f"{setting}.{key}", table.get(key, "")

    def codes(self, source: str, target: str) -> tuple[str, str] | None:
        """Return the model's codes of a pair of languages; None where there are none."""
        codes = self._settings.translator_codes
        return (codes.get(source, source), codes[target]) if target in codes else None

    def folder(self, source: str, target: str) -> Path:
        """Return the local folder of a pair's model."""
        key, model = self.name(source, target)
        from mcbert.features.encoder.files import resolve

        return resolve(model, key=key)

    def files(self, source: str, target: str) -> dict[str, str]:
        """Return the checksums of a pair's model, computed once: they may be of gigabytes."""
        from mcbert.features.encoder.files import identity

        folder = self.folder(source, target)
        if folder not in self._files:
            self._files[folder] = identity(folder)
        return self._files[folder]

    def identity(self, source: str, target: str) -> dict[str, Any]:
        """Return everything that decides how a sentence is translated, but the sentence."""
        import torch
        import transformers

        from mcbert.features.encoder import hardware

        versions = {m.__name__: ".".join(m.__version__.split(".")[:2]) for m in (torch, transformers)}
        return {
            "version": VERSION,
            "pair": [source, target],
            "model": self.files(source, target),
            "codes": self.codes(source, target),
            "beams": self._settings.beams,
            "translation_length": self._settings.translation_length,
            "device": hardware.device().type,
            "versions": versions,
        }


def _translations(records: Iterable[Mapping[str, Any]], path: Path) -> dict[str, str]:
    """Return what was translated before, by the keys of the sentences; of two records the first counts.

    Raises
    ------
    ValueError
        A record is none of a journal of translations.
    """
    known: dict[str, str] = {}
    for number, record in enumerate(records, start=1):
        if isinstance(record.get("identity"), dict):
            continue
        texts = record.get("texts")
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError(
                f"{path}: record {number}: got {short(record)}, accepted: an identity, or texts by keys of "
                "their sentences; move the file away"
            )
        for key, text in texts.items():
            known.setdefault(key, text)
    return known
