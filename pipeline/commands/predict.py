"""The command ``predict``: label the texts of a table with a saved model.

mcbert predict --model results/runs/demo/models/mcbert --input texts.csv --output labels.csv
mcbert predict --model results/runs/demo/models/mcbert --text "Wo ist mein Paket?"
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.pipeline.inputs import FORMS, TextTable, add_options, require_new, require_output

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

BLOCK = 2048  # texts held at once
DECIMALS = 6  # of a probability: the rest of its digits differs between CPUs

PROBABILITIES = (
    "Texts may be in any language that the encoder knows. Probabilities are softmax(scores / temperature), "
    "the temperature fitted to the source language's dev texts: in other languages they may be too sure; the "
    "model's card tells how far to trust them. The output appears whole or not at all; memory does not grow "
    "with rows."
)


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "table of texts + saved model -> CSV of labels and probabilities"
    command = add("predict", help=text, description=f"{text}. {PROBABILITIES}")
    command.add_argument("--model", required=True, help="folder that finetune or export wrote, or a hub name")
    command.add_argument("--input", type=Path, help=f"{FORMS} with the column text, perhaps text_pair and id")
    command.add_argument("--output", type=Path, help="CSV to write, a row per text, in order")
    command.add_argument(
        "--text",
        action="append",
        default=[],
        help="instead of a table: a text, whose label and probability are printed; may be repeated",
    )
    command.add_argument(
        "--abstain",
        type=share,
        default=0.0,
        metavar="SHARE",
        help="leave the label of a text empty where its probability is below this, 0 to 1 (default: 0)",
    )
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    add_options(command, "text, text_pair or id")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_predict)


def share(text: str) -> float:
    """Read a number from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"got {text}, accepted: a number from 0 to 1")
    return value


@dataclasses.dataclass
class PairCount:
    """Number of rows of a table that are pairs of texts, and the first that is none."""

    n_pairs: int = 0
    n_single: int = 0
    first_single: int = 0

    def see(self, rows: pd.DataFrame) -> None:
        """Count the rows of a block."""
        single = rows["text_pair"].str.strip() == ""
        if single.any() and not self.n_single:
            self.first_single = int(rows.loc[single, "_row"].iloc[0])
        self.n_single += int(single.sum())
        self.n_pairs += int((~single).sum())

    def are_read(self, path: Path, *, trained_on_pairs: bool | None) -> bool:
        """Return whether second texts are read; refuse single texts where a model was trained on pairs."""
        if trained_on_pairs and self.n_single:
            raise ValueError(
                f"{path}: column text_pair: {self.n_single} of {self.n_single + self.n_pairs} rows without a "
                f"second text, first row {self.first_single}; accepted: pairs, as the model was trained on "
                "(--column text_pair=NAME maps names)"
            )
        if trained_on_pairs is False and self.n_pairs:
            log.warning(
                "predict: %s: column text_pair: not read, of %d rows: the model was trained on single texts",
                path,
                self.n_pairs,
            )
        return trained_on_pairs is not False


def _predict(args: argparse.Namespace, *_: object) -> int:
    if bool(args.text) == bool(args.input) or bool(args.input) != bool(args.output):
        raise ValueError("predict: accepted: --input and --output, or --text, once or several times")
    return _print_labels(args) if args.text else _write_labels(args)


def _print_labels(args: argparse.Namespace) -> int:
    """Label the texts of the command line; print label, probability and text as CSV."""
    import pandas as pd

    from mcbert.features.corpus.checks import usable_rows
    from mcbert.features.corpus.errors import BadRows

    usable_rows(pd.DataFrame({"text": args.text}, dtype=object), "--text", BadRows(may_skip=False))
    from mcbert.finetune.export.saved import load_model
    from mcbert.finetune.predict import label_texts

    saved = load_model(args.model)
    if saved.text_pairs:
        raise ValueError(f"--text: {args.model} was trained on pairs; accepted: --input with text_pair")
    labels, n_cut = label_texts(saved, [(text, "") for text in args.text])
    labels = labels.round(DECIMALS)
    labels["label"] = labels["label"].mask(labels["probability"] < args.abstain, "")
    labels[["label", "probability"]].assign(text=args.text).to_csv(sys.stdout, index=False)
    if n_cut:
        log.warning("predict: %d texts were longer than %d tokens and cut", n_cut, saved.max_length)
    return 0


def _write_labels(args: argparse.Namespace) -> int:
    began = time.monotonic()
    require_output(args.output, (".csv",), (args.input,))
    require_new(args.output, replace=args.replace)
    table = TextTable.of(args.input, args)
    pairs = PairCount()
    n_texts = table.survey(BLOCK, pairs.see)
    # five seconds, which an output or a table that cannot be used is told without
    from mcbert.finetune.export.saved import load_model
    from mcbert.finetune.predict import label_texts
    from mcbert.pipeline.progress import track
    from mcbert.results.csv_files import writing
    from mcbert.results.schema.texts import LABELS

    saved = load_model(args.model)
    reads_pairs = pairs.are_read(args.input, trained_on_pairs=saved.text_pairs)
    n_cut, n_empty = 0, 0
    with writing(LABELS, args.output) as write:
        for rows in track(table.blocks(BLOCK), -(-n_texts // BLOCK), "predict (blocks)"):
            second = rows["text_pair"] if reads_pairs else [""] * len(rows)
            labels, cut = label_texts(saved, list(zip(rows["text"], second, strict=True)))
            labels = labels.round(DECIMALS)  # first, so that what the file says decides
            unsure = labels["probability"] < args.abstain
            labels["label"] = labels["label"].mask(unsure, "")
            write(labels.assign(row=rows["_row"].to_numpy(), id=rows["given_id"].to_numpy(dtype=object)))
            n_cut, n_empty = n_cut + cut, n_empty + int(unsure.sum())
    if n_cut:
        log.warning("predict: %d texts were longer than %d tokens and cut", n_cut, saved.max_length)
    if args.abstain:
        log.info("predict: %d of %d texts have no label: below %g", n_empty, n_texts, args.abstain)
    log.info("predict: %d texts in %.1f s -> %s", n_texts, time.monotonic() - began, args.output)
    return 0
