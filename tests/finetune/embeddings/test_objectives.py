import numpy as np
import torch

from mcbert.finetune.embeddings.siamese import OBJECTIVES, RankingObjective, SoftmaxObjective


def test_softmax_is_linear_over_both_vectors_and_their_distance():
    torch.manual_seed(0)
    objective = SoftmaxObjective(4, n_labels=3, dropout=0.0)
    u, v = torch.randn(5, 4), torch.randn(5, 4)
    weights, bias = (p.detach().numpy() for p in objective.classifier.parameters())
    expected = np.hstack([u, v, (u - v).abs()]) @ weights.T + bias
    np.testing.assert_allclose(objective(u, v).detach(), expected, rtol=1e-5)


def test_softmax_drops_its_share_in_training_only():
    objective = SoftmaxObjective(64, n_labels=3, dropout=0.5)
    u, v = torch.ones(1, 64), torch.zeros(1, 64)
    assert not torch.equal(objective(u, v), objective(u, v))
    objective.eval()
    assert torch.equal(objective(u, v), objective(u, v))


def test_ranking_is_the_scaled_cosine_of_every_pair():
    torch.manual_seed(0)
    u, v = torch.randn(3, 4), torch.randn(5, 4) * 7
    expected = 20 * torch.nn.functional.cosine_similarity(u[:, None], v[None], dim=-1)
    torch.testing.assert_close(RankingObjective(20.0)(u, v), expected)


def test_what_is_blocked_weighs_nothing():
    torch.manual_seed(0)
    u, v = torch.randn(2, 4), torch.randn(3, 4)
    blocked = torch.tensor([[False, True, False], [False, False, True]])
    probabilities = RankingObjective(20.0)(u, v, blocked).softmax(dim=1)
    assert (probabilities[blocked] == 0).all()
    expected = RankingObjective(20.0)(u[:1], v[[0, 2]]).softmax(dim=1)
    torch.testing.assert_close(probabilities[0, [0, 2]], expected[0])


def test_every_objective_is_built_from_the_same_arguments():
    made = {name: build(4, n_labels=3, dropout=0.1, scale=9.0) for name, build in OBJECTIVES.items()}
    assert made["softmax"].classifier.out_features == 3
    assert made["softmax"].dropout.p == 0.1
    assert made["ranking"].scale == 9.0
    assert not list(made["ranking"].parameters())
