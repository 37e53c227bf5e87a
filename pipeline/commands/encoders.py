"""Which sentence encoder a command uses: its options, and the model that they ask for.

python -m mcbert embed --help
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.home import CACHE

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mcbert.finetune.embeddings.encode import SentenceEncoder
    from mcbert.pipeline.inputs import TextTable

POOLINGS = "max, mean, cls, last, or one of them for each layer joined by +"
_LAYERS = re.compile(r"\d+([+,]\d+)*")


def add_options(command: argparse.ArgumentParser, *, required: bool = True) -> None:
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
        "they are taken instead of what it does itself",
    )
    command.add_argument("--pooling", help=f"with --layers: {POOLINGS}")
    command.add_argument(
        "--cache",
        type=Path,
        default=CACHE,
        help=f"folder of all feature caches; keeps what is known of encoders (default: {CACHE})",
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


def opened(args: argparse.Namespace) -> SentenceEncoder:
    """Open the model that the options ask for."""
    from mcbert.finetune.embeddings.encode import EncodeSettings, open_sentence_encoder

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


def record(encoder: SentenceEncoder) -> dict[str, Any]:
    """Return what tells a model and how it encodes, in JSON's types; reads the model's files."""
    return {"name": encoder.name, "dimension": encoder.dimension, **encoder.identity()}


def encoded(encoder: SentenceEncoder, table: TextTable, rows: pd.DataFrame) -> np.ndarray:
    """Return the vectors of some rows of a table, (n_rows, dimension), float32.

    Raises
    ------
    ValueError
        Naming a row whose vector is not finite.
    """
    from mcbert.finetune.embeddings.encode import VectorError

    try:
        return encoder.encode(rows["text"].tolist())
    except VectorError as error:
        row = rows["_row"].iloc[error.position]
        raise ValueError(f"{table.path}: row {row}: {encoder.name}: {error.reason}") from error


def _layers(text: str) -> tuple[int, ...]:
    if not _LAYERS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"got {text!r}, accepted: numbers joined by +, such as 6+8")
    return tuple(int(layer) for layer in re.split(r"[+,]", text))
