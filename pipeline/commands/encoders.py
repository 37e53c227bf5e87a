"""The options of a command that name a sentence encoder, and the encoder that they name.

python -m mcbert embed --help
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.features.spec import POOLINGS_ACCEPTED, parse_layers
from mcbert.home import CACHE

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder


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


def opened(args: argparse.Namespace) -> SentenceEncoder:
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
