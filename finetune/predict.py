"""Label texts with a saved model, block by block.

    python -m mcbert predict --model results/runs/demo/models/mcbert --input texts.csv --output labels.csv

Works for every classifier that `finetune.export.saved.load_model` loads: fine-tuned ones and exported probes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mcbert.features.encoder.files import told
from mcbert.features.encoder.tokens import tokenise
from mcbert.finetune.export.saved import SavedModel


def label_texts(saved: SavedModel, texts: Sequence[tuple[str, str]]) -> tuple[pd.DataFrame, int]:
    """Label texts and pairs.

    Parameters
    ----------
    texts : sequence of (str, str)
        Text and second text, the latter empty for single texts; at least one.

    Returns
    -------
    labels : DataFrame
        ``label``, ``probability`` and ``probability_<label>`` of every label, rows in the order of `texts`.
    n_cut : int
        Texts that were longer than the model reads.
    """
    tokens = tokenise(saved.tokenizer, texts, saved.max_length)
    full = [k for k, row in enumerate(tokens) if len(row["input_ids"]) == saved.max_length]
    longer = tokenise(saved.tokenizer, [texts[k] for k in full], saved.max_length + 1)
    n_cut = sum(len(row["input_ids"]) > saved.max_length for row in longer)
    with told("--model", "it fails on these texts"):
        codes, shares = saved.decide(tokens)
    frame = pd.DataFrame(
        {
            "label": np.array(saved.labels, dtype=object)[codes],
            "probability": shares[np.arange(len(codes)), codes],
        }
    )
    every = {f"probability_{label}": shares[:, code] for code, label in enumerate(saved.labels)}
    return frame.assign(**every), n_cut
