"""A saved classifier as ONNX: the encoder, pooling, head and probabilities in one graph.

    mcbert export-onnx --model results/runs/demo/models/mcbert --output mcbert-onnx

Batch and sequence may have any size. The file is compared with torch by onnxruntime before it is kept.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from mcbert.features.encoder.files import reason_of
from mcbert.features.encoder.tokens import prompt_of
from mcbert.finetune.export.saved import SavedModel, load_model, save_tokenizer, whole_folder

log = logging.getLogger(__name__)

FILE = "model.onnx"
NEEDED = ("onnx", "onnxscript", "onnxruntime")  # the last runs what the others write
OPSET = 20
OUTPUTS = ("logits", "probabilities")
SHAPES = ((1, 1), (1, 5), (3, 8), (5, 2), (2, 33))  # (batch, tokens) compared
TOLERANCE = 1e-3  # of the largest logit
ONE_FILE = 1_800_000_000  # bytes; a file of protobuf ends at 2 GiB, larger weights go into a second one


class _Graph(nn.Module):
    """A classifier whose arguments come in order and whose probabilities are calibrated."""

    def __init__(self, saved: SavedModel) -> None:
        super().__init__()
        self.saved, self.model = saved, cast(nn.Module, saved.model)
        self.names = [name for name in saved.tokenizer.model_input_names if name != "position_ids"]

    def forward(self, *arguments: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return logits and probabilities, (batch, n_labels) each."""
        logits = self.model(**dict(zip(self.names, arguments, strict=True))).logits
        return logits, torch.softmax(logits, dim=-1)


def export_onnx(name: str, folder: Path, *, key: str = "--model") -> list[str]:
    """Write a saved classifier as ONNX, with tokenizer and config beside it; whole or not at all.

    Parameters
    ----------
    name : str
        Folder that finetune or export wrote, or a hub name.
    folder : Path
        Where to; replaced when it is there.
    key : str
        What names the model, for messages.

    Returns
    -------
    list of str
        Names of the files written.

    Raises
    ------
    ValueError
        onnx, onnxscript or onnxruntime is not installed; the model decides by a scikit-learn object, which is
        no part of a graph.
    RuntimeError
        The graph cannot be made, or computes something else than torch.
    """
    runtime = _runtime(name)
    saved = load_model(name, key=key)
    if saved.estimator is not None:
        raise ValueError(
            f"{key}: {name}: got a classifier of scikit-learn, {type(saved.estimator.fitted[-1]).__name__}, "
            "which is no part of a graph; accepted: models whose head is weights (logistic regression, SVM, "
            "ridge, LDA, fine-tuned ones)"
        )
    graph = _Graph(saved).eval().cpu()
    with whole_folder(folder) as partial:
        program = _trace(graph, name)
        program.model.metadata_props.update(_metadata(saved))
        n_bytes = sum(weight.numel() * weight.element_size() for weight in graph.state_dict().values())
        program.save(partial / FILE, external_data=n_bytes > ONE_FILE)
        worst = compare(runtime.InferenceSession(partial / FILE), graph)
        saved.model.config.save_pretrained(partial)
        save_tokenizer(saved.tokenizer, partial, saved.max_length)
    log.info("export-onnx: %s -> %s; %d shapes differ from torch by %.1e at most", name, folder,
             len(SHAPES), worst)  # fmt: skip
    return sorted(path.name for path in folder.iterdir())


def compare(session: Any, graph: _Graph) -> float:
    """Return the largest difference from torch, relative to the largest logit, over random texts.

    Raises
    ------
    RuntimeError
        It is more than rounding.
    """
    worst = 0.0
    draw = torch.Generator().manual_seed(0)
    for batch, tokens in SHAPES:
        arguments = _arguments(graph, batch, min(tokens, graph.saved.max_length), draw)
        with torch.inference_mode():
            expected = [output.numpy() for output in graph(*arguments)]
        given = {name: one.numpy() for name, one in zip(graph.names, arguments, strict=True)}
        found = session.run(list(OUTPUTS), given)
        for mine, theirs in zip(expected, found, strict=True):
            worst = max(worst, float(np.abs(mine - theirs).max() / max(1.0, np.abs(mine).max())))
    if not worst <= TOLERANCE:
        raise RuntimeError(f"{FILE}: differs from torch by {worst:.1e}, accepted: {TOLERANCE:.0e}")
    return worst


def _arguments(graph: _Graph, batch: int, tokens: int, draw: torch.Generator) -> tuple[torch.Tensor, ...]:
    """Return random texts of which all but the first are padded."""
    tokenizer = graph.saved.tokenizer
    ids = torch.randint(len(tokenizer), (batch, tokens), generator=draw)
    lengths = torch.randint(1, tokens + 1, (batch, 1), generator=draw)
    lengths[0] = tokens
    mask = (torch.arange(tokens) < lengths).long()
    pad = tokenizer.pad_token_id
    made = {"input_ids": torch.where(mask.bool(), ids, 0 if pad is None else pad), "attention_mask": mask}
    return tuple(made.get(name, torch.zeros_like(ids)) for name in graph.names)


def _trace(graph: _Graph, name: str) -> Any:
    free = torch.export.Dim.DYNAMIC
    example = _arguments(graph, 2, min(5, graph.saved.max_length), torch.Generator().manual_seed(1))
    try:
        with _quiet():
            return torch.onnx.export(
                graph,
                example,
                dynamo=True,
                opset_version=OPSET,
                dynamic_shapes=(tuple({0: free, 1: free} for _ in example),),
                input_names=list(graph.names),
                output_names=list(OUTPUTS),
                verbose=False,
            )
    except Exception as error:  # whatever an encoder's own code does while it is traced
        raise RuntimeError(f"{name}: its encoder has no ONNX form ({reason_of(error)})") from error


def _metadata(saved: SavedModel) -> dict[str, str]:
    return {
        "labels": json.dumps(saved.labels, ensure_ascii=False),
        "max_length": str(saved.max_length),
        "prompt": prompt_of(saved.tokenizer),
    }


def _runtime(name: str) -> Any:
    try:
        return [import_module(needed) for needed in NEEDED][-1]
    except ImportError as error:
        raise ValueError(
            f"{name}: needs {error.name}, which is not installed: pip install 'mcbert[onnx]'"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep out of our log what the exporter says of packages and dialects that play no part here."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    for one in loggers:
        one.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for one, level in zip(loggers, levels, strict=True):
            one.setLevel(level)
