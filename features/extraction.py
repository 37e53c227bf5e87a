"""Extract: run the frozen encoder over every distinct text once and cache all layers x poolings.

    python -m pipeline extract --config demo

Units of `unit_rows` distinct texts are encoded in token-count batches, written and acknowledged one after the
other; a killed run goes on after the last acknowledged unit and ends bit-identical to an uninterrupted one.
"""

from __future__ import annotations

import dataclasses
import fcntl
import logging
import os
import socket
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers

from features.corpus import Corpus
from features.encoder import pooling as pooling_module
from features.encoder.batching import plan_batches
from features.encoder.blocks import n_layers, require_layers
from features.encoder.files import identity
from features.encoder.pooled import PooledEncoder
from features.encoder.tokens import tokenise
from features.settings import EncoderSettings, ExtractSettings
from features.store import SCHEMA, FeatureStore, StoreWriter
from features.store import fingerprint as fp

log = logging.getLogger(__name__)

Track = Callable[[Iterable[Any], int, str], Iterable[Any]]


def extract(
    corpus: Corpus,
    folder: Path,
    *,
    encoder: EncoderSettings,
    settings: ExtractSettings,
    cache: Path,
    track: Track = lambda items, _total, _description: items,
) -> Path:
    """Make sure that the cache of this corpus and encoder is there and whole.

    Parameters
    ----------
    corpus : Corpus
        Texts; labels do not matter here.
    folder : Path
        Local folder of the encoder.
    cache : Path
        Folder of all caches; the new one is a folder in it, named by its fingerprint.

    Returns
    -------
    Path
        The cache's folder.
    """
    layers = settings.layers or tuple(range(n_layers(folder) + 1))
    require_layers(layers, n_layers(folder), "extract.layers")
    texts, index = distinct_texts(corpus)
    fields = fingerprint(corpus, folder, layers=layers, encoder=encoder, settings=settings)
    target = cache / fp.digest(fields)[:16]
    if (target / "manifest.json").is_file():
        FeatureStore.open(target).require(fields)
        log.info("extract: %s is there already", target)
        return target
    target.mkdir(parents=True, exist_ok=True)
    with locked(target):
        _extract(texts, index, target, fields=fields, folder=folder, encoder=encoder, track=track)
    return target


def _extract(
    texts: Sequence[tuple[str, str]],
    index: np.ndarray,
    target: Path,
    *,
    fields: dict[str, Any],
    folder: Path,
    encoder: EncoderSettings,
    track: Track,
) -> None:
    pooled = PooledEncoder(
        folder,
        layers=fields["layers"],
        poolings=fields["poolings"],
        dtype=getattr(torch, fields["dtype"]),
        content_only=fields["special_tokens"] == "exclude",
    )
    writer = StoreWriter(
        target,
        fields,
        index=index,
        hidden_size=pooled.hidden_size,
        rows_per_file=fields["rows_per_file"],
        unit_rows=fields["unit_rows"],
    )
    pending = list(writer.pending())
    began = time.monotonic()
    log.info("extract: %d distinct texts of %d rows, %d to do", len(texts), len(index), _rows(pending))
    done = 0
    for start, stop in track(pending, len(pending), "extract (units)"):
        writer.write_unit(start, encode_unit(pooled, texts[start:stop], start, encoder, fields))
        done += stop - start
    writer.finish()
    seconds = time.monotonic() - began
    log.info(
        "extract: %d texts in %.1f s, %.0f texts/s -> %s", done, seconds, done / max(seconds, 1e-9), target
    )


def _rows(units: Iterable[tuple[int, int]]) -> int:
    return sum(stop - start for start, stop in units)


def encode_unit(
    pooled: PooledEncoder,
    texts: Sequence[tuple[str, str]],
    first: int,
    encoder: EncoderSettings,
    fields: dict[str, Any],
) -> np.ndarray:
    """Encode one unit.

    Returns
    -------
    ndarray
        (n_unit, n_layers, n_poolings, hidden), float32, in the order of `texts`.

    Raises
    ------
    ValueError
        A state that is not finite in the storage dtype, naming the text's number and the layer.
    """
    tokens = tokenise(pooled.tokenizer, texts, encoder.max_length, special=pooled.content_only)
    lengths = np.array([len(t["input_ids"]) for t in tokens])
    shape = (len(texts), len(pooled.layers), len(pooled.poolings), pooled.hidden_size)
    states = np.empty(shape, dtype=np.float32)
    for rows in plan_batches(lengths, fields["tokens_per_batch"]):
        states[rows] = pooled([tokens[r] for r in rows]).cpu().numpy()
    with np.errstate(over="ignore"):
        finite = np.isfinite(states.astype(fields["storage_dtype"])).all(axis=(2, 3))
    if not finite.all():
        row, layer = np.argwhere(~finite)[0]
        raise ValueError(
            f"distinct text {first + row}: layer {pooled.layers[layer]}: a state is not finite as "
            f"{fields['storage_dtype']}; try extract.storage_dtype=float32 or extract.dtype=float32"
        )
    return states


def distinct_texts(corpus: Corpus) -> tuple[list[tuple[str, str]], np.ndarray]:
    """Return the distinct (text, pair)s in order of first appearance and the number of each row's."""
    pairs = list(zip(corpus.table["text"], corpus.table["text_pair"], strict=True))
    numbers: dict[tuple[str, str], int] = {}
    index = np.array([numbers.setdefault(pair, len(numbers)) for pair in pairs], dtype=np.int64)
    return list(numbers), index


def fingerprint(
    corpus: Corpus,
    folder: Path,
    *,
    layers: Sequence[int],
    encoder: EncoderSettings,
    settings: ExtractSettings,
) -> dict[str, Any]:
    """Return every field that could change one bit of the cache."""
    versions = {m.__name__: ".".join(m.__version__.split(".")[:2]) for m in (torch, transformers, tokenizers)}
    return {
        **dataclasses.asdict(settings),
        **identity(folder),
        "poolings": list(settings.poolings),
        "layers": list(layers),
        "max_length": encoder.max_length,
        "pooling_version": pooling_module.VERSION,
        "schema": SCHEMA,
        "device": "cuda" if torch.cuda.is_available() else "cpu",
        "versions": versions,
        "texts": fp.texts_digest(zip(corpus.table["text"], corpus.table["text_pair"], strict=True)),
    }


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the cache's lock; a second extractor is told who holds it. A dead process holds nothing."""
    with (folder / ".lock").open("a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise ValueError(
                f"{folder}: another extraction is writing this cache: {file.read().strip()}"
            ) from error
        file.seek(0)
        file.truncate()
        file.write(
            f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}"
        )
        file.flush()
        yield
