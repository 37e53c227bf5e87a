import pytest

from mcbert.finetune.tune.settings import TuneSettings


def test_lists_become_tuples_and_combinations_are_counted():
    settings = TuneSettings(values={"epochs": (1, 2), "learning_rate": (1e-4, 2e-4, 5e-4)}, seeds=[3, 1])
    assert settings.seeds == (3, 1)
    assert settings.combinations == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "bayes"}, "tune.method: got 'bayes', accepted: grid, each, random"),
        ({"protocol": "last"}, "tune.protocol: got 'last', accepted: source-dev, agreement, target-dev"),
        ({"system": "mcbert_wf"}, "tune.system: got 'mcbert_wf', accepted: mcbert, baseline"),
        ({"seeds": (0, 0)}, "tune.seeds: got 0 twice, accepted: each entry once"),
        ({"seeds": ()}, "tune.seeds: got"),
        ({"values": {"lerning_rate": (1,)}}, "tune.values: got 'lerning_rate', accepted: epochs, learning"),
        ({"values": {"seeds": ((1,),)}}, "tune.values: got 'seeds', accepted: epochs"),
        ({"values": {"threads": (1, 2)}}, "tune.values: got 'threads'"),
        (
            {"values": {"epochs": ()}},
            r"tune.values.epochs: got \(\), accepted: a list of values, at least one",
        ),
        ({"values": {"epochs": (1, 2, 1)}}, "tune.values.epochs: got 1 twice, accepted: each entry once"),
        ({"trials": 2}, 'tune.trials: means nothing with tune.method = "grid"'),
        ({"seed": 2}, 'tune.seed: means nothing with tune.method = "grid"'),
        ({"method": "each", "trials": 2}, 'tune.trials: means nothing with tune.method = "each"'),
        ({"seed": -1}, "tune.seed: got -1, accepted: a whole number from 0"),
        ({"method": "random", "values": {"epochs": (1, 2)}, "trials": 3}, "got 3, accepted: .* from 1 to 2"),
        ({"method": "random", "values": {"epochs": (1, 2)}}, "tune.trials: got 0"),
        ({"system": "baseline", "values": {"pooling": ("max",)}}, "settings that tune.system ="),
        ({"system": "baseline", "values": {"freeze": ({},)}}, "tune.values: got 'freeze', accepted"),
    ],
)
def test_what_cannot_work_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        TuneSettings(**given)


def test_the_baseline_may_freeze_its_word_embeddings():
    assert TuneSettings(system="baseline", values={"freeze_embeddings": (True, False)}).combinations == 2
