import dataclasses
import re

import pytest

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.errors import CorpusError
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.embeddings.training import plan_embeddings_freezing, require_pairs, train_embeddings
from mcbert.finetune.jobs import Inputs, JobError
from mcbert.finetune.winner import Architecture
from mcbert.results import csv_files
from mcbert.results.schema.training import EMBEDDINGS, EMBEDDINGS_FREEZING, EMBEDDINGS_TRAININGS
from tests.finetune.conftest import STAMP
from tests.finetune.embeddings.conftest import pairs_table

FAST = EmbeddingsSettings(learning_rate=1e-3, batch_size=8, max_length=32, seeds=(0, 1), freeze={0: (1,)})


def serial(function, jobs):
    for job in jobs:
        try:
            yield job, function(job), None
        except (ValueError, RuntimeError) as error:
            yield job, None, str(error)


@pytest.fixture
def train(encoder, pairs, tmp_path):
    def run(settings=FAST, layers=(3,), corpus=pairs, execute=serial):
        inputs = Inputs(corpus=corpus, source_language="en", winner=None, encoder=encoder, out=tmp_path)
        architecture = Architecture(features=FeatureSpec.of(layers, "max"), probe_protocol=None)
        train_embeddings(settings, inputs, architecture, execute=execute, stamp=STAMP)
        return tmp_path

    return run


def test_every_seed_is_in_the_tables_and_the_first_is_saved(train):
    out = train()
    curves = csv_files.read(EMBEDDINGS, out / "embeddings.csv")
    assert list(zip(curves["seed"], curves["epoch"], curves["language"], strict=True)) == [
        (seed, epoch, language) for seed in (0, 1) for epoch in (0, 1) for language in ("en", "de")
    ]
    assert set(curves["objective"]) == {"softmax"}
    assert set(curves["n_pairs"]) == {18}
    trained = csv_files.read(EMBEDDINGS_TRAININGS, out / "embeddings_trainings.csv")
    assert trained["seed"].tolist() == [0, 1]
    assert set(trained["layers"]) == {"3"}
    events = csv_files.read(EMBEDDINGS_FREEZING, out / "embeddings_freezing.csv")
    assert list(zip(events["seed"], events["step"], events["layers"], strict=True)) == [
        (0, 0, "1"),
        (1, 0, "1"),
    ]
    assert sorted(p.name for p in (out / "models").iterdir()) == ["embeddings", "embeddings-st"]
    assert not (out / "checkpoints").exists()


def test_what_is_finished_is_not_done_again_and_failures_are_named(train, tmp_path):
    out = train(dataclasses.replace(FAST, seeds=(0,)))

    def failing(function, jobs):
        for job in jobs:
            yield job, None, "no"

    with pytest.raises(JobError, match=r"^embeddings: 1 of 1 trainings failed, first embeddings-1: no$"):
        train(execute=failing)
    assert sorted(p.name for p in (out / "jobs").iterdir()) == ["embeddings-0.json"]


@pytest.mark.parametrize(
    ("settings", "layers", "message"),
    [
        ({}, (5,), r"embeddings\.layers: got 5; accepted: 0 \(embeddings\) to 4"),
        (
            {"freeze_lower": 3},
            (3,),
            r"freeze_lower: got 3, .* layers up to 3: nothing would learn; .* 0 to 2",
        ),
        (
            {"freeze": {0: (4,)}},
            (3,),
            r"embeddings\.freeze: epoch 0: layer 4 feeds nothing.* embeddings\.ignore",
        ),
        (
            {"freeze_rule": "plateau"},
            (3,),
            r'embeddings\.freeze_groups: got nothing, but .*_rule is "plateau"',
        ),
        ({"max_length": 99}, (3,), r"embeddings\.max_length: got 99, accepted: at most 32"),
    ],
)
def test_settings_that_do_not_fit_the_encoder_name_the_key(train, settings, layers, message):
    with pytest.raises(ValueError, match=message):
        train(EmbeddingsSettings(**({"max_length": 32} | settings)), layers)


def test_what_may_freeze():
    assert plan_embeddings_freezing(EmbeddingsSettings(), 3) == {}
    assert plan_embeddings_freezing(EmbeddingsSettings(freeze={0: (2,)}), 3) == {0: (2,)}
    groups = EmbeddingsSettings(freeze_rule="slope", freeze_groups=((3,), (2, 1)))
    assert plan_embeddings_freezing(groups, 3) == {0: (3,), 1: (2, 1)}
    assert plan_embeddings_freezing(EmbeddingsSettings(freeze_rule="gradient"), 3) == {0: (0, 1, 2)}


def test_pairs_need_two_sentences_and_dev_rows():
    table = pairs_table()
    alone = table.assign(text_pair=table["text_pair"].mask(table.index == 1, " "))
    with pytest.raises(CorpusError, match=r"x\.csv: column text_pair: 1 rows .* 'train0-n-en'"):
        require_pairs(_corpus(alone), "x.csv", ranks=False)
    with pytest.raises(CorpusError, match=r"x\.csv: column split: no dev rows"):
        require_pairs(Corpus(table[table["split"] == "train"], "en"), "x.csv", ranks=False)


def test_ranking_needs_entailment_and_dev_premises_with_a_contradiction():
    table = pairs_table()
    require_pairs(_corpus(table), "x", ranks=True)
    other = table.assign(label=table["label"].replace("entailment", "same"))
    require_pairs(_corpus(other), "x", ranks=False)
    with pytest.raises(CorpusError, match=r"column label: got contradiction, neutral, same; .* 'entailment'"):
        require_pairs(_corpus(other), "x", ranks=True)
    lacking = table[~(table["language"].eq("de") & table["label"].eq("contradiction"))]
    with pytest.raises(
        CorpusError, match=re.escape("no dev premise in 'de' has both an entailment and a contr")
    ):
        require_pairs(_corpus(lacking), "x", ranks=True)
    train_only = table[~(table["split"].eq("train") & table["label"].eq("contradiction"))]
    require_pairs(Corpus(train_only.reset_index(drop=True), "en"), "x", ranks=True)


def _corpus(table):
    return Corpus(table.reset_index(drop=True), "en")


@pytest.mark.parametrize(
    ("rule", "protocol"),
    [
        ({"freeze_rule": "gradient", "freeze_percentile": 100.0}, "last"),
        (
            {"freeze_rule": "plateau", "freeze_groups": ((0, 1), (2,)), "freeze_watch": "target-dev"},
            "target-dev",
        ),
        ({"freeze_rule": "slope", "freeze_groups": ((1,),), "freeze_window": 2}, "source-dev"),
    ],
)
def test_layers_freeze_by_the_rules_of_fine_tuning(train, rule, protocol):
    out = train(dataclasses.replace(FAST, seeds=(0,), freeze={}, eval_steps=1, learning_rate=1e-2, **rule))
    events = csv_files.read(EMBEDDINGS_FREEZING, out / "embeddings_freezing.csv")
    assert len(events)
    assert events["reason"].str.startswith(rule["freeze_rule"]).all()
    assert set(events["protocol"]) == {protocol}
    curves = csv_files.read(EMBEDDINGS, out / "embeddings.csv")
    assert curves.loc[curves["step"] > events["step"].iloc[0], "frozen_layers"].ne("").all()
