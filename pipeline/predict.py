"""The command ``predict``: label the texts of a table with a saved model.

mcbert predict --model results/runs/demo/models/mcbert --input texts.csv --output labels.csv
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from features.corpus.bad_rows import BadRows

log = logging.getLogger(__name__)

BLOCK = 2048
"""Texts held at once."""

PROBABILITIES = (
    "Texts may be in any language that the encoder knows. Probabilities are the classifier's own where it "
    "has some (logistic regression, LDA, k-NN, MLP, fine-tuned models); for ridge, SVM and others they are "
    "softmax(scores / temperature), the temperature fitted to the source language's dev texts: in other "
    "languages they may be too sure. The output appears whole or not at all; memory does not grow with rows."
)

SETTINGS = {
    'corpus.on_bad = "skip"': "--on-bad skip",
    "corpus.columns maps names": "--column text=NAME maps names",
    "corpus.encoding": "--encoding",
    "corpus.delimiter": "--delimiter",
}
"""What readers call a setting of a corpus, and the option of this command that stands for it."""


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "table of texts + saved model -> CSV of labels and probabilities"
    command = add("predict", help=text, description=f"{text}. {PROBABILITIES}")
    command.add_argument("--model", required=True, help="folder that finetune or export wrote, or a hub name")
    command.add_argument(
        "--input",
        required=True,
        type=Path,
        help=".csv, .tsv, .jsonl (also .gz) or .parquet with the column text, perhaps text_pair and id",
    )
    command.add_argument("--output", required=True, type=Path, help="CSV to write, a row per text, in order")
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    command.add_argument(
        "--on-bad",
        choices=("error", "skip"),
        default="error",
        help="what becomes of rows without a usable text",
    )
    command.add_argument(
        "--column",
        action="append",
        default=[],
        metavar="OURS=THEIRS",
        help="name that text, text_pair or id has in the input; may be repeated",
    )
    command.add_argument("--encoding", default="utf-8", help="of CSV, TSV and JSON Lines (default: utf-8)")
    command.add_argument("--delimiter", default="", help="between the fields of CSV and TSV")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_predict)


def _predict(args: argparse.Namespace, *_: object) -> int:
    from features.corpus.bad_rows import CorpusError
    from finetune.predict import label_texts
    from finetune.saved import load_model
    from pipeline.progress import track
    from results.schema import LABELS
    from results.stream import writing

    began = time.monotonic()
    _require_output(args)
    try:
        bad, n_texts = _survey(args)
    except CorpusError as error:
        raise ValueError(_by_option(str(error))) from error
    bad.log_counts()
    if not n_texts:
        raise ValueError(f"{args.input}: no row with a usable text")
    saved = load_model(args.model)
    n_cut = 0
    with writing(LABELS, args.output) as write:
        for rows in track(_blocks(args, _bad_rows(args)), -(-n_texts // BLOCK), "predict (blocks)"):
            labels, cut = label_texts(saved, list(zip(rows["text"], rows["text_pair"], strict=True)))
            write(labels.assign(row=rows["_row"].to_numpy(), id=rows["given_id"].to_numpy(dtype=object)))
            n_cut += cut
    if n_cut:
        log.warning("predict: %d texts were longer than %d tokens and cut", n_cut, saved.max_length)
    log.info("predict: %d texts in %.1f s -> %s", n_texts, time.monotonic() - began, args.output)
    return 0


def _require_output(args: argparse.Namespace) -> None:
    output: Path = args.output
    if output.suffix.lower() != ".csv":
        raise ValueError(f"--output: got {output.name!r}, accepted: a name that ends in .csv")
    if output.exists() and (not args.replace or output.is_dir()):
        kind = "a folder" if output.is_dir() else "there already"
        raise ValueError(f"--output: {output}: it is {kind}; accepted: a new file, or --replace")
    if not output.parent.is_dir():
        raise ValueError(f"--output: {output}: no folder {output.parent}")
    if output.exists() and args.input.exists() and output.samefile(args.input):
        raise ValueError(f"--output: {output}: it is the input")


def _survey(args: argparse.Namespace) -> tuple[BadRows, int]:
    """Read the whole input once, so that a bad row is told before the model works, and count the texts."""
    bad = _bad_rows(args)
    n_texts = sum(len(rows) for rows in _blocks(args, bad))
    return bad, n_texts


def _bad_rows(args: argparse.Namespace) -> BadRows:
    from features.corpus.bad_rows import BadRows

    return BadRows(on_bad=args.on_bad, columns=_columns(args))


def _columns(args: argparse.Namespace) -> dict[str, str]:
    columns = {}
    for given in args.column:
        ours, equals, theirs = given.partition("=")
        if ours not in ("text", "text_pair", "id") or not equals or not theirs:
            raise ValueError(
                f"--column: got {given!r}, accepted: OURS=THEIRS, OURS one of text, text_pair, id"
            )
        columns[ours] = theirs
    return columns


def _blocks(args: argparse.Namespace, bad: BadRows) -> Iterator[pd.DataFrame]:
    """Yield the usable rows: text, text_pair, given_id (empty where there are none) and their places."""
    from features.corpus.checks import usable_rows
    from features.corpus.readers import TableForm, stream_table

    form = TableForm(encoding=args.encoding, delimiter=args.delimiter, columns=_columns(args))
    for frame in stream_table(args.input, ("text",), ("text_pair", "id"), size=BLOCK, form=form, bad=bad):
        # ids only travel along: they need not be there or differ
        usable = usable_rows(frame.rename(columns={"id": "given_id"}), str(args.input), bad)
        if len(usable):
            absent = {"text_pair", "given_id"}.difference(usable.columns)
            yield usable.assign(**dict.fromkeys(absent, ""))


def _by_option(message: str) -> str:
    for setting, option in SETTINGS.items():
        message = message.replace(setting, option)
    return message
