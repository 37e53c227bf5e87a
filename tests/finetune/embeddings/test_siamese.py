import pytest
import torch

from mcbert.features.encoder.loading import load_encoder
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.tokens import load_tokenizer, padded, tokenise
from mcbert.finetune.embeddings.siamese import SiameseEncoder

FIRST, SECOND = ["w1 w2 w3", "w4"], ["w5 w6", "w7 w8 w9 w10", "w11"]


@pytest.fixture(scope="module")
def batches(encoder):
    tokenizer = load_tokenizer(encoder)
    return [padded(tokenizer, tokenise(tokenizer, [(t, "") for t in texts], 16)) for texts in (FIRST, SECOND)]


def made(encoder, layers=(1, 3), pooling="mean", **config):
    torch.manual_seed(0)
    config = {"dropout": 0.0, "labels": ("a", "b", "c")} | config
    return SiameseEncoder.from_encoder(encoder, layers, pooling=pooling, **config).eval()


@pytest.mark.parametrize(
    ("layers", "pooling"), [((3,), "mean"), ((1, 3), "max"), ((2,), "cls"), ((0, 4), "max")]
)
def test_a_vector_is_the_pooled_states_of_the_layers(encoder, batches, layers, pooling):
    whole = load_encoder(encoder)
    states = whole(**batches[0], output_hidden_states=True).hidden_states
    expected = torch.cat([pool(states[k], batches[0]["attention_mask"], pooling) for k in layers], dim=1)
    model = made(encoder, layers, pooling)
    torch.testing.assert_close(model(**batches[0]).pooler_output, expected)
    torch.testing.assert_close(model.alone()(**batches[0]).pooler_output, expected)


def test_both_sides_go_through_the_same_encoder_and_padding_changes_nothing(encoder, batches):
    model = made(encoder, objective="ranking")
    logits = model(**batches[0], other=batches[1]).logits
    u, v = (model(**batch).pooler_output for batch in batches)
    torch.testing.assert_close(logits, model.objective(u, v))
    assert logits.shape == (2, 3)
    turned = model(**batches[1], other=batches[0]).logits
    torch.testing.assert_close(turned.T, logits)


def test_gradients_reach_both_sides(encoder, batches):
    model = made(encoder)
    one = {name: tensor[:1] for name, tensor in batches[1].items()}
    first = {name: tensor[:1] for name, tensor in batches[0].items()}
    model(**first, other=one).logits.sum().backward()
    gradient = model.get_input_embeddings().weight.grad
    for ids in (first["input_ids"], one["input_ids"]):
        assert gradient[ids[ids != 0]].abs().sum(dim=1).min() > 0


def test_what_is_saved_has_no_objective(encoder):
    model = made(encoder)
    assert {name.split(".")[0] for name in model.alone().state_dict()} == {"encoder"}
    assert {name.split(".")[0] for name in model.state_dict()} == {"encoder", "objective"}
