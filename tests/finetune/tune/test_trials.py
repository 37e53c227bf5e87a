import dataclasses

import pytest

from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.finetune.tune.trials import overrides, plan_trials

BASE = FinetuneSettings(epochs=2, learning_rate=1e-4, systems=("baseline", "mcbert"))


def planned(base=BASE, **given):
    return plan_trials(TuneSettings(**given), base)


def test_a_grid_is_every_combination_after_the_settings_as_they_are():
    trials = planned(values={"epochs": (1, 2), "learning_rate": (1e-4, 2e-4)})
    assert [dict(trial.changes) for trial in trials] == [
        {}, {"epochs": 1}, {"epochs": 1, "learning_rate": 2e-4}, {"learning_rate": 2e-4},
    ]  # fmt: skip
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert trials[0].settings == BASE
    assert trials[2].settings == dataclasses.replace(BASE, epochs=1, learning_rate=2e-4)


def test_each_changes_one_setting_at_a_time():
    trials = planned(values={"epochs": (1, 2), "dropout": (0.0, 0.3)}, method="each")
    assert [dict(trial.changes) for trial in trials] == [
        {},
        {"epochs": 1},
        {"dropout": 0.0},
        {"dropout": 0.3},
    ]


def test_random_draws_each_combination_once_and_the_same_for_a_seed():
    values = {"epochs": (1, 3, 4), "dropout": (0.0, 0.2, 0.3), "learning_rate": (2e-4, 5e-4)}
    drawn = {
        seed: [dict(t.changes) for t in planned(values=values, method="random", trials=6, seed=seed)]
        for seed in (0, 1)
    }
    assert drawn[0] == [dict(t.changes) for t in planned(values=values, method="random", trials=6)]
    assert drawn[0] != drawn[1]
    for found in drawn.values():
        assert len(found) == 7
        assert len({tuple(sorted(changes.items())) for changes in found}) == 7
    everything = planned(values=values, method="random", trials=18, seed=5)
    assert [t.changes for t in everything] == [t.changes for t in planned(values=values)]


def test_combinations_that_do_not_go_together_are_kept_with_the_reason():
    trials = planned(values={"start": ("probe",), "head_layers": (0, 1)})
    assert [(t.settings is None, t.message) for t in trials[:2]] == [(False, ""), (False, "")]
    assert trials[2].settings is None
    assert "finetune.head_layers: got 1" in trials[2].message
    assert trials[2].changes == {"start": "probe", "head_layers": 1}


def test_nothing_to_try_is_an_error():
    with pytest.raises(ValueError, match=r"tune\.values: got nothing, accepted: lists of values"):
        planned()
    with pytest.raises(ValueError, match=r"all 2 combinations are refused: finetune\.dropout: got 2"):
        planned(values={"dropout": (2, 3)})


def test_none_and_lists_are_values_too():
    base = dataclasses.replace(BASE, head_learning_rate=1e-3)
    trials = planned(
        base, values={"head_learning_rate": ("none",), "layers": ([1, 3],), "freeze": ({"1": [2]},)}
    )
    settings = trials[1].settings
    assert (settings.head_learning_rate, settings.layers, settings.freeze) == (None, (1, 3), {1: (2,)})
    assert trials[1].changes == {"head_learning_rate": "none", "layers": [1, 3], "freeze": {"1": [2]}}


def test_overrides_of_untouched_systems_name_none():
    assert overrides({"epochs": 3}, FinetuneSettings()) == ["finetune.epochs=3"]


def test_overrides_name_the_systems_that_go_with_the_freezing():
    assert overrides({"epochs": 3}, BASE) == ["finetune.epochs=3"]
    assert overrides({"freeze": {"1": [2]}}, BASE) == [
        "finetune.freeze={ 1 = [2] }", 'finetune.systems=["baseline", "mcbert", "mcbert_wf"]',
    ]  # fmt: skip
    freezing = dataclasses.replace(BASE, freeze={1: (2,)}, systems=("mcbert", "mcbert_wf"))
    assert overrides({}, freezing) == []
    assert overrides({"freeze": {}}, freezing) == ["finetune.freeze={}", 'finetune.systems=["mcbert"]']
