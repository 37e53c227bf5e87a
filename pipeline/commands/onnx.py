"""The command ``export-onnx``: a saved model as one ONNX graph.

mcbert export-onnx --model results/runs/demo/models/mcbert --output mcbert-onnx
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "saved model -> model.onnx with tokenizer: encoder, pooling, head and probabilities in one graph"
    command = add(
        "export-onnx", help=text, description=f"{text}. Needs the extra onnx: pip install 'mcbert[onnx]'."
    )
    command.add_argument("--model", required=True, help="folder that finetune or export wrote, or a hub name")
    command.add_argument("--output", required=True, type=Path, help="folder to write")
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_export)


def _export(args: argparse.Namespace, *_: object) -> int:
    from mcbert.finetune.export.onnx import FILE, export_onnx

    output: Path = args.output
    if output.exists() and not args.replace:
        raise ValueError(f"--output: {output}: it already exists; accepted: a new folder, or --replace")
    if (
        output.exists()
        and any(output.iterdir() if output.is_dir() else [output])
        and not (output / FILE).is_file()
    ):
        raise ValueError(f"--output: {output}: it has no {FILE}, so it is not replaced")
    if not output.absolute().parent.is_dir():
        raise ValueError(f"--output: {output}: no folder {output.absolute().parent}")
    export_onnx(args.model, output)
    return 0
