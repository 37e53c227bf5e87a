"""The eight conclusions of the MC-BERT paper, in our words, and what a run needs for testing them.

python -m pytest tests/results/test_claims.py
"""

from __future__ import annotations

CLAIMS = {
    1: "Further epochs cost the target languages.",
    2: "The states of all tokens, in chosen layers, serve better than [CLS].",
    3: "Max pooling beats mean and [CLS].",
    4: "Not all layers are needed, and those in the middle transfer best.",
    5: "Layers 6, 8 and 11 together (max) beat a single layer.",
    6: "Freezing layers on the way helps, and flattens the decline.",
    7: "Dropout is needed.",
    8: "A deeper head does not help.",
}
"""What each conclusion claims."""

TESTED_BY = {
    1: "finetune.epochs of 3 or more, and two finetune.seeds or more",
    2: "gridsearch.poolings with max, mean and cls, and finetune.systems with baseline and mcbert",
    3: "gridsearch.poolings with max, mean and cls",
    4: "gridsearch.layers of 3 or more, and a gridsearch.budget that reaches all subsets",
    5: "gridsearch.layers with 6, 8 and 11 and gridsearch.poolings with max",
    6: "finetune.systems with mcbert and mcbert_wf, finetune.epochs of 3 or more, two finetune.seeds or more",
    7: "the stage knobs with knobs.values.dropout=[0.0]",
    8: "the stage knobs with knobs.values.head_layers=[1], or gridsearch.classifiers with mlp",
}
"""Settings under which a run tests each conclusion."""
