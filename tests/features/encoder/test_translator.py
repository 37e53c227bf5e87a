import itertools
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from mcbert.features.encoder import hardware
from mcbert.features.encoder.files import EncoderError, identity, resolve
from mcbert.features.encoder.translator import Translator
from mcbert.home import HOME
from tests.translators import save_marian, save_nllb

SENTENCES = ["where is my money", "cancel it", "the late parcel please now human order it the money", "a"]


@pytest.fixture(scope="module")
def marian(tmp_path_factory):
    return save_marian(tmp_path_factory.mktemp("marian"))


@pytest.fixture(scope="module")
def many_targets(tmp_path_factory):
    return save_marian(tmp_path_factory.mktemp("many"), targets=(">>deu<<", ">>fra<<"))


@pytest.fixture(scope="module")
def nllb(tmp_path_factory):
    return save_nllb(tmp_path_factory.mktemp("nllb"))


def translator(folder, codes=None, beams=1, max_length=24):
    return Translator(folder, codes=codes, beams=beams, max_length=max_length)


@pytest.mark.parametrize("beams", [1, 3])
@pytest.mark.parametrize("kind", ["marian", "nllb"])
def test_a_sentence_alone_and_in_a_batch_is_translated_the_same(kind, beams, request):
    codes = ("eng_Latn", "deu_Latn") if kind == "nllb" else None
    translate = translator(request.getfixturevalue(kind), codes, beams)
    together = translate(SENTENCES)
    assert together == [translate([sentence])[0] for sentence in SENTENCES]
    assert all(together)
    assert len(set(together)) == len(SENTENCES)


@pytest.mark.parametrize("kind", ["marian", "nllb"])
def test_weights_lie_where_memory_of_torch_begins(kind, request):
    """Wherever they are in their file: the last bits of a product depend on the addresses."""
    model = translator(
        request.getfixturevalue(kind), ("eng_Latn", "deu_Latn") if kind == "nllb" else None
    ).model
    tensors = [*model.parameters(), *model.buffers()]
    assert not [tensor for tensor in tensors if tensor.data_ptr() % hardware.ALIGNMENT]
    embeddings = model.get_input_embeddings().weight
    assert model.get_output_embeddings().weight is embeddings  # what is shared stays so


def test_greedy_decoding_against_a_loop_by_hand(marian):
    model = AutoModelForSeq2SeqLM.from_pretrained(marian).eval()
    tokenizer = AutoTokenizer.from_pretrained(marian)
    never = model.generation_config.suppress_tokens
    inputs = tokenizer([SENTENCES[0]], return_tensors="pt")
    ids = [model.config.decoder_start_token_id]
    while len(ids) < 12:
        with torch.no_grad():
            logits = model(**inputs, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
        logits[never] = -np.inf
        logits[[b for a, b in itertools.pairwise(ids) if a == ids[-1]]] = -np.inf
        if len(ids) < 4:
            logits[0] = -np.inf
        ids.append(0 if len(ids) == 11 else int(logits.argmax()))
        if ids[-1] == 0:
            break
    expected = tokenizer.decode(ids, skip_special_tokens=True).strip()
    assert translator(marian, max_length=12)([SENTENCES[0]]) == [expected]


def test_codes_choose_the_language_of_a_model_of_many(nllb):
    german = translator(nllb, ("eng_Latn", "deu_Latn"))(SENTENCES)
    french = translator(nllb, ("eng_Latn", "fra_Latn"))(SENTENCES)
    assert german != french
    assert translator(nllb, ("fra_Latn", "deu_Latn"))(SENTENCES) != german


def test_a_code_before_the_text_chooses_among_several_targets(many_targets, marian):
    german = translator(many_targets, ("eng", ">>deu<<"))
    assert german(SENTENCES) != translator(many_targets, ("eng", ">>fra<<"))(SENTENCES)
    assert german.lengths(["a"])[0] == translator(marian).lengths(["a"])[0] + 1


def test_a_model_of_one_pair_needs_no_code_and_heeds_none(marian):
    assert translator(marian, ("en", "de"))(SENTENCES) == translator(marian)(SENTENCES)


def test_long_sentences_are_measured_whole_and_cut(marian):
    translate = translator(marian, max_length=6)
    long = " ".join(["money"] * 40)
    assert translate.lengths([long])[0] > 40
    assert translate([long]) == translate([" ".join(["money"] * 30)])


@pytest.mark.parametrize(
    ("kind", "codes", "said"),
    [
        ("nllb", None, "a model of many languages; name its codes of both languages in prepare.translator_c"),
        ("nllb", ("eng_Latn", "xx"), "prepare.translator_codes: got 'xx', which is no language code of"),
        ("many_targets", None, "prepare.translator_codes: got None for the language to write, accepted by"),
        ("many_targets", ("en", "de"), "got 'de' for the language to write, accepted by .*>>deu<<, >>fra<<"),
        ("encoder_folder", None, "not a translation model; accepted: a sequence-to-sequence model"),
    ],
)
def test_what_cannot_translate_is_named(kind, codes, said, request):
    with pytest.raises(EncoderError, match=said):
        translator(request.getfixturevalue(kind), codes)


def test_more_tokens_than_positions(marian):
    with pytest.raises(EncoderError, match="prepare.translation_length: got 65, accepted: at most 64"):
        translator(marian, max_length=65)


def test_missing_weights_are_named(marian, tmp_path):
    from safetensors.numpy import load_file, save_file

    for file in marian.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    del weights["model.decoder.layers.0.fc1.weight"]
    save_file(weights, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match=r"1 weights .*model.decoder.layers.0.fc1.weight"):
        translator(tmp_path)


def test_a_missing_package_is_named(marian):
    code = (
        "import sys; sys.modules['sentencepiece'] = None\n"
        "from pathlib import Path; from mcbert.features.encoder.translator import Translator\n"
        f"Translator(Path({str(marian)!r}), codes=None, beams=1, max_length=9)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=HOME, capture_output=True, text=True, check=False)
    assert "EncoderError: prepare.translator: " in done.stderr
    assert "pip install 'mcbert[translate]'" in done.stderr


def test_the_identity_covers_what_decides_a_translation(marian, tmp_path):
    for file in marian.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = identity(tmp_path)
    for name in ("generation_config.json", "vocab.json", "source.spm", "config.json", "model.safetensors"):
        original = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(original + b" ")
        assert identity(tmp_path) != before, name
        (tmp_path / name).write_bytes(original)
    assert identity(tmp_path) == before


def test_pickled_weights_are_refused_under_the_setting_that_names_them(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({}))
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EncoderError, match="^prepare.translator.de: .*pickled weights"):
        resolve(str(tmp_path), key="prepare.translator.de")
