"""Extract: run the frozen encoder over every distinct text once and cache all layers x poolings.

    python -m mcbert extract --config demo

The texts are surveyed in one pass, cut into units and shards, and the units encoded in token-count batches,
each written and acknowledged while the next is computed. A killed run goes on after the last acknowledged
unit and ends bit-identical to an uninterrupted one, with any number of processes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from mcbert.execution import Execute, Track, untracked
from mcbert.features.cache import (
    FeatureStore,
    Shard,
    StoreSpec,
    begin,
    bytes_needed,
    finish,
    locked,
    pending,
    require_space,
)
from mcbert.features.cache import fingerprint as fp
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.hardware import release_buffers
from mcbert.features.encoder.opening import examined
from mcbert.features.extraction.identity import fingerprint
from mcbert.features.extraction.plan import plan_shards, plan_units
from mcbert.features.extraction.shard import (
    Check,
    NonFiniteStateError,
    ShardTask,
    TextError,
    encode_shard,
    encode_units,
)
from mcbert.features.extraction.texts import PackedTexts, Row, Survey, survey
from mcbert.features.extraction.unit import UnencodableTextError
from mcbert.features.settings import EncoderSettings, ExtractSettings

log = logging.getLogger(__name__)

TEXTS = "texts.packed"  # the distinct texts, in the cache's folder while it is made
SHOWN = 60  # characters of a text in a message


@dataclasses.dataclass(frozen=True, kw_only=True)
class Means:
    """With what an extraction runs; features do not depend on it."""

    execute: Execute | None = None
    """Runs shards in other processes; None: one after the other in this one."""

    threads: int = 0
    """Threads of each process; 0 leaves them as they are."""

    wait: float = 0.0
    """Seconds to wait for another extraction that writes the same cache."""

    check: Check = lambda: None
    """Called before every batch in this process; what it raises ends the run, what was acknowledged kept."""

    track: Track = untracked
    """Shows progress."""


def extract(
    texts: Iterable[Row],
    folder: Path,
    *,
    encoder: EncoderSettings,
    settings: ExtractSettings,
    cache: Path,
    corpus: str = "",
    means: Means | None = None,
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
    means : Means, optional
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
        Shards that failed in other processes.
    """
    means = means or Means()
    known = examined(folder, cache)
    known.require_length(encoder.max_length, "encoder.max_length")
    known.require_poolings(settings.poolings, "extract.poolings")
    found = survey(texts)
    fields = fingerprint(found.digest, folder, encoder=encoder, settings=settings)
    target = cache / fp.digest(fields)[:16]
    if (target / "manifest.json").is_file():
        FeatureStore.open(target).require(fields)
        log.info("extract: %s is there already", target)
        return target
    spec = StoreSpec.of(fields)
    shards = _plan(found, fields)
    target.mkdir(parents=True, exist_ok=True, mode=0o700)
    with locked(target, means.wait):
        if (target / "manifest.json").is_file():
            return target  # whoever held the lock has finished it
        require_space(cache, bytes_needed(spec, sum(b - a for s in shards for a, b in pending(target, s))))
        about = {"encoder": encoder.path, "corpus": corpus}
        about |= {"revision": encoder.revision} if encoder.revision else {}
        begin(target, fields, about | {"created": datetime.now(UTC).isoformat(timespec="seconds")})
        packed = PackedTexts.write(target / TEXTS, texts, found)
        index = found.index
        del found  # sizes and first rows: 24 bytes a text that the encoding has no use for
        release_buffers()
        task = ShardTask(
            cache=target,
            texts=packed.path,
            encoder=folder,
            shard=shards[0],
            spec=spec,
            fingerprint=json.dumps(fields, sort_keys=True),
            threads=means.threads,
        )
        try:
            _run([dataclasses.replace(task, shard=shard) for shard in shards], means, len(index))
        except (NonFiniteStateError, UnencodableTextError) as error:
            row = int(np.flatnonzero(index == error.number)[0])
            raise EncoderError(_told(error, texts, row, fields, encoder.path)) from error
        packed.path.unlink()
        finish(target, spec, shards, index)
    _warn_of_skipped(target, texts)
    return target


def _plan(found: Survey, fields: Mapping[str, Any]) -> list[Shard]:
    bounds = plan_units(
        found.sizes.sum(axis=1),
        max_length=fields["max_length"],
        rows=fields["unit_rows"],
        tokens=fields["unit_tokens"],
    )
    return plan_shards(bounds, fields["units_per_file"])


def _run(tasks: list[ShardTask], means: Means, n_rows: int) -> None:
    left = {task.shard.start: pending(task.cache, task.shard) for task in tasks}
    units = sum(len(u) for u in left.values())
    n_texts = sum(stop - start for u in left.values() for start, stop in u)
    log.info("extract: %d distinct texts of %d rows, %d to do", tasks[-1].shard.stop, n_rows, n_texts)
    began = time.monotonic()
    for _ in means.track(
        _units([t for t in tasks if left[t.shard.start]], means, left), units, "extract (units)"
    ):
        pass
    seconds = max(time.monotonic() - began, 1e-9)
    log.info("extract: %d texts in %.1f s, %.0f texts/s", n_texts, seconds, n_texts / seconds)


def _units(tasks: list[ShardTask], means: Means, left: Mapping[int, list[tuple[int, int]]]) -> Iterator[None]:
    """Run the tasks, yielding once for each unit that is on the disk."""
    if means.execute is None:
        for task in tasks:
            yield from (None for _ in encode_units(task, means.check))
        return
    failed: list[str] = []
    for task, result, error in means.execute(encode_shard, tasks):
        means.check()
        if isinstance(result, NonFiniteStateError | UnencodableTextError):
            raise result
        if error is not None:
            failed.append(f"texts {task.shard.start} to {task.shard.stop}: {error}")
        yield from (None for _ in left[task.shard.start])
    if failed:
        raise RuntimeError(f"extract: {len(failed)} of {len(tasks)} shards failed, the first: {failed[0]}")


def _told(error: TextError, texts: Iterable[Row], row: int, fields: Mapping[str, Any], encoder: str) -> str:
    name, text, second = next(islice(texts, row, None))
    shown = f"{text} | {second}" if second else text
    if isinstance(error, UnencodableTextError):
        where = f"encoder.path: {encoder}: row {row + 1}, id {name}"
        return f"{where}: it fails on the text {shown[:SHOWN]!r} ({error.reason})"
    return (
        f"row {row + 1}, id {name}: layer {error.layer}: a state is not finite as {fields['storage_dtype']}; "
        f"text: {shown[:SHOWN]!r}; accepted: extract.storage_dtype=float32, extract.dtype=float32, or "
        "extract.on_nonfinite=skip to leave such texts out"
    )


def _warn_of_skipped(target: Path, texts: Iterable[Row]) -> None:
    rows = set(FeatureStore.open(target).skipped_rows.tolist())
    if rows:
        names = [name for row, (name, *_) in enumerate(texts) if row in rows]
        log.warning("extract: %d rows have no finite state and take part in nothing: %s", len(rows),
                    ", ".join(names[:5]) + (", ..." if len(names) > 5 else ""))  # fmt: skip
