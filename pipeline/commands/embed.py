"""The command ``embed``: turn the texts of a table into vectors.

mcbert embed --model results/runs/demo/models/embeddings --input texts.csv --output vectors.npy
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.pipeline.commands import encoders
from mcbert.pipeline.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mcbert.finetune.embeddings.encode import SentenceEncoder
    from mcbert.finetune.embeddings.vector_file import VectorFile

log = logging.getLogger(__name__)

BLOCK = 4096
"""Texts held and sorted by length at once, and the work that a kill can cost."""

Parts = list[tuple[Path, Path]]  # a file, and the name that it shall have; the output last
VERSION = 1  # of what an output holds; part of what it is made of


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
    from mcbert.finetune.embeddings.vector_file import is_made, is_published, writing_vectors

    began = time.monotonic()
    output: Path = args.output
    require_output(output, tuple(FINISHERS), (args.input,))
    if output.suffix.lower() == ".parquet" and find_spec("pyarrow") is None:
        raise ValueError(f"--output: {output}: Parquet needs pyarrow: pip install 'mcbert[parquet]'")
    table = TextTable.of(args.input, args, optional=("id",))
    n_texts = table.survey(BLOCK)
    table.warn_unread_pairs("embed")
    encoder = encoders.opened(args)
    made, shape = _made_of(table, encoder, n_texts), (n_texts, encoder.dimension)
    if is_made(output, made):
        log.info("embed: %s: made of the same before; nothing to do", output)
        return 0
    if not is_published(output, shape, made):
        for path in (output, ids_of(output)) if output.suffix.lower() == ".npy" else (output,):
            require_new(path, replace=args.replace)
    with writing_vectors(output, shape, made) as file:
        _encode(table, encoder, file, n_texts)
        file.publish(FINISHERS[output.suffix.lower()](table, file, output), made)
    log.info("embed: %d texts in %.1f s -> %s", n_texts, time.monotonic() - began, output)
    return 0


def _made_of(table: TextTable, encoder: SentenceEncoder, n_texts: int) -> dict[str, Any]:
    from mcbert.files import sha256

    reading = {"on_bad": table.on_bad, "columns": dict(table.columns), "encoding": table.encoding,
               "delimiter": table.delimiter}  # fmt: skip
    return {
        "version": VERSION,
        "input": {"name": table.path.name, "sha256": sha256(table.path), "texts": n_texts, **reading},
        "model": encoders.record(encoder),
        "window": BLOCK,
    }


def _encode(table: TextTable, encoder: SentenceEncoder, file: VectorFile, n_texts: int) -> None:
    """Encode the blocks that are not on the disk yet."""
    from mcbert.pipeline.progress import track

    if file.is_publishing:
        return
    if file.blocks:
        log.info("embed: going on after %d blocks", file.blocks)
    for number, rows in enumerate(track(table.blocks(BLOCK), -(-n_texts // BLOCK), "embed (blocks)")):
        if number >= file.blocks:
            file.append(encoders.encoded(encoder, table, rows))


def _as_array(table: TextTable, file: VectorFile, output: Path) -> Parts:
    """Return the array and its table of ids, whose rows are the array's."""
    from mcbert.results.schema import VECTOR_IDS
    from mcbert.results.stream import writing

    ids = file.folder / "ids.csv"
    if not file.is_publishing:
        start = 0
        with writing(VECTOR_IDS, ids) as write:
            for rows in table.blocks(BLOCK):
                write(_named(rows).assign(position=range(start, start + len(rows))))
                start += len(rows)
    return [(ids, ids_of(output)), (file.vectors, output)]


def _as_parquet(table: TextTable, file: VectorFile, output: Path) -> Parts:
    """Return a Parquet file of row, id and vector."""
    whole = file.folder / "vectors.parquet"
    if not file.is_publishing:
        _write_parquet(whole, _with_vectors(table, file))
    return [(whole, output)]


def _write_parquet(path: Path, blocks: Iterator[tuple[pd.DataFrame, np.ndarray]]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for rows, vectors in blocks:
            flat = pa.array(vectors.reshape(-1), type=pa.float32())
            named = _named(rows)
            batch = pa.table(
                {
                    "row": pa.array(named["row"], type=pa.int64()),
                    "id": pa.array(named["id"], type=pa.string()),
                    "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]),
                }
            )
            writer = writer or pq.ParquetWriter(path, batch.schema)
            writer.write_table(batch)
    finally:
        if writer is not None:
            writer.close()


def _with_vectors(table: TextTable, file: VectorFile) -> Iterator[tuple[pd.DataFrame, np.ndarray]]:
    import numpy as np

    array, start = np.load(file.vectors, mmap_mode="r"), 0
    for rows in table.blocks(BLOCK):
        yield rows, np.ascontiguousarray(array[start : start + len(rows)])
        start += len(rows)


def _named(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the number in the input and the id of each row."""
    return rows[["_row", "given_id"]].rename(columns={"_row": "row", "given_id": "id"})


def ids_of(output: Path) -> Path:
    """Return the table of ids that lies beside an array."""
    return output.with_suffix(".ids.csv")


FINISHERS: Mapping[str, Callable[[TextTable, VectorFile, Path], Parts]] = {
    ".npy": _as_array,
    ".parquet": _as_parquet,
}
"""Suffix of an output -> what makes its files of the vectors and the input."""
