import dataclasses

import pytest

from mcbert.features.corpus.settings import CorpusSettings
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.settings import FinetuneSettings, TrainingSettings


def test_the_defaults_are_the_published_ones():
    settings = EmbeddingsSettings()
    assert (settings.batch_size, settings.epochs, settings.warmup, settings.dropout) == (16, 1, 0.1, 0.0)
    assert (settings.learning_rate, settings.optimizer, settings.objective) == (2e-5, "adamw", "softmax")
    assert settings.freeze_embeddings
    assert settings.searches
    assert not EmbeddingsSettings(layers=(12,), pooling="mean").searches


def test_what_every_training_has_is_declared_once():
    own = [set(vars(kind)["__annotations__"]) for kind in (EmbeddingsSettings, FinetuneSettings)]
    assert not own[0] & own[1]
    shared = {field.name for field in dataclasses.fields(TrainingSettings)}
    assert {"seeds", "freeze_rule", "precision", "checkpoint_steps"} <= shared


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 0}, r"embeddings\.epochs: got 0, accepted: a whole number from 1"),
        ({"objective": "cosine"}, r"embeddings\.objective: got 'cosine', accepted: softmax, ranking"),
        ({"scale": 0.0, "objective": "ranking"}, r"embeddings\.scale: got 0\.0, accepted: a number above 0"),
        (
            {"scale": 9.0},
            r'embeddings\.scale: means nothing with embeddings\.objective = "softmax"',
        ),
        (
            {"dropout": 0.1, "objective": "ranking"},
            r"embeddings\.dropout: means nothing with .*rank",
        ),
        (
            {"head_learning_rate": 0.1, "objective": "ranking"},
            r"embeddings\.head_learning_rate: means nothing with",
        ),
        (
            {"gradient_accumulation": 2, "objective": "ranking"},
            r"gradient_accumulation: got 2, accepted: 1 wi",
        ),
        ({"batch_size": 1, "objective": "ranking"}, r"embeddings\.batch_size: got 1, accepted: 2 or more"),
        ({"freeze_lower": -1}, r"embeddings\.freeze_lower: got -1, accepted: a whole number from 0"),
        (
            {"layers": (3, 4)},
            r"embeddings\.pooling: got '', accepted: max, mean, cls, last with several layers",
        ),
        (
            {"parallel": "x", "layers": (3,), "pooling": "cls"},
            r"embeddings\.parallel: got 'x', accepted: noth",
        ),
        (
            {"freeze": {0: (1,)}, "freeze_rule": "plateau"},
            r'freeze: .* nothing with embeddings\.freeze_rule = "p',
        ),
        ({"patience": 2}, r'patience: got 2, accepted: 0 with embeddings\.protocol = "last"'),
    ],
)
def test_bad_settings_name_the_key(given, message):
    with pytest.raises(ValueError, match=message):
        EmbeddingsSettings(**given)


def test_one_pair_in_a_step_of_tokens_is_no_number_of_pairs():
    assert EmbeddingsSettings(objective="ranking", batch_tokens=64, batch_size=1).batch_tokens == 64


def test_pairs_are_named_as_a_corpus_is():
    assert EmbeddingsSettings(corpus=CorpusSettings(path="x", format="allnli")).corpus.format == "allnli"
