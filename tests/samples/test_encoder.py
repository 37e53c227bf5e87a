"""The shipped encoder is what its card says, and the scripts that make and measure it run."""

import gzip
import json
import subprocess
import sys

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
    assert sum(f.stat().st_size for f in FOLDER.iterdir()) <= 12_000_000
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


@pytest.mark.slow
def test_the_training_script_makes_an_encoder_and_the_other_measures_it(tmp_path):
    parallel, held_out, out = tmp_path / "parallel", tmp_path / "tatoeba", tmp_path / "out"
    parallel.mkdir()
    held_out.mkdir()
    pairs = [(f"sentence number {k} of the file", f"Satz Nummer {k} der Datei") for k in range(60)]
    with gzip.open(parallel / "en-de.tsv.gz", "wt", encoding="utf-8") as file:
        file.write("en\tde\n" + "".join(f"{a}\t{b}\n" for a, b in pairs))
    for side, column in (("eng", 0), ("deu", 1)):
        text = "".join(f"{p[column]}\n" for p in pairs[:5])
        (held_out / f"tatoeba.deu-eng.{side}").write_text(text, encoding="utf-8")
    train = [
        sys.executable, HOME / "samples/train_encoder.py", "--parallel", parallel, "--held-out", held_out,
        "--out", out, "--steps", "3", "--tokens", "512", "--vocab-size", "300",
    ]  # fmt: skip
    log = subprocess.run([str(a) for a in train], capture_output=True, text=True, check=True).stderr
    assert "55 pairs, 5 left out" in log
    assert {w.dtype for w in load_file(out / "model.safetensors").values()} == {torch.float16}
    measure = [sys.executable, HOME / "samples/evaluate_encoder.py", "--encoder", out, "--tatoeba",
               held_out,
               "--languages", "deu", "--layers", "0", "12"]  # fmt: skip
    printed = subprocess.run([str(a) for a in measure], capture_output=True, text=True, check=True).stdout
    figures = json.loads(printed.splitlines()[-1])["deu"]
    assert set(figures) == {"0", "12"}
    assert all(0 <= v <= 1 for v in figures.values())
