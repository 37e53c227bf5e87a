import json
import os
import pickle
import shutil

import pytest
import torch
from safetensors.torch import load_file

from mcbert.features.encoder import trust
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.identity import encoder_identity
from mcbert.features.encoder.loading import load_encoder, n_layers
from mcbert.features.encoder.opening import open_encoder
from mcbert.features.encoder.trust import trusts
from mcbert.features.settings import EncoderSettings


@pytest.fixture
def pickled(encoder_folder, tmp_path):
    """The tiny encoder with its weights in a pickle instead of safetensors."""
    folder = tmp_path / "pickled"
    shutil.copytree(encoder_folder, folder)
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    return folder


class Payload:
    """A pickle that leaves a file behind when it is loaded."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def settings(folder, **given):
    return EncoderSettings(path=str(folder), max_length=64, **given)


def test_pickled_weights_are_refused_and_the_setting_named(pickled, tmp_path):
    with pytest.raises(EncoderError, match=r"pickled weights.*encoder\.pickled_weights=true"):
        open_encoder(settings(pickled), tmp_path / "cache")


def test_pickled_weights_are_converted_once(pickled, encoder_folder, tmp_path):
    asked = settings(pickled, pickled_weights=True)
    folder = open_encoder(asked, tmp_path / "cache")
    assert folder.parent == tmp_path / "cache" / "encoders"
    want, got = load_file(encoder_folder / "model.safetensors"), load_file(folder / "model.safetensors")
    assert want.keys() == got.keys()
    assert all(torch.equal(want[name], got[name]) for name in want)
    assert not list(folder.glob("*.bin"))
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert open_encoder(asked, tmp_path / "cache") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before
    load_encoder(folder)


def test_safetensors_are_taken_where_both_are_there(encoder_folder, tmp_path):
    assert open_encoder(settings(encoder_folder, pickled_weights=True), tmp_path) == encoder_folder


def test_a_pickle_that_holds_code_does_not_run_it(pickled, tmp_path):
    (pickled / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Payload(tmp_path / "ran")}))
    with pytest.raises(EncoderError, match=r"pytorch_model\.bin: .*tensors"):
        open_encoder(settings(pickled, pickled_weights=True), tmp_path / "cache")
    assert not (tmp_path / "ran").exists()
    assert not list((tmp_path / "cache").rglob("*.safetensors"))


@pytest.fixture
def with_code(encoder_folder, tmp_path, monkeypatch):
    """An encoder with a configuration class of its own, which leaves a folder behind when it is imported."""
    monkeypatch.delenv(trust.REMOTE_CODE, raising=False)
    folder = tmp_path / "own"
    shutil.copytree(encoder_folder, folder)
    config = json.loads((folder / "config.json").read_text())
    own = {"AutoConfig": "own.OwnConfig", "AutoModel": "own.OwnModel"}
    config |= {"model_type": "own", "auto_map": own}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "own.py").write_text(
        f"""
import os
from transformers import BertConfig, BertModel
os.makedirs({str(tmp_path / "ran")!r}, exist_ok=True)
class OwnConfig(BertConfig):
    model_type = "own"
class OwnModel(BertModel):
    config_class = OwnConfig
"""
    )
    return folder


def test_code_of_a_model_does_not_run_by_default(with_code, tmp_path):
    with pytest.raises(EncoderError, match=r"'own' needs code .*encoder\.remote_code=true"):
        open_encoder(settings(with_code), tmp_path / "cache")
    assert not trusts(with_code)
    with pytest.raises(EncoderError, match=r"'own' needs code"):
        n_layers(with_code)
    assert not (tmp_path / "ran").exists()


def test_code_of_a_model_runs_where_the_setting_allows_it(with_code, encoder_folder, tmp_path, caplog):
    folder = open_encoder(settings(with_code, remote_code=True), tmp_path / "cache")
    assert trusts(folder)
    assert not trusts(encoder_folder)
    assert n_layers(folder) == 4
    assert (tmp_path / "ran").exists()
    assert "will run with your rights" in caplog.text


def test_code_is_part_of_the_identity_where_it_runs(with_code, encoder_folder, tmp_path):
    open_encoder(settings(with_code, remote_code=True), tmp_path / "cache")
    first = encoder_identity(with_code)
    (with_code / "own.py").write_text((with_code / "own.py").read_text() + "# changed\n")
    assert set(first) - set(encoder_identity(encoder_folder)) == {"encoder_code"}
    assert encoder_identity(with_code) != first


def test_code_from_the_hub_needs_a_commit(tmp_path):
    for revision in ("", "main", "abc"):
        with pytest.raises(EncoderError, match=r"encoder\.revision: got .*accepted: .*commit"):
            open_encoder(settings("some/model", remote_code=True, revision=revision), tmp_path)
