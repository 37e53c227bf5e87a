"""The norms of the layers' gradients, as the rule that freezes by them sees them."""

import numpy as np
import pytest
import torch

from mcbert.finetune.freezing.gradients import LayerNorms
from mcbert.finetune.freezing.mechanism import layer_parameters
from mcbert.finetune.systems import build


def test_the_mean_over_the_steps_by_hand(make_job):
    model, _ = build(make_job(), ("cancel", "refund"))
    norms = LayerNorms(model)
    assert norms.mean() == ()
    for value in (1.0, 3.0):
        for parameter in layer_parameters(model, 2):
            parameter.grad = torch.full_like(parameter, value)
        norms.note(2.0)
    n = sum(parameter.numel() for parameter in layer_parameters(model, 2))
    found = norms.mean()
    assert found == (0, 0, pytest.approx(2 * 2 * np.sqrt(n)), 0)
    assert norms.mean() == ()


@pytest.mark.parametrize("limit", [0.0, 1e-3, 1e3])
def test_they_are_those_before_clipping_and_zero_once_frozen(make_job, train_job, tmp_path, limit):
    job = make_job("mcbert_wf", freeze={1: (1,)}, epochs=2, max_gradient_norm=limit, dropout=0.0)
    _, training, _, _ = train_job(job, tmp_path, gradient_norms=True)
    free = train_job(
        make_job("mcbert_wf", freeze={1: (1,)}, epochs=2, max_gradient_norm=0.0, dropout=0.0),
        tmp_path / "free",
        gradient_norms=True,
    )[1]
    assert training.history[0].gradient_norms == ()
    first, second = (evaluation.gradient_norms for evaluation in training.history[1:])
    assert len(first) == 4
    assert all(norm > 0 for norm in first)
    assert second[1] == 0 < second[0]
    # Adam forgets the scale of gradients, so that clipping hardly changes the weights of the first steps
    np.testing.assert_allclose(first, free.history[1].gradient_norms, rtol=0.2)


def test_nothing_is_measured_where_no_rule_asks(make_job, train_job, tmp_path):
    _, training, _, _ = train_job(make_job(), tmp_path)
    assert {evaluation.gradient_norms for evaluation in training.history} == {()}
