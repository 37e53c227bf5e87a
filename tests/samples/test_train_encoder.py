"""The script that makes the sample encoder: no held-out sentence is read, and a stop changes nothing."""

import argparse
import gzip
import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertForMaskedLM

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.home import HOME
from mcbert.samples.pairs import Pairs, batches, key, read_held_out, read_parallel, set_aside, train_tokenizer
from mcbert.samples.teacher import Teacher, reduce
from mcbert.samples.train_encoder import Training, distillation_loss, ranking_loss

PARALLEL = {
    "de": [(f"Parcel number {k} is late.", f"Paket Nummer {k} kommt sp\u00e4t.") for k in range(60)],
    "ur": [(f"Parcel number {k} is late.", f"\u067e\u0627\u0631\u0633\u0644 {k}") for k in range(12)],
}


@pytest.fixture
def parallel_folder(tmp_path):
    folder = tmp_path / "parallel"
    folder.mkdir()
    for language, rows in PARALLEL.items():
        with gzip.open(folder / f"en-{language}.tsv.gz", "wt", encoding="utf-8") as file:
            file.write(f"en\t{language}\n" + "".join(f"{a}\t{b}\n" for a, b in rows))
    return folder


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(PARALLEL, 200, uncased=False)


@pytest.fixture(scope="module")
def pairs(tokenizer):
    return Pairs.of(PARALLEL, tokenizer)


def test_held_out_sentences_are_left_out_whatever_their_case_and_marks(parallel_folder, tmp_path):
    (tmp_path / "tatoeba.deu-eng.deu").write_text(
        "PAKET NUMMER 3 KOMMT SP\u00c4T\nanything\n", encoding="utf-8"
    )
    (tmp_path / "texts.csv").write_text('id,text\nx,"parcel number 5 is late"\n', encoding="utf-8")
    held_out = read_held_out([tmp_path / "tatoeba.deu-eng.deu", tmp_path / "texts.csv"])
    found = read_parallel(parallel_folder, [], held_out)
    assert PARALLEL["de"][3] not in found["de"]  # by its German side
    assert PARALLEL["ur"][3] in found["ur"]
    assert PARALLEL["de"][5] not in found["de"]  # by its English side
    assert PARALLEL["ur"][5] not in found["ur"]
    assert {k: len(v) for k, v in found.items()} == {"de": 58, "ur": 11}


def test_a_language_that_is_not_there_is_refused_by_name(parallel_folder):
    assert list(read_parallel(parallel_folder, ["de"], set())) == ["de"]
    with pytest.raises(SystemExit, match="sw"):
        read_parallel(parallel_folder, ["de", "sw"], set())


def test_dev_shares_no_sentence_with_training_in_any_language():
    train, dev = set_aside(PARALLEL)
    assert {k: len(v) for k, v in dev.items()} == {"de": 6, "ur": 1}
    trained = {key(s) for rows in train.values() for r in rows for s in r}
    assert not trained & {key(s) for rows in dev.values() for r in rows for s in r}
    alone = set_aside({"de": PARALLEL["de"]})[1]
    assert alone["de"] == dev["de"]  # whatever other languages there are


def test_cased_tokens_keep_case_and_marks_and_uncased_ones_do_not(tokenizer, tmp_path):
    train_tokenizer(PARALLEL, 200, uncased=True).save_pretrained(tmp_path)
    texts = ["Paket sp\u00e4t", "paket spat"]
    assert len({tuple(ids) for ids in tokenizer(texts)["input_ids"]}) == 2
    assert len({tuple(ids) for ids in load_tokenizer(tmp_path)(texts)["input_ids"]}) == 1


def test_batches_are_the_same_again_within_their_size_and_of_one_language_a_text(pairs):
    first, again = (list(itertools.islice(batches(pairs, 512, 32, seed=1), 40)) for _ in range(2))
    assert first == again
    for batch in first:
        longest = max(len(pairs.text(side, joined, 32)) for joined in batch for side in (0, 1))
        assert longest <= 32
        assert len(batch) <= 8 or 2 * len(batch) * longest <= 512
        assert all(len({pairs.language[k] for k in joined}) == 1 for joined in batch)
    drawn = np.concatenate([pairs.language[[joined[0] for joined in b]] for b in first])
    assert (drawn == 1).mean() > 12 / 72  # lifted


def test_principal_components_keep_the_similarities_of_centred_states():
    rng = np.random.default_rng(0)
    states = rng.normal(size=(200, 8)) @ rng.normal(size=(8, 30)) + 5  # rank 8, off centre
    centred = states - states.mean(0)
    centred /= np.linalg.norm(centred, axis=1, keepdims=True)
    reduced = reduce(states.astype(np.float32), 8).numpy()
    np.testing.assert_allclose(reduced @ reduced.T, centred @ centred.T, atol=1e-4)


def test_losses_are_least_where_translations_are_and_equal_sentences_are_no_negatives():
    vectors = torch.nn.functional.normalize(
        torch.randn(4, 16, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    right, wrong = torch.cat([vectors, vectors]), torch.cat([vectors, vectors.roll(1, 0)])
    none = torch.zeros(4, 4, dtype=torch.bool)
    assert ranking_loss(right, none)[0] < ranking_loss(wrong, none)[0]
    assert ranking_loss(right, none)[1] == 1
    twice = torch.cat([vectors[:1], vectors[:1]]).repeat(2, 1)  # a sentence with two translations
    assert ranking_loss(twice, torch.ones(2, 2, dtype=torch.bool))[0] < 1e-6
    bank = torch.nn.functional.normalize(torch.randn(50, 16), dim=-1)
    assert distillation_loss(right, vectors, bank) < distillation_loss(wrong, vectors, bank)


def test_teacher_goes_on_where_it_was_stopped_and_refuses_layers_that_it_has_not(
    encoder_folder, tmp_path, monkeypatch
):
    monkeypatch.setattr("mcbert.samples.teacher.BLOCK", 2)
    sentences = ["where is my money", "the parcel is late", "please cancel it", "my order", "it is late now"]

    def teacher(layers=(2, 4)):
        return Teacher(encoder_folder, tmp_path / "kept", prompt="the ", layers=layers)

    vectors = teacher().vectors(sentences)
    encoder = PooledEncoder(encoder_folder, layers=(2, 4), poolings=("mean",))
    for sentence, row in zip(sentences, vectors, strict=True):
        alone = encoder(tokenise(encoder.tokenizer, [("the " + sentence, "")], 64))[0, :, 0]
        np.testing.assert_allclose(row, alone.numpy(), atol=0.05)  # bfloat16 where the CPU has it
    (tmp_path / "kept" / "0002.json").unlink()  # stopped between a block's vectors and its sentences
    np.testing.assert_array_equal(teacher().vectors(sentences), vectors)
    np.testing.assert_array_equal(teacher().vectors(sentences[::-2]), vectors[::-2])
    np.testing.assert_array_equal(teacher(layers=(4,)).vectors(sentences), vectors[:, 1:])
    with pytest.raises(SystemExit, match=r"'layers': \[3\]"):
        teacher(layers=(3,))


def begun(pairs, tokenizer):
    """A small training, always of the same weights; its teacher's vectors are random."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2,
        intermediate_size=32, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    random = torch.randn(len(pairs.sentences), 16, generator=torch.Generator().manual_seed(1))
    targets = {2: torch.nn.functional.normalize(random, dim=-1)}
    args = argparse.Namespace(
        lr=1e-2, seed=3, tokens=256, cut=32, steps=8, minutes=float("inf"), mask_every=3
    )  # fmt: skip
    return Training(BertForMaskedLM(config), pairs, targets, args)


def test_a_stopped_training_ends_with_the_weights_of_one_that_was_not(pairs, tokenizer, tmp_path):
    # to the bit: the same code on the same machine with the same threads
    whole = begun(pairs, tokenizer)
    figures = [f for _, f in whole.run()]
    assert len(figures) == 8
    assert [("mlm_accuracy" in f) for f in figures] == [k % 3 == 0 for k in range(8)]
    stopped = begun(pairs, tokenizer)
    for _ in itertools.islice(stopped.run(), 5):
        pass
    stopped.save(tmp_path / "checkpoint.safetensors")
    resumed = begun(pairs, tokenizer)
    resumed.resume(tmp_path / "checkpoint.safetensors")
    assert len(list(resumed.run())) == 3
    for ours, theirs in ((resumed.model, whole.model), (resumed.average.module, whole.average.module)):
        for name, weight in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], weight), name
    assert not torch.equal(
        whole.model.bert.embeddings.word_embeddings.weight,
        whole.average.module.bert.embeddings.word_embeddings.weight,
    )


def test_a_checkpoint_of_other_pairs_is_refused(pairs, tokenizer, tmp_path):
    begun(pairs, tokenizer).save(tmp_path / "checkpoint.safetensors")
    fewer = Pairs.of({"de": PARALLEL["de"]}, tokenizer)
    with pytest.raises(SystemExit, match=r"72 pairs, not of 60"):
        begun(fewer, tokenizer).resume(tmp_path / "checkpoint.safetensors")


@pytest.mark.slow
def test_the_script_makes_an_encoder_goes_on_and_the_other_measures_it(
    parallel_folder, encoder_folder, tmp_path
):
    tatoeba, out = tmp_path / "tatoeba", tmp_path / "out"
    tatoeba.mkdir()
    for side, column in (("eng", 0), ("deu", 1)):
        text = "".join(f"{p[column]}\n" for p in PARALLEL["de"][:5])
        (tatoeba / f"tatoeba.deu-eng.{side}").write_text(text, encoding="utf-8")
    train = [
        sys.executable, HOME / "samples/train_encoder.py", "--parallel", parallel_folder,
        "--held-out", tatoeba, "--teacher", encoder_folder, "--teacher-layers", "4", "--hidden-size", "32",
        "--out", out, "--tokens", "512", "--vocab-size", "300",
    ]  # fmt: skip
    logs = []
    for steps in ("2", "3"):
        command = [str(a) for a in [*train, "--steps", steps]]
        logs.append(subprocess.run(command, capture_output=True, text=True, check=True).stderr)
    assert "55 pairs, 5 left out" in logs[0]
    assert "after step 2" in logs[1]
    assert "sentences to encode" not in logs[1]
    rows = [json.loads(line) for line in (out / "dev.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert {w.dtype for w in load_file(out / "encoder" / "model.safetensors").values()} == {torch.float16}
    measure = [
        sys.executable, HOME / "samples/evaluate_encoder.py", "--encoder", out / "encoder",
        "--tatoeba", tatoeba, "--layers", "0", "12",
    ]  # fmt: skip
    printed = subprocess.run([str(a) for a in measure], capture_output=True, text=True, check=True).stdout
    figures = json.loads(printed.splitlines()[-1])["deu"]
    assert set(figures) == {"0", "12"}
    assert all(0 <= v <= 1 for v in figures.values())
