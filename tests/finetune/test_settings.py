import dataclasses

import pytest

from mcbert.finetune.settings import FinetuneSettings


def test_defaults_are_the_published_ones():
    settings = FinetuneSettings()
    assert (settings.learning_rate, settings.dropout, settings.epochs) == (2e-5, 0.1, 5)
    assert settings.systems == ("baseline", "mcbert", "mcbert_wf")


@pytest.mark.parametrize(
    ("changes", "freezes"),
    [
        ({}, False),
        ({"freeze": {2: (9,)}}, True),
        ({"freeze_rule": "gradient"}, True),
        ({"freeze_rule": "plateau", "freeze_groups": ((9,),)}, True),
        ({"freeze_rule": "plateau"}, True),  # whose groups were forgotten: an error when it is planned
        ({"systems": ("mcbert", "mcbert_wf")}, True),  # named, so that nothing to freeze is an error, too
        ({"systems": ("mcbert",), "freeze": {2: (9,)}}, False),
    ],
)
def test_default_systems_freeze_only_where_something_says_what(changes, freezes):
    settings = FinetuneSettings(**changes)
    assert settings.freezes is freezes
    assert settings.trained == tuple(s for s in settings.systems if freezes or s != "mcbert_wf")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("systems", ("mcbert", "bert"), "finetune.systems: got 'bert', accepted: baseline, mcbert"),
        ("systems", (), "finetune.systems: got \\(\\), accepted: a list of baseline"),
        ("seeds", (1, 1), "finetune.seeds: got 1 twice"),
        ("seeds", (-1,), "finetune.seeds: got -1, accepted: a whole number from 0"),
        ("class_weight", "even", "finetune.class_weight: got 'even', accepted: none, balanced"),
        ("epochs", 0, "finetune.epochs: got 0"),
        ("epochs", True, "finetune.epochs: got True"),
        ("learning_rate", 0.0, "finetune.learning_rate: got 0.0"),
        ("learning_rate", float("nan"), "finetune.learning_rate: got nan"),
        ("head_learning_rate", -1.0, "finetune.head_learning_rate"),
        ("batch_size", 1.5, "finetune.batch_size"),
        ("dropout", 1.0, "finetune.dropout"),
        ("warmup", -0.1, "finetune.warmup"),
        ("weight_decay", 2.0, "finetune.weight_decay"),
        ("max_length", 2, "finetune.max_length"),
        ("layers", (3, 3), "finetune.layers: got 3 twice"),
        ("layers", (-1,), "finetune.layers: got -1"),
        ("pooling", "min", "finetune.pooling: got 'min', accepted: max, mean, cls"),
        ("protocol", "best", "finetune.protocol: got 'best', accepted: agreement, source-dev, "),
        ("threads", 0, "finetune.threads"),
        ("optimizer", "sgd", "finetune.optimizer: got 'sgd', accepted: adam, adamw"),
        ("precision", "int8", "finetune.precision: got 'int8', accepted: auto, float32, bfloat16, float16"),
        ("lower_layer_decay", 0, "finetune.lower_layer_decay: got 0, accepted: a number above 0"),
        ("max_gradient_norm", -1, "finetune.max_gradient_norm: got -1, accepted: a number from 0"),
        ("gradient_accumulation", 5, "finetune.gradient_accumulation: got 5, accepted: a divisor of batch_s"),
        ("batch_tokens", -1, "finetune.batch_tokens: got -1"),
        ("eval_steps", 0.5, "finetune.eval_steps: got 0.5"),
        ("checkpoint_steps", -2, "finetune.checkpoint_steps: got -2"),
        ("patience", 2, "finetune.patience: got 2, accepted: 0 with finetune.protocol = .last."),
        ("start", "winner", "finetune.start: got 'winner', accepted: auto, probe, ensemble, random"),
        ("head_layers", -1, "finetune.head_layers: got -1, accepted: a whole number from 0"),
        ("freeze", {5: (1,)}, "finetune.freeze: got 5, accepted: epochs 0 to 4"),
        ("freeze", {"two": (1,)}, "finetune.freeze: got the key 'two'"),
        ("freeze", {2: ()}, "finetune.freeze.2: got \\(\\)"),
        ("freeze", {2: (-1,)}, "finetune.freeze.2: got -1"),
        ("freeze", {1: (3,), 2: (3,)}, "finetune.freeze: got 3 twice"),
        ("freeze", [9], "finetune.freeze"),
        ("freeze_rule", "rising", "finetune.freeze_rule: got 'rising', accepted: schedule, plateau, slope, "),
        ("freeze_watch", "last", "finetune.freeze_watch: got 'last', accepted: agreement, source-dev, "),
        ("freeze_groups", ((9,), (11, 9)), "finetune.freeze_groups: got 9 twice"),
        ("freeze_groups", ((),), "finetune.freeze_groups: got \\(\\), accepted: a list"),
        ("freeze_groups", (9,), "finetune.freeze_groups: got 9, accepted: a list"),
        ("freeze_groups", ((-1,),), "finetune.freeze_groups: got -1"),
        ("freeze_groups", ((9,),), 'nothing with finetune.freeze_rule = "schedule"'),
        ("freeze_patience", 0, "finetune.freeze_patience: got 0, accepted: a whole number from 1"),
        ("freeze_window", 1, "finetune.freeze_window: got 1, accepted: a whole number from 2"),
        ("freeze_percentile", 101, "finetune.freeze_percentile: got 101, accepted: a number from 0 to 100"),
        ("freeze_percentile", float("nan"), "finetune.freeze_percentile: got nan"),
    ],
)  # fmt: skip
def test_a_wrong_value_names_its_field(field, value, message):
    with pytest.raises(ValueError, match=message):
        FinetuneSettings(**{field: value})


def test_the_keys_and_lists_of_a_toml_table_become_epochs_and_tuples():
    settings = FinetuneSettings(freeze={"2": [11, 9], "0": [1]}, layers=[6, 8])
    assert settings.freeze == {0: (1,), 2: (11, 9)}
    assert list(settings.freeze) == [0, 2]
    assert settings.layers == (6, 8)
    assert dataclasses.replace(settings, seeds=(4,)).freeze == settings.freeze


@pytest.mark.parametrize(("before", "now"), [("record", "plateau"), ("decline", "slope")])
def test_a_rule_that_was_renamed_is_named(before, now):
    with pytest.raises(ValueError, match=f"finetune.freeze_rule: got '{before}', .*'{now}'$"):
        FinetuneSettings(freeze_rule=before)


@pytest.mark.parametrize("rule", ["plateau", "slope", "gradient"])
def test_layers_of_another_rule_are_refused_not_ignored(rule):
    with pytest.raises(ValueError, match=f'finetune.freeze: .*finetune.freeze_rule = "{rule}"'):
        FinetuneSettings(freeze={1: (9,)}, freeze_rule=rule)
    if rule == "gradient":
        with pytest.raises(ValueError, match="^finetune.freeze_groups: "):
            FinetuneSettings(freeze_groups=((9,),), freeze_rule=rule)
    else:
        assert FinetuneSettings(freeze_groups=[[11], [9, 10]], freeze_rule=rule).freeze_groups == (
            (11,),
            (9, 10),
        )
