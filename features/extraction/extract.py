"""Extract: run the frozen encoder over every distinct text once and cache all layers x poolings.

    python -m mcbert extract --config demo

The texts are surveyed in one pass and cut into units; units are encoded in token-count batches, each written
to a file of its own while the next is computed. A killed run continues with the units that are not there yet
and ends bit-identical to an uninterrupted one, with any number of processes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers

from mcbert.execution import Execute, Track, untracked
from mcbert.features.cache import (
    SCHEMA,
    FeatureStore,
    StoreSpec,
    begin,
    bytes_needed,
    finish,
    locked,
    pending,
    require_space,
)
from mcbert.features.cache.manifest import MANIFEST, digest
from mcbert.features.encoder import hardware
from mcbert.features.encoder import pooling as pooling_module
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import hidden_size, n_layers, require_layers
from mcbert.features.encoder.opening import chosen_prompt, examined
from mcbert.features.extraction.encode import (
    Check,
    EncodingTask,
    NonFiniteStateError,
    TextError,
    UnencodableTextError,
    encode_units,
    run_task,
)
from mcbert.features.extraction.texts import PackedTexts, Survey, TextRow, plan_units, survey
from mcbert.features.settings import EncoderSettings, ExtractSettings

log = logging.getLogger(__name__)

TEXTS = "texts.packed"  # the distinct texts, in the cache's folder while it is made
SHOWN = 60  # characters of a text in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Runtime:
    """Processes, waiting and progress of an extraction; features do not depend on them."""

    execute: Execute | None = None
    """Runs tasks in other processes; None: one after the other in this one."""

    threads: int = 0
    """Threads of each process; 0 leaves them as they are."""

    wait: float = 0.0
    """Seconds to wait for another extraction that writes the same cache."""

    check: Check = lambda: None
    """Called before every batch in this process; what it raises ends the run, what was acknowledged kept."""

    track: Track = untracked
    """Shows progress."""


def extract(
    texts: Iterable[TextRow],
    folder: Path,
    *,
    encoder: EncoderSettings,
    settings: ExtractSettings,
    cache: Path,
    corpus: str = "",
    runtime: Runtime | None = None,
) -> Path:
    """Make sure that the cache of these texts and this encoder is there and whole.

    Parameters
    ----------
    texts : iterable of (str, str, str)
        Id, text and second text (empty for a single one) of every corpus row, in order; gone through twice,
        never held.
    folder : Path
        Local folder of the encoder.
    cache : Path
        Folder of all caches; the new one is a folder in it, named by its fingerprint.
    corpus : str
        The corpus's name, for people.
    runtime : Runtime, optional
        Processes, waiting, progress.

    Returns
    -------
    Path
        The cache's folder.

    Raises
    ------
    ValueError
        A layer that is not there, a state that is not finite (naming row, id, layer and text), a cache that
        another process is writing, no room.
    RuntimeError
        Tasks that failed in other processes.
    """
    runtime = runtime or Runtime()
    known = examined(folder, cache)
    known.require_length(encoder.max_length, "encoder.max_length")
    known.require_poolings(settings.poolings, "extract.poolings")
    found = survey(texts)
    fields = fingerprint(found.digest, folder, encoder=encoder, settings=settings)
    target = cache / digest(fields)[:16]
    if (target / MANIFEST).is_file():
        FeatureStore.open(target).require(fields)
        log.info("extract: %s already exists", target)
        return target
    spec, units = StoreSpec.of(fields), units_of(found, fields)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(target, runtime.wait):
        if (target / MANIFEST).is_file():
            return target  # whoever held the lock has finished it
        about = {"encoder": encoder.path, "corpus": corpus}
        about |= {"revision": encoder.revision} if encoder.revision else {}
        begin(target, fields, about | {"created": datetime.now(UTC).isoformat(timespec="seconds")})
        left = pending(target, spec, units)
        require_space(cache, bytes_needed(spec, left))
        packed = PackedTexts.write(target / TEXTS, texts, found)
        index, n_texts = found.index, found.n_texts
        del found  # sizes and first rows: 24 bytes a text that the encoding has no use for
        hardware.release_buffers()
        task = EncodingTask(
            cache=target,
            texts=packed.path,
            encoder=folder,
            units=tuple(left),
            spec=spec,
            fingerprint=json.dumps(fields, sort_keys=True),
            threads=runtime.threads,
        )
        log.info("extract: %d distinct texts of %d rows, %d to do", n_texts, len(index), _n_texts(left))
        try:
            _encode(task, runtime, settings.units_per_task)
        except (NonFiniteStateError, UnencodableTextError) as error:
            row = int(np.flatnonzero(index == error.number)[0])
            raise EncoderError(_told(error, texts, row, fields, encoder.path)) from error
        packed.path.unlink()
        finish(target, spec, units, index)
    _warn_of_skipped(target, texts)
    return target


def units_of(found: Survey, fields: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Return the units of surveyed texts, (first, after the last) distinct text of each."""
    bounds = plan_units(
        found.sizes.sum(axis=1),
        max_length=fields["max_length"],
        rows=fields["unit_rows"],
        tokens=fields["unit_tokens"],
    )
    return list(itertools.pairwise(bounds.tolist()))


def _n_texts(units: Sequence[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in units)


def _encode(task: EncodingTask, runtime: Runtime, at_once: int) -> None:
    """Encode the units of a task, in other processes `at_once` to each."""
    if not task.units:
        return
    began = time.monotonic()
    for _ in runtime.track(_written(task, runtime, at_once), len(task.units), "extract (units)"):
        pass
    seconds, n_texts = max(time.monotonic() - began, 1e-9), _n_texts(task.units)
    log.info("extract: %d texts in %.1f s, %.0f texts/s", n_texts, seconds, n_texts / seconds)


def _written(task: EncodingTask, runtime: Runtime, at_once: int) -> Iterator[None]:
    """Encode, yielding once for each unit that is on the disk."""
    if runtime.execute is None:
        yield from (None for _ in encode_units(task, runtime.check))
        return
    shares = [task.units[k : k + at_once] for k in range(0, len(task.units), at_once)]
    failed: list[str] = []
    for part, result, error in runtime.execute(
        run_task, [dataclasses.replace(task, units=units) for units in shares]
    ):
        runtime.check()
        if isinstance(result, NonFiniteStateError | UnencodableTextError):
            raise result
        if error is not None:
            failed.append(f"texts {part.units[0][0]} to {part.units[-1][1]}: {error}")
        yield from (None for _ in part.units)
    if failed:
        raise RuntimeError(f"extract: {len(failed)} of {len(shares)} tasks failed, the first: {failed[0]}")


def _told(
    error: TextError, texts: Iterable[TextRow], row: int, fields: Mapping[str, Any], encoder: str
) -> str:
    name, text, second = next(itertools.islice(texts, row, None))
    shown = f"{text} | {second}" if second else text
    if isinstance(error, UnencodableTextError):
        where = f"encoder.path: {encoder}: row {row + 1}, id {name}"
        return f"{where}: it fails on the text {shown[:SHOWN]!r} ({error.reason})"
    return (
        f"row {row + 1}, id {name}: layer {error.layer}: a state is not finite as {fields['storage_dtype']}; "
        f"text: {shown[:SHOWN]!r}; accepted: extract.storage_dtype=float32, extract.dtype=float32, or "
        "extract.on_nonfinite=skip to leave such texts out"
    )


def _warn_of_skipped(target: Path, texts: Iterable[TextRow]) -> None:
    rows = set(FeatureStore.open(target).skipped_rows.tolist())
    if rows:
        names = [name for row, (name, *_) in enumerate(texts) if row in rows]
        log.warning("extract: %d rows have no finite state and take part in nothing: %s", len(rows),
                    ", ".join(names[:5]) + (", ..." if len(names) > 5 else ""))  # fmt: skip


def fingerprint(
    texts: str, folder: Path, *, encoder: EncoderSettings, settings: ExtractSettings
) -> dict[str, Any]:
    """Return the fields, what is left open in the settings decided for this machine.

    Parameters
    ----------
    texts : str
        Digest of all texts in order.
    folder : Path
        Local folder of the encoder.

    Raises
    ------
    ValueError
        A layer that the encoder does not have.
    """
    layers = settings.layers or tuple(range(n_layers(folder) + 1))
    require_layers(layers, n_layers(folder), "extract.layers")
    kind = hardware.device().type
    width = hidden_size(folder)
    return {
        **encoder_identity(folder),
        "texts": texts,
        "layers": list(layers),
        "poolings": list(settings.poolings),
        "hidden_size": width,
        "special_tokens": settings.special_tokens,
        "max_length": encoder.max_length,
        "prompt": chosen_prompt(folder, encoder),
        "dtype": hardware.compute_dtype(settings.dtype, width, kind),
        "storage_dtype": settings.storage_dtype,
        "on_nonfinite": settings.on_nonfinite,
        "tokens_per_batch": settings.tokens_per_batch or hardware.TOKENS_PER_BATCH[kind],
        "unit_rows": settings.unit_rows,
        "unit_tokens": settings.unit_tokens,
        "pooling_version": pooling_module.VERSION,
        "schema": SCHEMA,
        "device": kind,
        "versions": {
            m.__name__: ".".join(m.__version__.split(".")[:2]) for m in (torch, transformers, tokenizers)
        },
    }
