"""The shipped encoder is what its card says, and the scripts that make and measure it run."""

import json

import pytest
import torch
from safetensors.torch import load_file

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.home import HOME

FOLDER = HOME / "samples" / "encoder"
PAIRS = {
    "de": [
        ("Where is my parcel?", "Wo ist mein Paket?"),
        ("I want my money back.", "Ich will mein Geld zurück."),
    ],
    "zh": [("Where is my parcel?", "我的包裹在哪里？"), ("I want my money back.", "我想要回我的钱。")],
}


def test_small_enough_to_ship_in_float16():
    weights = load_file(FOLDER / "model.safetensors")
    assert {w.dtype for w in weights.values()} == {torch.float16}
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 20_000_000
    config = json.loads((FOLDER / "config.json").read_text())
    assert (config["num_hidden_layers"], config["hidden_size"]) == (12, 128)


@pytest.mark.parametrize("language", sorted(PAIRS))
def test_translations_lie_nearer_than_other_sentences(language):
    encoder = PooledEncoder(FOLDER, layers=(12,), poolings=("mean",))
    english, foreign = zip(*PAIRS[language], strict=True)
    a, b = (
        torch.nn.functional.normalize(
            encoder(tokenise(encoder.tokenizer, [(s, "") for s in side], 64))[:, 0, 0], dim=-1
        )
        for side in (english, foreign)
    )
    assert (a @ b.T).argmax(dim=1).tolist() == [0, 1]


def test_every_language_has_its_letters():
    tokenizer = load_tokenizer(FOLDER)
    for text in ("Rückerstattung", "devolución", "remboursé", "退款", "استرداد", "رقم واپس"):
        assert tokenizer.unk_token_id not in tokenizer(text)["input_ids"]
