"""Read the official files of NLI releases as a corpus: MultiNLI, XNLI 1.0."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from features.corpus.readers import CorpusError, read_table

NLI_SPELLING = {"contradictory": "contradiction"}  # XNLI-MT files spell the label differently


def read_xnli(folder: Path, languages: Sequence[str]) -> pd.DataFrame:
    """Read MultiNLI train and XNLI 1.0 dev and test from the official files.

    Parameters
    ----------
    folder : Path
        Holds ``multinli_1.0/multinli_1.0_train.jsonl`` and ``XNLI-1.0/xnli.{dev,test}.tsv`` as unpacked.
    languages : sequence of str
        XNLI languages to keep.

    Returns
    -------
    DataFrame
        Columns id, text, text_pair, label, language, split. MultiNLI pairs without a gold label are left out.
    """
    train = _nli_train(folder / "multinli_1.0" / "multinli_1.0_train.jsonl")
    parts = [train]
    for split in ("dev", "test"):
        path = folder / "XNLI-1.0" / f"xnli.{split}.tsv"
        rows = read_table(_reachable(path), ("language", "gold_label", "sentence1", "sentence2", "pairID"))
        rows = rows[rows["language"].isin(languages)]
        absent = sorted(set(languages) - set(rows["language"]))
        if absent:
            raise CorpusError(f"{path}: column language: no rows for {', '.join(absent)}")
        parts.append(
            pd.DataFrame(
                {
                    "id": split + "-" + rows["pairID"] + "-" + rows["language"],
                    "text": rows["sentence1"],
                    "text_pair": rows["sentence2"],
                    "label": rows["gold_label"].replace(NLI_SPELLING),
                    "language": rows["language"],
                    "split": split,
                }
            )
        )
    return pd.concat(parts, ignore_index=True)


def _nli_train(path: Path) -> pd.DataFrame:
    with _reachable(path).open(encoding="utf-8") as lines:
        records = [json.loads(line) for line in lines]
    kept = [r for r in records if r["gold_label"] != "-"]
    return pd.DataFrame(
        {
            "id": ["train-" + r["pairID"] for r in kept],
            "text": [r["sentence1"] for r in kept],
            "text_pair": [r["sentence2"] for r in kept],
            "label": [NLI_SPELLING.get(r["gold_label"], r["gold_label"]) for r in kept],
            "language": "en",
            "split": "train",
        }
    )


def _reachable(path: Path) -> Path:
    if not path.is_file():
        raise CorpusError(
            f"{path}: no such file; unpack MultiNLI 1.0 (cims.nyu.edu/~sbowman/multinli) and XNLI 1.0 "
            "(cims.nyu.edu/~sbowman/xnli) into one folder and set corpus.path to it"
        )
    return path
