"""The eight conclusions of the MC-BERT paper, in our words, and what a run needs for testing them.

python -m pytest tests/results/conclusions/test_claims.py
"""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One thing that the paper concludes."""

    number: int
    """The paper's own number; its fourth conclusion holds two claims."""

    words: str
    """The claim, one sentence."""

    tested_by: str
    """Settings under which a run tests it."""

    margin: float = 0.0
    """Loss allowed, as a share: a claim that something is not needed, or does not help, holds where the
    interval lies above minus this; no interval could show that a difference is exactly 0."""


POINT = 0.01
"""One point of accuracy: losing less is held to be nothing."""

CLAIMS = {
    "epochs": Claim(
        number=1,
        words="Further epochs cost the target languages.",
        tested_by="finetune.epochs of 3 or more, and two finetune.seeds or more",
    ),
    "tokens": Claim(
        number=2,
        words="The states of all tokens, in chosen layers, serve better than [CLS].",
        tested_by="gridsearch.poolings with max, mean and cls, and finetune.systems with baseline and mcbert",
    ),
    "max": Claim(
        number=3,
        words="Max pooling beats mean and [CLS].",
        tested_by="gridsearch.poolings with max, mean and cls",
    ),
    "fewer": Claim(
        number=4,
        words="Not all layers are needed.",
        margin=POINT,
        tested_by="gridsearch.layers of 2 or more, and a search without a budget",
    ),
    "middle": Claim(
        number=4,
        words="The middle layers transfer best.",
        tested_by="gridsearch.layers of 3 or more, and a search without a budget",
    ),
    "together": Claim(
        number=5,
        words="Layers 6, 8 and 11 together (max) beat a single layer.",
        tested_by="gridsearch.layers with 6, 8 and 11 and gridsearch.poolings with max",
    ),
    "freezing": Claim(
        number=6,
        words="Freezing layers on the way helps, and flattens the decline.",
        tested_by="finetune.systems with mcbert and mcbert_wf, finetune.epochs of 3 or more, two "
        "finetune.seeds or more",
    ),
    "dropout": Claim(
        number=7,
        words="Dropout is needed.",
        tested_by='the stage tune with tune.method="each" and tune.values.dropout=[0.0]',
    ),
    "head": Claim(
        number=8,
        words="A deeper head does not help.",
        margin=POINT,
        tested_by='the stage tune with tune.method="each" and tune.values.head_layers=[1], or '
        "gridsearch.classifiers with mlp",
    ),
}
"""Every claim by the name that its comparisons have, in the paper's order."""
