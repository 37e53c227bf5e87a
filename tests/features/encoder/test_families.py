"""Every family: the states are transformers' own, or the encoder is refused in one line."""

import copy
import json

import pytest
import torch
from torch import nn
from transformers import (
    AutoModel,
    AutoTokenizer,
    BigBirdConfig,
    ModernBertConfig,
    SqueezeBertConfig,
    XLNetConfig,
)

from mcbert.features.encoder import opening, selfcheck, stack
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import load_encoder
from mcbert.features.encoder.opening import verdict
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.selfcheck import examine
from mcbert.features.encoder.tokens import tokenise
from mcbert.features.spec import POOLINGS
from tests.conftest import make_tokenizer
from tests.families import CAUSAL, EVERY_FAMILY, save_family

TEXTS = ["where is my money", "cancel", "please cancel it now late human wo ist mein geld"]


@pytest.fixture(scope="module", params=list(EVERY_FAMILY))
def family(request, tmp_path_factory):
    return request.param, save_family(request.param, tmp_path_factory.mktemp("family"))


def own_states(folder, text):
    """All states of one text as transformers gives them, the whole model loaded by it alone."""
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    if model.config.is_encoder_decoder:
        model = model.get_encoder()
    batch = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    with torch.no_grad():
        return model(**batch, output_hidden_states=True, return_dict=True).hidden_states


@pytest.mark.parametrize("deepest", [1, 2, 3])
def test_states_are_the_librarys_own_at_every_depth(family, deepest):
    name, folder = family
    layers, poolings = tuple(range(deepest + 1)), POOLINGS
    encoder = PooledEncoder(folder, layers=layers, poolings=poolings)
    found = encoder(tokenise(encoder.tokenizer, [(text, "") for text in TEXTS], 64))
    for text, vectors in zip(TEXTS, found, strict=True):
        states = own_states(folder, text)
        assert len(states) == EVERY_FAMILY[name].num_hidden_layers + 1
        mask = torch.ones(states[0].shape[:2])
        for layer in layers:
            for j, pooling in enumerate(poolings):
                wanted = pool(states[layer], mask, pooling)[0]
                torch.testing.assert_close(vectors[layer, j], wanted, atol=2e-5, rtol=1e-4)


def test_the_check_passes_and_knows_what_is_causal(family):
    name, folder = family
    known = verdict(folder)
    assert known.n_layers == EVERY_FAMILY[name].num_hidden_layers
    assert known.causal == (name in CAUSAL)
    assert known.difference < 1e-4


def test_an_encoder_cut_below_its_depth_has_no_norm_at_its_end(family):
    name, folder = family
    model = load_encoder(folder)
    had = bool(stack.final_norms(model))
    assert had == (name in {*CAUSAL, "modernbert", "t5", "mt5", "mbart", "m2m_100"})
    stack.cut(model, EVERY_FAMILY[name].num_hidden_layers)
    assert bool(stack.final_norms(model)) == had
    stack.cut(model, 2)
    assert all(isinstance(norm, nn.Identity) for norm in stack.final_norms(model))


def test_a_list_of_other_modules_is_caught(tmp_path, monkeypatch):
    """What the list of modules cannot tell: XLM's first list of the right length holds its attentions."""
    monkeypatch.setattr(stack, "SPREAD", {"xlm": ("ffns",)})
    folder = save_family("xlm", tmp_path / "xlm")
    with pytest.raises(EncoderError, match=r"model type 'xlm': layer 0, pooling \w+: "):
        examine(load_encoder(folder), folder)


def test_a_norm_that_is_left_out_is_caught(tmp_path, monkeypatch):
    folder = save_family("modernbert", tmp_path / "modernbert")
    model = load_encoder(folder)
    plain = copy.deepcopy(model.final_norm)
    own = PooledEncoder.encode_into

    def without_norm(self, states, tokens, rows):
        self.model.final_norm = nn.Identity()
        own(self, states, tokens, rows)
        self.model.final_norm = plain

    monkeypatch.setattr(PooledEncoder, "encode_into", without_norm)
    with pytest.raises(EncoderError, match="'modernbert': layer 3, pooling"):
        examine(model, folder)


@pytest.mark.parametrize(
    "config",
    [
        SqueezeBertConfig(vocab_size=60, hidden_size=16, embedding_size=16, num_hidden_layers=3,
                          num_attention_heads=2, intermediate_size=24),
        XLNetConfig(vocab_size=60, d_model=16, n_layer=3, n_head=2, d_inner=24),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_families_that_do_not_work_are_refused_by_name(config, tmp_path):
    AutoModel.from_config(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(EncoderError, match=rf"model type '{config.model_type}'") as caught:
        verdict(tmp_path)
    assert "\n" not in str(caught.value)


def save_random(config, folder):
    AutoModel.from_config(config).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


SMALL = {"vocab_size": 80, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
         "intermediate_size": 24, "max_position_embeddings": 128}  # fmt: skip


SPECIAL = dict.fromkeys(("pad_token_id", "bos_token_id", "eos_token_id", "cls_token_id", "sep_token_id"), 0)


def test_attention_to_neighbours_alone_is_not_taken_for_a_causal_mask(tmp_path):
    save_random(
        ModernBertConfig(**SMALL, local_attention=4, layer_types=["sliding_attention"] * 2, **SPECIAL),
        tmp_path,
    )
    known = verdict(tmp_path)
    assert not known.causal


def test_sparse_attention_that_depends_on_the_batch_is_refused(tmp_path):
    save_random(BigBirdConfig(**SMALL, block_size=4, num_random_blocks=1), tmp_path)
    with pytest.raises(EncoderError, match="attention_type: got 'block_sparse'.* accepted: 'original_full'"):
        verdict(tmp_path)
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "attention_type": "original_full"}))
    assert verdict(tmp_path).difference < 1e-4


def test_a_verdict_is_kept_and_a_damaged_one_made_anew(encoder_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "known", {})
    first = verdict(encoder_folder, tmp_path)
    (file,) = tmp_path.glob("*.json")
    monkeypatch.setattr(opening, "known", {})
    monkeypatch.setattr(selfcheck, "examine", lambda *_: pytest.fail("it was tried again"))
    assert verdict(encoder_folder, tmp_path) == first
    monkeypatch.undo()
    monkeypatch.setattr(opening, "known", {})
    file.write_text("{")
    assert verdict(encoder_folder, tmp_path) == first
    assert json.loads(file.read_text())["model_type"] == "bert"


@pytest.mark.parametrize(
    ("name", "most"), [("bert", 512), ("xlm-roberta", 65), ("gpt2", 64), ("mbart", 64), ("t5", None)]
)
def test_the_most_tokens_of_a_text_are_those_of_the_positions_that_can_be_used(name, most, tmp_path):
    """XLM-R's 66 positions begin behind the padding's, here 0; they are 64 where it is 1."""
    assert verdict(save_family(name, tmp_path / name)).most_tokens == most
