"""The command ``nearest``: for each text of a table the most similar texts of another.

mcbert nearest --model models/embeddings --corpus a.csv --queries b.csv --output neighbours.csv -k 5
mcbert nearest --corpus a.npy --queries b.npy --output neighbours.csv       vectors that embed wrote
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.pipeline.commands import encoders
from mcbert.pipeline.commands.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.vectors import Vectors

log = logging.getLogger(__name__)


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
    from mcbert.finetune.embeddings.neighbours import find_neighbours, require_faiss
    from mcbert.pipeline.progress import track
    from mcbert.results.csv_files import writing
    from mcbert.results.schema.texts import NEIGHBOURS

    began = time.monotonic()
    require_output(args.output, (".csv",), (args.corpus, args.queries))
    require_new(args.output, replace=args.replace)
    if args.k < 1:
        raise ValueError(f"-k: got {args.k}, accepted: 1 or more")
    require_faiss()  # before a model is loaded
    corpus, queries = _sides(args)
    if args.k > corpus.n_rows:
        log.warning(
            "nearest: -k %d: the corpus has %d texts, which is the number of neighbours of each query",
            args.k,
            corpus.n_rows,
        )
    with writing(NEIGHBOURS, args.output) as write:
        for rows in find_neighbours(corpus, queries, args.k, index=args.index, track=track):
            write(rows)
    seconds = time.monotonic() - began
    log.info(
        "nearest: %d queries, %d texts, %.1f s -> %s", queries.n_rows, corpus.n_rows, seconds, args.output
    )
    return 0


def _sides(args: argparse.Namespace) -> tuple[Vectors, Vectors]:
    """Return corpus and queries, of one model."""
    from mcbert.finetune.embeddings.vectors import (
        BLOCK,
        StoredVectors,
        TextVectors,
        is_stored,
        require_one_model,
    )

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
    sides: dict[Path, Vectors] = dict(stored)
    if encoder is not None:
        sides |= {path: TextVectors(table, counts[path], encoder) for path, table in tables.items()}
    corpus, queries = (sides[path] for path in paths)
    if stored and corpus is not queries:
        require_one_model(corpus, queries)
    return corpus, queries
