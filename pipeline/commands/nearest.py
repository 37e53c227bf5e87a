"""The command ``nearest``: for each text of a table the most similar texts of another.

mcbert nearest --model models/embeddings --corpus a.csv --queries b.csv --output neighbours.csv -k 5
mcbert nearest --corpus a.npy --queries b.npy --output neighbours.csv       vectors that embed wrote
"""

from __future__ import annotations

import argparse
import collections
import itertools
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.pipeline.commands import encoders
from mcbert.pipeline.commands.vectors import Name, StoredVectors, TextVectors, is_stored, require_one_model
from mcbert.pipeline.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mcbert.search.sentences.neighbours import Neighbours

log = logging.getLogger(__name__)

BLOCK = 4096
"""Texts encoded, and queries searched, at once."""

HELD = 1 << 23
"""Numbers of the corpus that are read at once where `embed` wrote them: 32 MB."""

DECIMALS = 6
"""Of a cosine: vectors are float32, and the digits after these differ between CPUs."""

Side = StoredVectors | TextVectors
Named = Callable[["np.ndarray"], Sequence[Name]]


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "two tables of texts or outputs of embed -> CSV of nearest neighbours by cosine"
    command = add(
        "nearest",
        help=text,
        description=f"{text}. Needs the extra nearest (faiss): pip install 'mcbert[nearest]'. Vectors of a "
        "corpus of texts are held in memory, 4 bytes a number; those that embed wrote are read block by "
        "block, once for every 4096 queries. A text that is on both sides finds itself.",
    )
    encoders.add_options(command, required=False)
    for name, what in (("corpus", "texts to be found"), ("queries", "texts whose neighbours are asked for")):
        command.add_argument(
            f"--{name}",
            required=True,
            type=Path,
            help=f"{what}: {FORMS} with the column text, perhaps id; or the .npy or .parquet that embed made "
            "of them",
        )
    command.add_argument(
        "--output", required=True, type=Path, help="CSV to write, k rows per query, in order"
    )
    command.add_argument("-k", type=int, default=5, help="neighbours of each query (default: 5)")
    command.add_argument(
        "--index",
        choices=("exact", "hnsw"),
        default="exact",
        help="exact: compare all pairs, which misses nothing; hnsw: a graph, for corpora where that takes "
        "too long, which may miss some and is held in memory (default: exact)",
    )
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    add_options(command, "text or id (in both tables)")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_nearest)


def _nearest(args: argparse.Namespace, *_: object) -> int:
    from mcbert.results.schema import NEIGHBOURS
    from mcbert.results.stream import writing
    from mcbert.search.sentences.neighbours import library

    began = time.monotonic()
    require_output(args.output, (".csv",), (args.corpus, args.queries))
    require_new(args.output, replace=args.replace)
    if args.k < 1:
        raise ValueError(f"-k: got {args.k}, accepted: 1 or more")
    library()  # says that it is not there before a model is loaded
    corpus, queries = _sides(args)
    if args.k > corpus.n_rows:
        log.warning(
            "nearest: -k %d: the corpus has %d texts, so many neighbours has each query",
            args.k,
            corpus.n_rows,
        )
    neighbours, named = _searchable(corpus, args.index)
    names = queries.names()
    with writing(NEIGHBOURS, args.output) as write:
        for units in _tracked(queries, BLOCK, "queries"):
            asked = list(itertools.islice(names, len(units)))
            places, cosines = neighbours.search(units, args.k)
            write(_frame(asked, named, places, cosines))
        collections.deque(names, maxlen=0)  # more names than vectors: said here, before the output is there
    seconds = time.monotonic() - began
    log.info(
        "nearest: %d queries, %d texts, %.1f s -> %s", queries.n_rows, corpus.n_rows, seconds, args.output
    )
    return 0


def _sides(args: argparse.Namespace) -> tuple[Side, Side]:
    """Return corpus and queries, of one model."""
    paths: list[Path] = [args.corpus, args.queries]
    stored = {path: StoredVectors.open(path) for path in paths if is_stored(path)}
    tables = {path: TextTable.of(path, args, optional=("id",)) for path in paths if path not in stored}
    for option in ("model", "layers", "pooling"):
        if not tables and getattr(args, option):
            given = f"--{option}: got {getattr(args, option)!r}"
            raise ValueError(f"{given}, accepted: none, since embed made the vectors of both sides")
    counts = {path: table.survey(BLOCK) for path, table in tables.items()}
    for table in tables.values():
        table.warn_unread_pairs("nearest")
    if tables and not args.model:
        raise ValueError(
            f"--model: got none, accepted: a model that encodes the texts of {next(iter(tables))}"
        )
    encoder = encoders.opened(args) if tables else None
    sides: dict[Path, Side] = dict(stored)
    if encoder is not None:
        sides |= {path: TextVectors(table, counts[path], encoder) for path, table in tables.items()}
    corpus, queries = (sides[path] for path in paths)
    if stored and corpus is not queries:
        require_one_model(corpus, queries)
    return corpus, queries


def _searchable(corpus: Side, kind: str) -> tuple[Neighbours, Named]:
    """Return the corpus as it is searched, and what tells the names of some of its vectors."""
    import numpy as np

    from mcbert.search.sentences.neighbours import KINDS

    if isinstance(corpus, StoredVectors):
        size = max(1, HELD // corpus.dimension)
        return KINDS[kind](lambda: _units(corpus, size), corpus.dimension), lambda at: _names_at(corpus, at)
    units, names = list(_tracked(corpus, BLOCK, "corpus")), list(corpus.names())
    return KINDS[kind](lambda: units, corpus.dimension), lambda at: [names[k] for k in np.asarray(at)]


def _tracked(side: Side, size: int, what: str) -> Iterable[np.ndarray]:
    from mcbert.pipeline.progress import track

    return track(_units(side, size), -(-side.n_rows // size), f"nearest: {what} (blocks)")


def _units(side: Side, size: int) -> Iterator[np.ndarray]:
    """Yield a side's unit rows; say of a vector without direction which row of the input it is of."""
    from mcbert.search.sentences.retrieval import RowError, unit_rows

    start = 0
    for block in side.blocks(size):
        try:
            yield unit_rows(block)
        except RowError as error:
            row = next(itertools.islice(side.names(), start + error.row, None))[0]
            raise ValueError(f"{side.path}: row {row}: its vector has no cosines: {error.reason}") from error
        start += len(block)


def _names_at(side: StoredVectors, positions: np.ndarray) -> list[Name]:
    """Return the names of some vectors, their positions ascending, without holding those of the rest."""
    found: list[Name] = []
    names, at = side.names(), 0
    for position in positions.tolist():
        found += itertools.islice(names, position - at, position - at + 1)
        at = position + 1
    return found


def _frame(asked: Sequence[Name], named: Named, places: np.ndarray, cosines: np.ndarray) -> pd.DataFrame:
    """Return a row per query and neighbour, nearest first."""
    import numpy as np
    import pandas as pd

    k, kept = places.shape[1], places.ravel() >= 0
    wanted, which = np.unique(places.ravel()[kept], return_inverse=True)
    found = _table(named(wanted)).iloc[which].reset_index(drop=True)
    queries = _table(asked).iloc[np.repeat(np.arange(len(asked)), k)[kept]].reset_index(drop=True)
    return pd.DataFrame(
        {
            "query_row": queries["row"],
            "query_id": queries["id"],
            "rank": np.tile(np.arange(1, k + 1), len(asked))[kept],
            "row": found["row"],
            "id": found["id"],
            "cosine": cosines.ravel()[kept].round(DECIMALS),
        }
    )


def _table(names: Sequence[Name]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame({"row": [row for row, _ in names], "id": [name for _, name in names]})
