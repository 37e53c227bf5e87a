"""A training that holds only the rows in use is, to the bit, the one that holds them all.

Both run on the same machine, batches and number of threads, whatever the CPU: the rows in use keep their order,
rows of zeros add nothing to a sum, and the rest is the same arithmetic on each number alone.
"""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoModel, BertTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.systems import tokenised
from mcbert.finetune.training import data
from mcbert.finetune.training.resumable import ResumableTrainer
from mcbert.finetune.training.word_embeddings import RowsInUse, rows_in_use
from tests.families import EVERY_FAMILY
from tests.finetune.conftest import FILLERS, LANGUAGES, WORDS

N_ROWS = 400
ULP = 2.0**-24  # most that a float32 operation is off, relative


@pytest.fixture(scope="module")
def wide_encoder(tmp_path_factory):
    """XLM-R, tiny: positions count from behind padding's id; four of five rows are no text's."""
    folder = tmp_path_factory.mktemp("xlmr")
    words = [*(w for group in WORDS.values() for w in group), *FILLERS, *LANGUAGES]
    idle = [f"idle{k}" for k in range(N_ROWS - len(words) - 5)]
    order = np.random.default_rng(0).permutation([*words, *idle])
    vocab = {str(w): k for k, w in enumerate(["[UNK]", "[PAD]", *order, "[CLS]", "[SEP]", "[MASK]"])}
    BertTokenizerFast(vocab=vocab, do_lower_case=True, model_max_length=32).save_pretrained(folder)
    torch.manual_seed(0)
    config = XLMRobertaConfig(
        vocab_size=N_ROWS, hidden_size=32, num_hidden_layers=4, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=34, pad_token_id=1, initializer_range=0.2,
    )  # fmt: skip
    XLMRobertaModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


@pytest.fixture
def job(make_job, wide_encoder):
    return lambda *given, **settings: dataclasses.replace(make_job(*given, **settings), encoder=wide_encoder)


def hold_all(patched):
    """Have trainings hold every row: the plain way."""
    patched.setattr(data, "ids_in_use", lambda *_: np.arange(N_ROWS))


class Watched:
    """What a training's embedding is while it trains, and how often the optimizer moved it."""

    def __init__(self, patched):
        self.kinds, self.steps, step = set(), 0, ResumableTrainer.training_step

        def training_step(trainer, model, *args, **kwargs):
            embedding = trainer.model.get_input_embeddings()
            self.kinds.add(type(embedding))
            self.steps += embedding.weight.requires_grad
            return step(trainer, model, *args, **kwargs)

        patched.setattr(ResumableTrainer, "training_step", training_step)


def used_rows(job):
    corpus, tokenizer = Corpus.read(job.corpus), load_tokenizer(job.encoder)
    return data.ids_in_use(
        tokenizer,
        [
            text
            for split in ("train", "dev")
            for text in tokenised(corpus, corpus.rows(split=split), tokenizer, max_length=32).tokens
        ],
    )


def require_same(ours, whole, n_steps, start):
    """Compare the weights of two models; rows out of use after `n_steps` steps with decay."""
    (model, training, *_), (plain, expected, *_) = ours, whole
    one, other = model.state_dict(), plain.state_dict()
    assert list(one) == list(other)
    (words,) = (name for name in one if name.endswith("word_embeddings.weight"))
    used = start.used
    idle = np.setdiff1d(np.arange(N_ROWS), used)
    for name in one:
        if name != words:
            assert torch.equal(one[name], other[name]), name
    assert torch.equal(one[words][used], other[words][used])
    bound = (2 * n_steps + 2) * ULP
    differ = (one[words][idle].double() - other[words][idle].double()).abs()
    assert (differ <= bound * start.words[idle].double().abs()).all()
    if not n_steps:
        assert torch.equal(one[words], start.words) or torch.equal(one[words][idle], start.words[idle])
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in plain.parameters()]
    histories = [[{**vars(e), "seconds": 0} for e in t.history] for t in (training, expected)]
    assert histories[0] == histories[1]
    assert training.events == expected.events
    np.testing.assert_array_equal(training.dev_predicted, expected.dev_predicted)


@dataclasses.dataclass
class Start:
    words: torch.Tensor
    used: np.ndarray


@pytest.fixture
def start(wide_encoder, job):
    words = AutoModel.from_pretrained(wide_encoder).get_input_embeddings().weight.detach().clone()
    return Start(words, used_rows(job()))


@pytest.mark.parametrize(
    ("system", "options", "freeze"),
    [
        ("mcbert", {"weight_decay": 0.0}, {}),
        ("mcbert", {"weight_decay": 0.01, "max_gradient_norm": 0.05}, {}),
        ("baseline", {"optimizer": "adam", "weight_decay": 0.0}, {}),
        ("baseline", {"weight_decay": 0.1, "max_gradient_norm": 0.5}, {}),
        ("mcbert_wf", {"weight_decay": 0.1}, {1: (0,)}),
        ("mcbert_wf", {"weight_decay": 0.1, "max_gradient_norm": 0.05}, {2: (1, 0)}),
        ("mcbert", {"weight_decay": 0.1, "freeze_embeddings": True}, {}),
        ("mcbert", {"weight_decay": 0.1, "lower_layer_decay": 0.5, "gradient_accumulation": 2}, {}),
        ("mcbert", {"weight_decay": 0.1, "protocol": "target-dev", "eval_steps": 2}, {}),
        ("mcbert", {"weight_decay": 0.1, "precision": "bfloat16", "batch_tokens": 64}, {}),
    ],
)
def test_it_is_the_training_of_all_rows(job, train_job, start, tmp_path, monkeypatch, system, options, freeze):
    made = job(system, freeze=freeze, **options)
    ways = {}
    for way in ("whole", "ours"):
        with monkeypatch.context() as patched:
            if way == "whole":
                hold_all(patched)
            watched = Watched(patched)
            ways[way] = (train_job(made, tmp_path / way), watched)
    (ours, mine), (whole, theirs) = ways["ours"], ways["whole"]
    assert (mine.kinds, theirs.kinds) == ({RowsInUse}, {nn.Embedding})
    assert mine.steps == theirs.steps
    require_same(ours, whole, mine.steps if made.settings.weight_decay else 0, start)
