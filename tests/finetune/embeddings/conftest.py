"""A tiny corpus of pairs: what is entailed repeats words of its premise, what contradicts it has none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from mcbert.features.spec import FeatureSpec
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.winner import Architecture
from tests.finetune.conftest import FILLERS, STAMP


def pairs_table(n_train=16, n_dev=6, languages=("en", "de")):
    """Three hypotheses a premise, train in English only."""
    rng = np.random.default_rng(0)
    rows = []
    for split, n in (("train", n_train), ("dev", n_dev)):
        for k in range(n):
            for language in languages if split == "dev" else ("en",):
                words = rng.permutation(FILLERS)
                premise = words[: rng.integers(3, 12)]
                said = {
                    "entailment": premise[:2],
                    "neutral": [premise[0], words[20]],
                    "contradiction": words[30 : rng.integers(32, 36)],
                }
                for label, hypothesis in said.items():
                    name = f"{split}{k}-{label[0]}-{language}"
                    rows.append((name, " ".join(premise), " ".join(hypothesis), label, language, split))
    return pd.DataFrame(rows, columns=["id", "text", "text_pair", "label", "language", "split"])


@pytest.fixture(scope="session")
def pairs(tmp_path_factory):
    path = tmp_path_factory.mktemp("pairs") / "texts.csv"
    pairs_table().to_csv(path, index=False)
    return path


@pytest.fixture
def make_embeddings_job(encoder, pairs, tmp_path):
    """Make a job over the tiny encoder: layers 2 and 3 of 4."""

    def make(out=None, freeze=None, seed=0, layers=(2, 3), **settings):
        fast = {"learning_rate": 1e-3, "batch_size": 8, "epochs": 2, "max_length": 32} | settings
        return EmbeddingsJob(
            system="embeddings",
            seed=seed,
            settings=EmbeddingsSettings(**fast),
            architecture=Architecture(features=FeatureSpec.of(layers, "mean"), probe_protocol=None),
            freeze=freeze or {},
            corpus=pairs,
            source_language="en",
            encoder=encoder,
            out=out or tmp_path,
            stamp=STAMP,
            save_model=True,
        )

    return make
