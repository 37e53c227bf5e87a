"""Weights that hold no numbers are named."""

import torch
from torch import nn

from mcbert.finetune.weights import nonfinite_weights


def test_the_first_weight_that_is_not_finite_is_named():
    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))
    assert nonfinite_weights(model) == ""
    model[1].running_var[1] = torch.inf
    assert nonfinite_weights(model) == "1.running_var: 1 of 2 values are not finite"
    with torch.no_grad():
        model[0].weight[0] = torch.nan
    assert nonfinite_weights(model) == "0.weight: 3 of 6 values are not finite"
