import pytest

from mcbert.finetune.knobs.settings import KnobsSettings


def test_lists_become_tuples_and_combinations_are_counted():
    settings = KnobsSettings(values={"epochs": (1, 2), "learning_rate": (1e-4, 2e-4, 5e-4)}, seeds=[3, 1])
    assert settings.seeds == (3, 1)
    assert settings.combinations == 6


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"method": "bayes"}, "knobs.method: got 'bayes', accepted: grid, each, random"),
        ({"protocol": "last"}, "knobs.protocol: got 'last', accepted: source-dev, target-dev"),
        ({"system": "mcbert_wf"}, "knobs.system: got 'mcbert_wf', accepted: mcbert, baseline"),
        ({"seeds": (0, 0)}, "knobs.seeds: got 0 twice, accepted: each entry once"),
        ({"seeds": ()}, "knobs.seeds: got"),
        ({"values": {"lerning_rate": (1,)}}, "knobs.values: got 'lerning_rate', accepted: epochs, learning"),
        ({"values": {"seeds": ((1,),)}}, "knobs.values: got 'seeds', accepted: epochs"),
        ({"values": {"threads": (1, 2)}}, "knobs.values: got 'threads'"),
        (
            {"values": {"epochs": ()}},
            r"knobs.values.epochs: got \(\), accepted: a list of values, at least one",
        ),
        ({"values": {"epochs": (1, 2, 1)}}, "knobs.values.epochs: got 1 twice, accepted: each entry once"),
        ({"trials": 2}, 'knobs.trials: means nothing with knobs.method = "grid"'),
        ({"seed": 2}, 'knobs.seed: means nothing with knobs.method = "grid"'),
        ({"method": "each", "trials": 2}, 'knobs.trials: means nothing with knobs.method = "each"'),
        ({"seed": -1}, "knobs.seed: got -1, accepted: a whole number from 0"),
        ({"method": "random", "values": {"epochs": (1, 2)}, "trials": 3}, "got 3, accepted: .* from 1 to 2"),
        ({"method": "random", "values": {"epochs": (1, 2)}}, "knobs.trials: got 0"),
        ({"system": "baseline", "values": {"pooling": ("max",)}}, "settings that knobs.system ="),
        ({"system": "baseline", "values": {"freeze": ({},)}}, "knobs.values: got 'freeze', accepted"),
    ],
)
def test_what_cannot_work_is_refused_by_name(given, message):
    with pytest.raises(ValueError, match=message):
        KnobsSettings(**given)


def test_the_baseline_may_freeze_its_word_embeddings():
    assert KnobsSettings(system="baseline", values={"freeze_embeddings": (True, False)}).combinations == 2
