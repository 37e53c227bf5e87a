import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, BertConfig, pipeline

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.export.saved import load_model, save_model
from mcbert.finetune.freezing.mechanism import freeze_layers
from mcbert.finetune.model import MCBertForSequenceClassification, MCBertModel
from mcbert.finetune.model_config import MCBertConfig
from mcbert.finetune.probe_head import fold, start_from_probe
from tests.families import FAMILIES, save_family

LABELS = ("cancel", "refund", "other")
BATCH_SMALL = {"input_ids": torch.tensor([[5, 6, 7]])}
BATCH = {
    "input_ids": torch.tensor([[5, 6, 7, 8], [9, 10, 0, 0]]),
    "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]]),
}


def assert_same_model(again, model, batch):
    """Hold a model that transformers loaded equal to the one that was saved.

    A file keeps every bit of a weight. The logits are close only: transformers leaves the weights where the
    file's header puts them, and the last bits of a product depend on their addresses.
    """
    saved, loaded = model.state_dict(), again.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    torch.testing.assert_close(again.eval()(**batch).logits, model.eval()(**batch).logits)


@pytest.fixture(params=list(FAMILIES))
def folder(request, tmp_path):
    return save_family(request.param, tmp_path / "encoder")


@pytest.mark.parametrize("layers", [(0, 2), (1, 3)])
def test_any_encoder_gives_logits_and_comes_back_equal_from_disk(folder, tmp_path, layers):
    model = MCBertForSequenceClassification.from_encoder(
        folder, layers, pooling="mean", dropout=0.1, labels=LABELS
    ).eval()
    out = model(**BATCH, labels=torch.tensor([0, 2]))
    assert out.logits.shape == (2, 3)
    assert out.loss.item() == pytest.approx(
        torch.nn.functional.cross_entropy(out.logits, torch.tensor([0, 2])).item()
    )
    assert model.classifier.in_features == 2 * 16
    assert model.encoder.config.num_hidden_layers == max(layers)
    model.save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert isinstance(again, MCBertForSequenceClassification)
    assert again.config.id2label == dict(enumerate(LABELS))
    assert (again.config.layers, again.config.pooling, again.config.dropout) == (list(layers), "mean", 0.1)
    assert_same_model(again, model, BATCH)


def test_any_encoder_trains_with_a_block_frozen_and_answers_in_a_pipeline(folder, tmp_path):
    """Blocks below a frozen one still learn; what is frozen stays, to the bit."""
    model = MCBertForSequenceClassification.from_encoder(
        folder, (1, 3), pooling="max+mean", dropout=0.0, labels=LABELS
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    freeze_layers(model, [2], optimizer)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    for _ in range(2):
        optimizer.zero_grad()
        model(**BATCH, labels=torch.tensor([0, 2])).loss.backward()
        optimizer.step()
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen
    assert all(".1." in name for name in frozen)
    moved = {name for name, p in model.named_parameters() if not torch.equal(p, before[name])}
    assert not moved & frozen
    for part in (".0.", ".2.", "embeddings", "classifier."):
        assert any(part in name for name in moved), part
    save_model(model.eval(), load_tokenizer(folder), tmp_path / "saved", max_length=12)
    saved = load_model(str(tmp_path / "saved"))
    # to the bit on any CPU: load_model aligns weights as they are in a model that was built here
    assert torch.equal(saved.model(**BATCH).logits, model(**BATCH).logits)
    answer = pipeline("text-classification", model=str(tmp_path / "saved"))("where is my money")[0]
    assert answer["label"] in LABELS


def test_the_features_are_those_of_phase_one(folder):
    """What the head reads is what the grid search read, also at the deepest layer."""

    tokens = [
        {"input_ids": ids[keep.bool()].tolist(), "attention_mask": keep[keep.bool()].tolist()}
        for ids, keep in zip(BATCH["input_ids"], BATCH["attention_mask"], strict=True)
    ]
    cached = PooledEncoder(folder, layers=(0, 2, 3), poolings=("max", "cls"))(tokens)
    for layers, pooling, columns, kinds in (
        ((0, 2), "max", (0, 1), 0),
        ((0, 2, 3), "max", (0, 1, 2), 0),
        ((0, 2, 2, 3), "cls+max+cls+max", (0, 1, 1, 2), (1, 0, 1, 0)),
    ):
        model = MCBertForSequenceClassification.from_encoder(
            folder, layers, pooling=pooling, dropout=0.0, labels=LABELS
        ).eval()
        read = []
        model.classifier.register_forward_pre_hook(lambda _, args, read=read: read.append(args[0]))
        model(**BATCH)
        torch.testing.assert_close(read[0], cached[:, columns, kinds].flatten(1), atol=1e-5, rtol=1e-5)


def test_a_pooling_for_each_layer_is_checked_and_kept(encoder, tmp_path):
    with pytest.raises(ValueError, match=r"pooling: got 'max\+cls' for 3 layers, accepted: "):
        MCBertConfig(layers=(1, 2, 3), pooling="max+cls")
    with pytest.raises(ValueError, match="pooling: got 'min' for 1 layers, accepted: max"):
        MCBertConfig(layers=(1,), pooling="min")
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="max+cls", dropout=0.0, labels=LABELS
    ).eval()
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.pooling == "max+cls"
    assert_same_model(again, model, BATCH)


def test_every_parameter_takes_part(encoder):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="mean", dropout=0.0, labels=LABELS
    )
    model(**BATCH, labels=torch.tensor([0, 1])).loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []
    assert not any("pooler" in name for name, _ in model.named_parameters())


def test_padding_never_takes_part(encoder):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (2, 4), pooling="max", dropout=0.0, labels=LABELS
    ).eval()
    alone = model(input_ids=BATCH["input_ids"][1:, :2]).logits
    torch.testing.assert_close(model(**BATCH).logits[1:], alone, atol=1e-5, rtol=1e-5)


def test_pairs_are_told_apart(encoder):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (2,), pooling="max", dropout=0.0, labels=LABELS
    ).eval()
    types = torch.tensor([[0, 0, 1, 1], [0, 1, 0, 0]])
    assert not torch.equal(model(**BATCH, token_type_ids=types).logits, model(**BATCH).logits)


def test_the_same_seed_gives_the_same_head(encoder):
    heads = []
    for _ in range(2):
        torch.manual_seed(5)
        model = MCBertForSequenceClassification.from_encoder(
            encoder, (2,), pooling="max", dropout=0.0, labels=LABELS
        )
        heads.append(model.classifier.weight)
    assert torch.equal(*heads)


def test_a_pipeline_names_the_labels(encoder, tmp_path):
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="max", dropout=0.1, labels=LABELS
    )
    model.save_pretrained(tmp_path)
    load_tokenizer(encoder).save_pretrained(tmp_path)
    classify = pipeline("text-classification", model=str(tmp_path), top_k=None)
    answers = classify(["stop w1", "money back w3 w4"])
    assert {answer["label"] for answer in answers[0]} == set(LABELS)
    assert sum(answer["score"] for answer in answers[1]) == pytest.approx(1.0, abs=1e-5)


def test_without_a_head_the_model_returns_what_is_pooled(encoder):
    model = MCBertModel.from_encoder(encoder, (1, 3), pooling="max+cls", dropout=0.0, labels=LABELS).eval()
    assert not [name for name in model.state_dict() if not name.startswith("encoder.")]
    with torch.no_grad():
        states = model(**BATCH).pooler_output
        hidden = model.encoder(**BATCH, output_hidden_states=True).hidden_states
    torch.testing.assert_close(states[:, 32:], hidden[3][:, 0])
    assert states.shape == (2, 64)
    with pytest.raises(ValueError, match="got neither input_ids nor inputs_embeds"):
        model()


def test_the_config_is_plain_json(encoder, tmp_path):
    MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="max", dropout=0.1, labels=LABELS
    ).save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert (config["model_type"], config["layers"], config["pooling"]) == ("mcbert", [1, 3], "max")
    assert config["encoder_config"]["num_hidden_layers"] == 3


def test_votes_have_no_loss():
    inner = BertConfig(vocab_size=10, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    config = MCBertConfig(inner, layers=(1,), decision="pairwise", id2label=dict(enumerate("abc")))
    model = MCBertForSequenceClassification(config).eval()
    ids = torch.tensor([[2, 5, 3]])
    assert model(input_ids=ids).logits.sum() == 3
    with pytest.raises(ValueError, match="labels: .*votes"):
        model(input_ids=ids, labels=torch.tensor([0]))


def test_a_deeper_head_learns_what_a_linear_one_cannot(tmp_path):
    """The label is whether two of four states differ: no line tells that."""
    inner = BertConfig(vocab_size=10, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
    X = torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]).repeat(1, 8)
    y = torch.tensor([0, 1, 1, 0])
    right = {}
    for depth in (0, 1):
        torch.manual_seed(0)
        config = MCBertConfig(inner, layers=(1,), dropout=0.0, head_layers=depth, id2label={0: "a", 1: "b"})
        model = MCBertForSequenceClassification(config)
        model.pooled = lambda *args, **kwargs: X
        head = [p for name, p in model.named_parameters() if not name.startswith("encoder.")]
        assert len(head) == 2 * (depth + 1)
        optimizer = torch.optim.Adam(head, lr=0.05)
        for _ in range(150):
            optimizer.zero_grad()
            model(input_ids=torch.zeros(4, 1), labels=y).loss.backward()
            optimizer.step()
        right[depth] = (model(input_ids=torch.zeros(4, 1)).logits.argmax(dim=1) == y).sum().item()
    assert right[0] < right[1] == 4
    del model.pooled
    model.save_pretrained(tmp_path)
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    assert again.config.head_layers == 1
    assert_same_model(again, model, BATCH_SMALL)


def test_a_loaded_model_does_not_depend_on_where_its_file_has_the_weights(encoder, tmp_path):
    """Equal to the bit on any CPU: the same numbers at addresses of the same kind, by the same code."""
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="mean", dropout=0.0, labels=LABELS, head_layers=1
    ).eval()
    save_model(model, load_tokenizer(encoder), tmp_path, max_length=12)
    weights = load_file(tmp_path / "model.safetensors")
    (tmp_path / "checksums.json").unlink()
    for length in range(0, 64, 8):  # of the header, which moves what comes after it
        metadata = {"format": "pt", "filler": "x" * length}
        save_file(weights, tmp_path / "model.safetensors", metadata=metadata)
        assert torch.equal(load_model(tmp_path).model(**BATCH_SMALL).logits, model(**BATCH_SMALL).logits)


def test_a_head_over_standardised_states_is_the_folded_one_over_raw_states(encoder, tmp_path):
    rng = np.random.default_rng(0)
    probe = {
        "kind": np.asarray("linear"), "mean": rng.normal(size=64), "scale": rng.uniform(0.1, 3, size=64),
        "weights": rng.normal(size=(64, 3)), "intercept": rng.normal(size=3),
    }  # fmt: skip
    np.savez(tmp_path / "probe.npz", **probe)
    build = {"pooling": "mean", "dropout": 0.0, "labels": LABELS}
    standardised = MCBertForSequenceClassification.from_encoder(encoder, (1, 3), standardised=True, **build)
    start_from_probe(tmp_path / "probe.npz", standardised, temperature=4.0)
    raw = MCBertForSequenceClassification.from_encoder(encoder, (1, 3), **build)
    head = fold(probe)
    with torch.no_grad():
        raw.classifier.weight.copy_(torch.from_numpy(head.weights.T))
        raw.classifier.bias.copy_(torch.from_numpy(head.bias))
    logits = standardised.eval()(**BATCH).logits
    torch.testing.assert_close(4 * logits, raw.eval()(**BATCH).logits, atol=1e-4, rtol=1e-4)
    assert not {"feature_mean", "feature_scale"} & {name for name, _ in standardised.named_parameters()}
    standardised.save_pretrained(tmp_path / "saved")
    again = AutoModelForSequenceClassification.from_pretrained(tmp_path / "saved")
    assert_same_model(again, standardised, BATCH)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": np.asarray("pairwise")}, "it decides by votes, which have no gradient to train"),
        ({"kind": np.asarray("neighbours")}, "it decides by votes"),
        (
            {"weights": np.ones((63, 3))},
            r"weights: got .* \(63, 3\), accepted: .* \(64, 3\)",
        ),
        (
            {"weights": np.ones((64, 2))},
            r"weights: got .* \(64, 2\), accepted: .* \(64, 3\)",
        ),
    ],
)
def test_a_probe_that_is_no_start_is_refused(encoder, tmp_path, change, said):
    probe = {"kind": np.asarray("linear"), "mean": np.zeros(64), "scale": np.ones(64),
             "weights": np.ones((64, 3)), "intercept": np.zeros(3)}  # fmt: skip
    np.savez(tmp_path / "probe.npz", **probe | change)
    model = MCBertForSequenceClassification.from_encoder(
        encoder, (1, 3), pooling="mean", dropout=0.0, labels=LABELS, standardised=True
    )
    with pytest.raises(ValueError, match=rf"probe\.npz: {said}"):
        start_from_probe(tmp_path / "probe.npz", model, 1.0)
