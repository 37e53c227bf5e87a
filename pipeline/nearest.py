"""The command ``nearest``: for each text of a table the most similar texts of another.

mcbert nearest --model models/embeddings --corpus a.csv --queries b.csv --output neighbours.csv -k 5
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline import encoders
from pipeline.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

log = logging.getLogger(__name__)

BLOCK = 4096
"""Texts encoded and searched at once."""


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "two tables of texts + sentence encoder -> CSV of nearest neighbours by cosine"
    command = add(
        "nearest",
        help=text,
        description=f"{text}. Needs the extra nearest (faiss): pip install 'mcbert[nearest]'. The corpus's "
        "vectors are held in memory, 4 bytes a number. A text that is in both tables finds itself.",
    )
    encoders.add_options(command)
    for name, what in (("corpus", "texts to be found"), ("queries", "texts whose neighbours are asked for")):
        command.add_argument(
            f"--{name}", required=True, type=Path, help=f"{what}: {FORMS} with the column text, perhaps id"
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
        "too long, which may miss some (default: exact)",
    )
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    add_options(command, "text or id (in both tables)")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_nearest)


def _nearest(args: argparse.Namespace, *_: object) -> int:
    import pandas as pd

    from pipeline.progress import track
    from results.schema import NEIGHBOURS
    from results.stream import writing
    from search.neighbours import Neighbours

    began = time.monotonic()
    require_output(args.output, (".csv",), (args.corpus, args.queries))
    require_new(args.output, replace=args.replace)
    if args.k < 1:
        raise ValueError(f"-k: got {args.k}, accepted: 1 or more")
    corpus, queries = (TextTable.of(path, args, optional=("id",)) for path in (args.corpus, args.queries))
    n_corpus, n_queries = corpus.survey(BLOCK), queries.survey(BLOCK)
    Neighbours(1)  # says that the library is not there before a model is loaded
    encoder = encoders.opened(args)
    neighbours, found = Neighbours(encoder.dimension, args.index), []
    for rows in track(corpus.blocks(BLOCK), -(-n_corpus // BLOCK), "nearest: corpus (blocks)"):
        with _naming(corpus, rows):
            neighbours.add(encoders.encoded(encoder, corpus, rows))
        found.append(rows[["_row", "given_id"]])
    named = pd.concat(found, ignore_index=True)
    with writing(NEIGHBOURS, args.output) as write:
        for rows in track(queries.blocks(BLOCK), -(-n_queries // BLOCK), "nearest: queries (blocks)"):
            with _naming(queries, rows):
                places, cosines = neighbours.search(encoders.encoded(encoder, queries, rows), args.k)
            write(_frame(rows, named, places, cosines))
    seconds = time.monotonic() - began
    log.info("nearest: %d queries, %d texts, %.1f s -> %s", n_queries, n_corpus, seconds, args.output)
    return 0


@contextmanager
def _naming(table: TextTable, rows: pd.DataFrame) -> Iterator[None]:
    """Say of a vector without direction which row of the input it is of."""
    from search.retrieval import RowError

    try:
        yield
    except RowError as error:
        row = rows["_row"].iloc[error.row]
        raise ValueError(f"{table.path}: row {row}: its vector has no cosines: {error.reason}") from error


def _frame(
    queries: pd.DataFrame, corpus: pd.DataFrame, places: np.ndarray, cosines: np.ndarray
) -> pd.DataFrame:
    """Return a row per query and neighbour, nearest first."""
    import numpy as np
    import pandas as pd

    k = places.shape[1]
    frame = pd.DataFrame(
        {
            "query_row": np.repeat(queries["_row"].to_numpy(), k),
            "query_id": np.repeat(queries["given_id"].to_numpy(dtype=object), k),
            "rank": np.tile(np.arange(1, k + 1), len(queries)),
            "row": corpus["_row"].to_numpy()[places.ravel()],
            "id": corpus["given_id"].to_numpy(dtype=object)[places.ravel()],
            "cosine": cosines.ravel().astype(np.float64),
        }
    )
    return frame[places.ravel() >= 0]
