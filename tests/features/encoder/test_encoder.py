import shutil
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModel

from mcbert.features.encoder.files import EncoderError, resolve
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import load_encoder, n_layers, require_layers
from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.stack import first_parts
from mcbert.features.encoder.tokens import load_tokenizer, tokenise

TEXTS = ["where is my money", "cancel", "please cancel it now late human wo ist mein geld"]


def tokens_of(encoder, texts=TEXTS):
    return tokenise(encoder.tokenizer, [(t, "") for t in texts], 64, special=encoder.content_only)


def test_layers_equal_the_librarys_hidden_states(any_encoder_folder):
    encoder = PooledEncoder(any_encoder_folder, layers=(0, 1, 2, 3, 4), poolings=("max", "mean", "cls"))
    out = encoder(tokens_of(encoder))
    model = AutoModel.from_pretrained(any_encoder_folder)
    batch = load_tokenizer(any_encoder_folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        states = model.eval()(**batch, output_hidden_states=True).hidden_states
    assert len(states) == n_layers(any_encoder_folder) + 1
    for layer in range(5):
        for j, pooling in enumerate(("max", "mean", "cls")):
            torch.testing.assert_close(
                out[:, layer, j], pool(states[layer], batch["attention_mask"], pooling), atol=2e-6, rtol=1e-5
            )


def test_layers_are_counted_as_in_a_forward_pass_by_hand(encoder_folder):
    """Layer 0 is what the embeddings give, layer k what block k gives; there is no other."""
    encoder = PooledEncoder(encoder_folder, layers=(0, 1, 2, 3, 4), poolings=("mean",))
    ids = torch.tensor([tokens_of(encoder, ["cancel it now"])[0]["input_ids"]])
    model = AutoModel.from_pretrained(encoder_folder).eval()
    with torch.no_grad():
        states = [model.embeddings(input_ids=ids)]
        for block in model.encoder.layer:
            out = block(states[-1])
            states.append(out[0] if isinstance(out, tuple) else out)
    assert len(states) == 1 + n_layers(encoder_folder)
    pooled = encoder(tokens_of(encoder, ["cancel it now"]))[0, :, 0]
    torch.testing.assert_close(pooled, torch.cat(states).mean(dim=1), atol=2e-6, rtol=1e-5)


@pytest.fixture(scope="module", params=["float32", "bfloat16"])
def every_layer(request, any_encoder_folder):
    """An encoder that pools all it has, and what each text gives alone."""
    encoder = PooledEncoder(
        any_encoder_folder,
        layers=(0, 1, 2, 3, 4),
        poolings=("max", "mean", "cls"),
        dtype=getattr(torch, request.param),
    )
    return encoder, {text: encoder(tokens_of(encoder, [text]))[0] for text in TEXTS}


@given(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=9), st.sampled_from(["left", "right"]))
@settings(max_examples=40)
def test_a_text_alone_equals_the_text_in_any_batch(every_layer, texts, side):
    """For every layer and pooling, at any position, whatever side the tokenizer would pad on."""
    encoder, alone = every_layer
    encoder.tokenizer.padding_side = side
    tolerance = 2e-6 if encoder.model.dtype == torch.float32 else 0.03
    for text, states in zip(texts, encoder(tokens_of(encoder, texts)), strict=True):
        torch.testing.assert_close(states, alone[text], atol=tolerance, rtol=1e-5)


def test_the_order_of_a_batch_changes_how_it_is_pooled_and_not_what_comes_out(any_encoder_folder):
    """Sorted by length a batch is pooled position by position, otherwise by mask."""
    encoder = PooledEncoder(any_encoder_folder, layers=(0, 2, 4), poolings=("cls", "max", "mean"))
    tokens = sorted(tokens_of(encoder), key=lambda row: len(row["input_ids"]))
    by_position, by_mask = encoder(tokens), encoder(tokens[::-1]).flip(0)
    torch.testing.assert_close(by_position, by_mask, atol=2e-6, rtol=1e-5)


def test_no_hidden_states_outlive_their_pooling(encoder_folder):
    """Of all token states that the forward pass made, none is alive when it returns."""
    encoder = PooledEncoder(encoder_folder, layers=(0, 1, 2, 3, 4), poolings=("max", "cls"))
    seen = []
    for module in encoder.model.modules():
        module.register_forward_hook(
            lambda _, inputs, out: seen.extend(weakref.ref(t) for t in (*inputs, out) if torch.is_tensor(t))
        )
    out = encoder(sorted(tokens_of(encoder), key=lambda row: len(row["input_ids"])))
    assert len(seen) > 5
    assert all(ref() is None for ref in seen)
    assert out.untyped_storage().nbytes() == out.numel() * 4, "the result keeps no token states alive"


def test_cut_after_the_deepest_layer_gives_the_same_states(encoder_folder):
    whole = PooledEncoder(encoder_folder, layers=(2, 4), poolings=("mean",))
    cut = PooledEncoder(encoder_folder, layers=(2,), poolings=("mean",))
    assert len(first_parts(cut.model)) == 2
    torch.testing.assert_close(cut(tokens_of(cut))[:, 0], whole(tokens_of(whole))[:, 0])


def test_special_tokens_can_be_left_out_of_max_and_mean(encoder_folder):
    encoder = PooledEncoder(encoder_folder, layers=(4,), poolings=("mean", "cls"), content_only=True)
    out = encoder(tokens_of(encoder, ["cancel it now"]))
    model = load_encoder(encoder_folder).eval()
    batch = load_tokenizer(encoder_folder)(["cancel it now"], return_tensors="pt")
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    torch.testing.assert_close(out[0, 0, 0], states[0, 1:-1].mean(0), atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(out[0, 0, 1], states[0, 0], atol=1e-6, rtol=1e-5)


def test_the_encoder_is_frozen_and_deterministic(encoder_folder):
    encoder = PooledEncoder(encoder_folder, layers=(4,), poolings=("mean",))
    # the same code over the same numbers, with the same threads
    assert torch.equal(encoder(tokens_of(encoder)), encoder(tokens_of(encoder)))


def test_identity_changes_with_one_byte_of_the_weights(encoder_folder, tmp_path):
    for file in encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    before = encoder_identity(tmp_path)
    assert before == encoder_identity(encoder_folder)
    data = bytearray((tmp_path / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(bytes(data))
    after = encoder_identity(tmp_path)
    assert after["encoder_weights"] != before["encoder_weights"]
    assert after["tokenizer"] == before["tokenizer"]


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        ((), "no layer"),
        ((13,), "got 13; accepted: 0 .* to 12"),
        ((-1,), "got -1"),
        ((True,), "got True"),
        ((3, 3), "once"),
    ],
)
def test_layers_that_cannot_be(layers, said):
    with pytest.raises(ValueError, match=f"extract.layers: .*{said}"):
        require_layers(layers, 12, "extract.layers")


def test_an_encoder_that_is_not_there(tmp_path):
    with pytest.raises(EncoderError, match="encoder.path: 'no/such-model'"):
        resolve("no/such-model")
    with pytest.raises(EncoderError, match=r"no config\.json"):
        resolve(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(EncoderError, match="no safetensors weights"):
        resolve(str(tmp_path))


def test_missing_weights_are_an_error_not_random_numbers(encoder_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).write_bytes((encoder_folder / name).read_bytes())
    weights = load_file(encoder_folder / "model.safetensors")
    kept = {k: v for k, v in weights.items() if "layer.3." not in k}
    assert len(kept) < len(weights)
    save_file(kept, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(EncoderError, match="weights are missing, first"):
        load_encoder(tmp_path)


def test_a_texts_tokens_do_not_depend_on_its_neighbours(encoder_folder):
    tokenizer = load_tokenizer(encoder_folder)
    mixed = [("cancel it", ""), ("where is", "my money"), ("now", "")]
    together = tokenise(tokenizer, mixed, 64, special=True)
    assert together == [tokenise(tokenizer, [pair], 64, special=True)[0] for pair in mixed]
    assert together[1]["input_ids"].count(tokenizer.sep_token_id) == 2
    assert together[0]["input_ids"].count(tokenizer.sep_token_id) == 1
    assert len(tokenise(tokenizer, mixed, 4)[1]["input_ids"]) == 4


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("model.safetensors", b"\x08\0\0\0\0\0\0\0{}", "model.safetensors: it cannot be read \\("),
        ("model.safetensors", b"", "model.safetensors: it cannot be read \\("),
        ("config.json", b"[]", "config.json: got list"),
        ("config.json", b'{"model_type": "none"}', "config.json: model_type: got 'none'"),
    ],
)
def test_a_damaged_encoder_is_one_line(name, content, message, encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    (folder / name).write_bytes(content)
    with pytest.raises(EncoderError, match=f"encoder.path: {folder}: {message}"):
        load_encoder(folder)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("[]", "got list, accepted: an object"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("{}", "model_type: got None, accepted: one of those that transformers"),
        ('{"model_type": ["bert"]}', "model_type: got \\['bert'\\], accepted"),
        ('{"model_type": "clip"}', "model_type: got 'clip', which has no num_hidden_layers"),
    ],
)
def test_a_configuration_without_blocks_is_one_line(content, said, encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    (folder / "config.json").write_text(content)
    with pytest.raises(EncoderError, match=f"encoder.path: {folder}: config.json: {said}"):
        n_layers(folder)


@pytest.mark.parametrize("content", ["", "[]", "{", "{}"])
def test_a_damaged_tokenizer_is_one_line(content, encoder_folder, tmp_path):
    folder = shutil.copytree(encoder_folder, tmp_path / "encoder")
    (folder / "tokenizer.json").write_text(content)
    with pytest.raises(EncoderError, match=f"encoder.path: {folder}: .*tokenizer"):
        load_tokenizer(folder)
