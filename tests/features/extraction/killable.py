"""What a process that the tests kill runs; the fork server imports it once, so each starts in no time."""

import csv
from pathlib import Path

import torch

from mcbert.features.extraction import Runtime, extract
from mcbert.features.settings import EncoderSettings, ExtractSettings


def run(table: str, encoder: str, cache: str) -> None:
    """Extract with one thread, small units and small files."""
    torch.set_num_threads(1)
    with Path(table).open(encoding="utf-8", newline="") as file:
        rows = [(row["id"], row["text"], row["text_pair"]) for row in csv.DictReader(file)]
    extract(
        rows,
        Path(encoder),
        encoder=EncoderSettings(path=encoder, max_length=64),
        settings=ExtractSettings(unit_rows=4, units_per_task=3, tokens_per_batch=32),
        cache=Path(cache),
        runtime=Runtime(wait=30.0),
    )
