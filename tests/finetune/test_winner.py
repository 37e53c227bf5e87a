import json

import pytest

from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.winner import read_architecture

FITTING = {"labels": ("cancel", "refund"), "encoder": "tiny", "n_layers": 4}


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | values), encoding="utf-8")


def test_the_winner_is_what_is_built(winner):
    change(winner, layers=[3, 1])
    found = read_architecture(winner, FinetuneSettings(), **FITTING)
    assert (found.layers, found.pooling, found.probe_protocol) == ((1, 3), "max", "target-dev")


def test_settings_come_first(winner):
    found = read_architecture(winner, FinetuneSettings(layers=(2,), pooling="cls"), **FITTING)
    assert (found.layers, found.pooling) == ((2,), "cls")


@pytest.mark.parametrize("name", ["no.json", None])
def test_no_winner_is_needed_when_the_settings_say_all(tmp_path, name):
    winner = tmp_path / name if name else None
    found = read_architecture(winner, FinetuneSettings(layers=(2,), pooling="cls"), **FITTING)
    assert (found.layers, found.pooling, found.probe_protocol) == ((2,), "cls", None)


def test_no_winner(tmp_path):
    with pytest.raises(ValueError, match=r"no\.json: no such file; .*finetune\.layers"):
        read_architecture(tmp_path / "no.json", FinetuneSettings(layers=(2,)), **FITTING)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"labels": ["refund", "cancel"]},
            r"labels: got \['refund', 'cancel'\], accepted: .*\['cancel', 'refund'\]",
        ),
        ({"labels": ["a", "b"]}, "labels: got"),
        ({"layers": [1, 5]}, r"winner\.json: layers: got 5; accepted: 0 \(embeddings\) to 4"),
        ({"layers": []}, "layers: got no layer"),
        ({"layers": None}, "not a winner of gridsearch"),
        ({"pooling": "min"}, r"winner\.json: pooling: got 'min'"),
        ({"pooling": "max+min"}, r"winner\.json: pooling: got 'max\+min'"),
        (
            {"layers": [1, 2], "pooling": "max+cls+cls"},
            r"winner\.json: pooling: got 'max\+cls\+cls' for 2 layers",
        ),
        ({"layers": [1, 1], "pooling": "max+max"}, "no layer twice under the same"),
        ({"layers": [1, 5], "pooling": "max+cls"}, r"winner\.json: layers: got 5"),
        ({"layers": [1, "2"]}, "not a winner of gridsearch: layers"),
        ({"layers": [True]}, "not a winner of gridsearch: layers"),
        ({"layers": 10**400}, "not a winner of gridsearch: .*layers"),
        ({"labels": [1, 2]}, "not a winner of gridsearch: labels"),
        ({"labels": "ab"}, "not a winner of gridsearch: .*labels"),
        ({"pooling": ["max"]}, "not a winner of gridsearch: .*pooling"),
        ({"protocol": 3}, "not a winner of gridsearch: .*protocol"),
        ({"probe": "../probe.npz"}, "not a winner of gridsearch: probe: .*no file beside it"),
        ({"probe": 3}, "not a winner of gridsearch: .*probe"),
        ({"temperature": 0}, "not a winner of gridsearch: temperature"),
        ({"temperature": float("nan")}, "not a winner of gridsearch: temperature"),
        ({"encoder": "another"}, "encoder: got 'another', accepted: 'tiny'"),
    ],
)
def test_a_winner_that_does_not_fit(winner, values, message):
    change(winner, **values)
    with pytest.raises(ValueError, match=message):
        read_architecture(winner, FinetuneSettings(), **FITTING)


def test_a_damaged_winner(winner):
    winner.write_text("{", encoding="utf-8")
    with pytest.raises(ValueError, match=r"winner\.json: .*Expecting"):
        read_architecture(winner, FinetuneSettings(), **FITTING)


def test_settings_layers_beyond_the_encoder(winner):
    with pytest.raises(ValueError, match=r"finetune\.layers: got 9"):
        read_architecture(winner, FinetuneSettings(layers=(9,)), **FITTING)


def test_layers_from_the_winner_keep_its_protocol(winner):
    change(winner, protocol="target-dev")
    assert read_architecture(winner, FinetuneSettings(), **FITTING).protocol == "target-dev"
    assert read_architecture(winner, FinetuneSettings(layers=(1,)), **FITTING).protocol == "target-dev"
    named = read_architecture(winner, FinetuneSettings(layers=(1,), pooling="max"), **FITTING)
    assert named.protocol == "last"


def test_a_winner_may_have_a_pooling_for_each_layer_and_the_settings_another_for_all(winner):
    change(winner, layers=[1, 1, 3], pooling="max+cls+mean")
    found = read_architecture(winner, FinetuneSettings(), **FITTING)
    assert (found.layers, found.pooling) == ((1, 1, 3), "max+cls+mean")
    found = read_architecture(winner, FinetuneSettings(pooling="cls"), **FITTING)
    assert (found.layers, found.pooling) == ((1, 3), "cls")
    with pytest.raises(ValueError, match=r"finetune\.layers: got \[2\] "):
        read_architecture(winner, FinetuneSettings(layers=(2,)), **FITTING)


def test_a_probe_to_start_from_lies_beside_the_winner(winner):
    change(winner, probe="start.npz", temperature=0.25)
    found = read_architecture(winner, FinetuneSettings(start="probe"), **FITTING)
    assert (found.probe, found.temperature) == (winner.with_name("start.npz"), 0.25)
    assert read_architecture(winner, FinetuneSettings(), **FITTING).probe == found.probe
    assert read_architecture(winner, FinetuneSettings(start="random"), **FITTING).probe is None
    named = read_architecture(
        winner, FinetuneSettings(start="probe", layers=(1, 3), pooling="max"), **FITTING
    )
    assert named.protocol == "target-dev"  # phase one chose the classifier, if not the layers


def test_a_winner_that_was_not_made_a_start_is_none_unless_asked_for(winner):
    change(winner, probe="probe.npz")  # over raw votes, perhaps, and without a temperature
    assert read_architecture(winner, FinetuneSettings(), **FITTING).probe is None


@pytest.mark.parametrize(
    ("values", "settings", "message"),
    [
        ({}, {}, r"winner\.json: probe: got none, accepted: a classifier with a score for each label"),
        ({"probe": None}, {}, "probe: got none"),
        ({"probe": "p.npz"}, {"layers": (2,)}, r"a classifier of layers \[1, 3\], 'max', accepted: .* \[2\]"),
        (
            {"probe": "p.npz"},
            {"pooling": "cls"},
            r"a classifier of layers \[1, 3\], 'max', accepted: .*'cls'",
        ),
    ],
)
def test_a_probe_of_something_else_is_refused(winner, values, settings, message):
    change(winner, **values)
    with pytest.raises(ValueError, match=message):
        read_architecture(winner, FinetuneSettings(start="probe", **settings), **FITTING)
