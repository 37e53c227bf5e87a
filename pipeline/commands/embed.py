"""The command ``embed``: turn the texts of a table into vectors.

mcbert embed --model results/runs/demo/models/embeddings --input texts.csv --output vectors.npy
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.pipeline.commands import encoders
from mcbert.pipeline.commands.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder

log = logging.getLogger(__name__)


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "table of texts + sentence encoder -> vectors, .npy with a table of ids beside it, or .parquet"
    command = add(
        "embed",
        help=text,
        description=f"{text}. Memory does not grow with rows. The output appears as a whole; after a kill "
        "the same command goes on where it was. OUTPUT.json keeps what it was made of.",
    )
    encoders.add_options(command)
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
    encoder = encoders.opened(args)
    made = _made_of(table, encoder, n_texts)
    if is_made(output, made):
        log.info("embed: %s: made of the same before; nothing to do", output)
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
