"""The commands ``embed``, the vectors of a table's texts, and ``nearest``, the most similar texts of another.

mcbert embed --model results/runs/demo/models/embeddings --input texts.csv --output vectors.npy
mcbert nearest --model models/embeddings --corpus a.csv --queries b.csv --output neighbours.csv -k 5
mcbert nearest --corpus a.npy --queries b.npy --output neighbours.csv       vectors that embed wrote
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.features.spec import POOLINGS_ACCEPTED, parse_layers
from mcbert.home import CACHE
from mcbert.pipeline.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder
    from mcbert.finetune.embeddings.vectors import Vectors

log = logging.getLogger(__name__)


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare both commands with `add`, the command line's `add_parser`."""
    _add_embed(add)
    _add_nearest(add)


def _add_embed(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "table of texts + sentence encoder -> vectors, .npy with a table of ids beside it, or .parquet"
    command = add(
        "embed",
        help=text,
        description=f"{text}. Memory does not grow with rows. The output appears as a whole; after a kill "
        "the same command continues where it was. OUTPUT.json records its inputs.",
    )
    _add_encoder_options(command)
    command.add_argument(
        "--input", required=True, type=Path, help=f"{FORMS} with the column text, perhaps id"
    )
    command.add_argument(
        "--output",
        required=True,
        type=Path,
        help=".npy: float32 (n_texts, dimension), and NAME.ids.csv; .parquet: row, id and vector",
    )
    command.add_argument("--replace", action="store_true", help="replace an output of other inputs")
    add_options(command, "text or id")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_embed)


def _embed(args: argparse.Namespace, *_: object) -> int:
    from mcbert.finetune.embeddings.vector_file import is_made, is_published
    from mcbert.finetune.embeddings.vectors import BLOCK, FORMATS, ids_of, write_vectors
    from mcbert.pipeline.progress import track

    began = time.monotonic()
    output: Path = args.output
    require_output(output, tuple(FORMATS), (args.input,))
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(f"--output: {output}: Parquet needs pyarrow: pip install 'mcbert[parquet]'")
    table = TextTable.of(args.input, args, optional=("id",))
    n_texts = table.survey(BLOCK)
    table.warn_unread_pairs("embed")
    encoder = _opened(args)
    made = _made_of(table, encoder, n_texts)
    if is_made(output, made):
        log.info("embed: %s: up to date", output)
        return 0
    if not is_published(output, (n_texts, encoder.dimension), made):
        for path in (output, ids_of(output)) if output.suffix.lower() == ".npy" else (output,):
            require_new(path, replace=args.replace)
    write_vectors(table, encoder, output, made, n_texts=n_texts, track=track)
    log.info("embed: %d texts in %.1f s -> %s", n_texts, time.monotonic() - began, output)
    return 0


def _made_of(table: TextTable, encoder: SentenceEncoder, n_texts: int) -> dict[str, Any]:
    """Return everything that decides the output, in JSON's types."""
    from mcbert.files import sha256
    from mcbert.finetune.embeddings.vectors import BLOCK, VERSION, model_record

    reading = {"on_bad": table.on_bad, "columns": dict(table.columns), "encoding": table.encoding,
               "delimiter": table.delimiter}  # fmt: skip
    return {
        "version": VERSION,
        "input": {"name": table.path.name, "sha256": sha256(table.path), "texts": n_texts, **reading},
        "model": model_record(encoder),
        "window": BLOCK,
    }


def _add_nearest(add: Callable[..., argparse.ArgumentParser]) -> None:
    text = "two tables of texts or outputs of embed -> CSV of nearest neighbours by cosine"
    command = add(
        "nearest",
        help=text,
        description=f"{text}. Needs the extra nearest (faiss): pip install 'mcbert[nearest]'. Vectors of a "
        "corpus of texts are held in memory, 4 bytes a number; those that embed wrote are read block by "
        "block, once for every 4096 queries. A text that is on both sides finds itself.",
    )
    _add_encoder_options(command, required=False)
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
    encoder = _opened(args) if tables else None
    sides: dict[Path, Vectors] = dict(stored)
    if encoder is not None:
        sides |= {path: TextVectors(table, counts[path], encoder) for path, table in tables.items()}
    corpus, queries = (sides[path] for path in paths)
    if stored and corpus is not queries:
        require_one_model(corpus, queries)
    return corpus, queries


def _add_encoder_options(command: argparse.ArgumentParser, *, required: bool = True) -> None:
    """Declare the options that name a sentence encoder."""
    command.add_argument(
        "--model",
        required=required,
        help="folder that embeddings wrote, a plain encoder, or a model of sentence-transformers (needs "
        "the extra sbert); by folder or hub name",
    )
    command.add_argument(
        "--layers",
        type=_layers,
        metavar="6+8",
        help="layers of the encoder to pool, 0 the embeddings; a plain encoder needs them, of another model "
        "they replace its own pooling",
    )
    command.add_argument("--pooling", help=f"with --layers: {POOLINGS_ACCEPTED}")
    command.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help=f"folder of all feature caches; keeps the verdicts on encoders (default: {CACHE})",
    )
    group = command.add_argument_group("how texts are encoded")
    group.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="float32",
        help="of weights and activations; auto: bfloat16 where the hardware multiplies it (default: float32)",
    )
    group.add_argument(
        "--batch",
        type=int,
        default=0,
        help="most padded tokens in a batch; 0: 1024, on a GPU 65536 (default: 0)",
    )
    group.add_argument(
        "--max-length", type=int, default=0, help="tokens kept of a text (default: the model's)"
    )
    group.add_argument("--prompt", default="", help="put before each text (default: the model's own, if any)")
    group.add_argument("--prompt-name", default="", help="instead, a prompt that the model's folder names")
    group.add_argument("--revision", default="", help="commit, tag or branch of a hub name")
    group.add_argument(
        "--remote-code",
        action="store_true",
        help="run the Python files that come with the model, with your rights; of the hub it needs a commit",
    )


def _opened(args: argparse.Namespace) -> SentenceEncoder:
    """Open the encoder that the options name."""
    from mcbert.finetune.embeddings.opening import open_sentence_encoder
    from mcbert.finetune.embeddings.sentence_encoder import EncodeSettings

    settings = EncodeSettings(
        precision=args.precision,
        tokens_per_batch=args.batch,
        max_length=args.max_length,
        prompt=args.prompt,
        prompt_name=args.prompt_name,
        revision=args.revision,
        remote_code=args.remote_code,
    )
    return open_sentence_encoder(
        args.model,
        layers=args.layers,
        pooling=args.pooling,
        settings=settings,
        verdicts=args.cache / "encoders",
    )


def _layers(text: str) -> tuple[int, ...]:
    try:
        return parse_layers(text.replace(",", "+"))
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"got {text!r}, accepted: numbers joined by +, such as 6+8"
        ) from error
