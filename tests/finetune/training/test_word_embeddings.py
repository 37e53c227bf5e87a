"""A training that holds only the rows in use is, to the bit, the one that holds them all.

Both run on the same machine, batches and number of threads, whatever the CPU: the rows in use keep their
order, rows of zeros add nothing to a sum (whose lanes they do not shift: 32 columns are a multiple of every
CPU's), and the rest is the same arithmetic on each number alone.
"""

import copy
import dataclasses
import json
import tempfile

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModel, BertTokenizerFast, XLMRobertaConfig, XLMRobertaModel

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.stack import bare_encoder
from mcbert.features.encoder.tokens import ids_in_use, load_tokenizer, tokenise
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.embeddings import pairs as pair_data
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.embeddings.training import run_embeddings_job
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.systems import tokenised, train_system
from mcbert.finetune.training import checkpoints, data
from mcbert.finetune.training.resumable import ResumableTrainer
from mcbert.finetune.training.word_embeddings import RowsInUse, rows_in_use
from mcbert.finetune.winner import Architecture
from tests.families import EVERY_FAMILY
from tests.finetune.conftest import FILLERS, LANGUAGES, STAMP, WORDS
from tests.finetune.embeddings.conftest import pairs_table
from tests.finetune.training.test_resumable import StopError, stopping

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
    rows = np.concatenate([corpus.rows(split=split) for split in ("train", "dev")])
    return ids_in_use(tokenizer, tokenised(corpus, rows, tokenizer, max_length=32).tokens)


def require_same(ours, whole, n_steps, start):
    """Compare what two trainings left; `n_steps` of them decayed the word embeddings."""
    (model, training, *_), (plain, expected, *_) = ours, whole
    require_same_weights(model.state_dict(), plain.state_dict(), n_steps, start)
    assert [p.requires_grad for p in model.parameters()] == [p.requires_grad for p in plain.parameters()]
    histories = [[{**vars(e), "seconds": 0} for e in t.history] for t in (training, expected)]
    assert histories[0] == histories[1]
    assert training.events == expected.events
    np.testing.assert_array_equal(training.dev_predicted, expected.dev_predicted)


def require_same_weights(one, other, n_steps, start):
    """Compare to the bit; rows out of use within what `n_steps` products of either way are rounded by."""
    assert list(one) == list(other)
    (words,) = (name for name in one if name.endswith("word_embeddings.weight"))
    idle = np.setdiff1d(np.arange(N_ROWS), start.used)
    for name in one:
        if name != words:
            assert torch.equal(one[name], other[name]), name
    assert torch.equal(one[words][start.used], other[words][start.used])
    before = start.words[idle].double()
    bound = (2 * n_steps + 2) * ULP if n_steps else 0
    assert ((one[words][idle].double() - other[words][idle]).abs() <= bound * before.abs()).all()
    moved = (one[words][idle] / before - 1).abs()
    assert not n_steps or (moved > bound).float().mean() > 0.99  # the bound tells decay from none


@pytest.fixture
def make_pairs_job(wide_encoder, tmp_path):
    """A siamese training over pairs of the corpus's words."""
    path = tmp_path / "pairs.csv"
    pairs_table().to_csv(path, index=False)

    def make(out):
        return EmbeddingsJob(
            system="embeddings",
            seed=0,
            settings=EmbeddingsSettings(
                learning_rate=1e-3, batch_size=8, epochs=2, max_length=32, weight_decay=0.1,
                freeze_embeddings=False,
            ),
            architecture=Architecture(features=FeatureSpec.of((2, 3), "mean"), probe_protocol=None),
            freeze={},
            corpus=path,
            source_language="en",
            encoder=wide_encoder,
            out=out,
            stamp=STAMP,
            save_model=True,
        )  # fmt: skip

    return make


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
        ("mcbert_wf", {"weight_decay": 0.1, "freeze_rule": "gradient", "eval_steps": 2}, {0: (0, 1, 2)}),
        ("mcbert", {"weight_decay": 0.1, "freeze_embeddings": True}, {}),
        ("mcbert", {"weight_decay": 0.1, "lower_layer_decay": 0.5, "gradient_accumulation": 2}, {}),
        ("mcbert", {"weight_decay": 0.1, "protocol": "target-dev", "eval_steps": 2}, {}),
        ("mcbert", {"weight_decay": 0.1, "precision": "bfloat16", "batch_tokens": 64}, {}),
    ],
)
def test_it_is_the_training_of_all_rows(
    job, train_job, start, tmp_path, monkeypatch, system, options, freeze
):
    made = job(system, freeze=freeze, **options)
    ways = {}
    for way in ("whole", "ours"):
        with monkeypatch.context() as patched:
            watched = Watched(patched)
            ways[way] = (train_job(made, tmp_path / way, whole=way == "whole"), watched)
    (ours, mine), (whole, theirs) = ways["ours"], ways["whole"]
    assert (mine.kinds, theirs.kinds) == ({RowsInUse}, {nn.Embedding})
    assert mine.steps == theirs.steps
    require_same(ours, whole, mine.steps if made.settings.weight_decay else 0, start)


def test_decay_is_close_to_the_product_of_its_factors(job, train_job, start, tmp_path):
    """The rows out of use get one factor; that of float32 alone would be off by what one number rounds to."""
    made = job(weight_decay=0.1, warmup=0.0)
    model, training, *_ = train_job(made, tmp_path)
    n = training.history[-1].step
    rates = [made.settings.learning_rate * (1 - k / n) for k in range(n)]
    wanted = np.prod([1 - rate * made.settings.weight_decay for rate in rates])
    idle = np.setdiff1d(np.arange(N_ROWS), start.used)
    words = model.get_input_embeddings().weight.detach()[idle].double()
    found = (words / start.words[idle].double()).numpy()
    assert wanted < 0.9999
    assert np.abs(found / wanted - 1).max() < 0.01 * (1 - wanted)


def test_adam_whose_decay_is_in_the_gradient_trains_all_rows(job, train_job, tmp_path, monkeypatch):
    watched = Watched(monkeypatch)
    train_job(job(optimizer="adam", weight_decay=0.01), tmp_path)
    assert watched.kinds == {nn.Embedding}


def test_a_resumed_training_ends_as_one_of_all_rows_and_its_checkpoints_hold_those_in_use(
    job, train_job, start, tmp_path, monkeypatch
):
    made = job("mcbert_wf", freeze={2: (0,)}, protocol="target-dev", eval_steps=2, checkpoint_steps=1)
    whole = train_job(made, tmp_path / "whole", whole=True)
    for at in (3, 3):
        with monkeypatch.context() as patched:
            stopping(patched, at)
            with pytest.raises(StopError):
                train_job(made, tmp_path / "cut")
    saved = checkpoints.numbered(tmp_path / "cut" / "scratch")[0]
    words = "encoder.embeddings.word_embeddings.weight"
    of = {f"{kind} {words}": load_file(saved / "optimizer.safetensors") for kind in ("exp_avg", "exp_avg_sq")}
    of |= {words: load_file(saved / "model.safetensors")}
    assert {len(tensors[name]) for name, tensors in of.items()} == {len(start.used) + 1}
    with pytest.raises(ValueError, match=r"token_ids: got '\w+', accepted: '\w+'"):
        train_job(made, tmp_path / "cut", whole=True)
    ours = train_job(made, tmp_path / "cut")
    steps = ours[1].history[ours[1].chosen].step
    require_same(ours, whole, min(steps, whole[1].events[0].step), start)


def test_without_room_for_temporary_files_it_is_the_same(job, train_job, tmp_path, monkeypatch):
    first, *_ = train_job(job(), tmp_path / "first")

    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    second, *_ = train_job(job(), tmp_path / "second")
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_an_exported_model_has_all_rows_and_reads_words_that_training_had_not(
    job, start, tmp_path, monkeypatch
):
    saved = {}
    for way in ("whole", "ours"):
        made = dataclasses.replace(job(out=tmp_path / way), save_model=True)
        with monkeypatch.context() as patched:
            if way == "whole":
                patched.setattr(data, "ids_in_use", lambda *_: np.arange(N_ROWS))
            train_system(made)
        saved[way] = made.out / "models" / "mcbert"
    one, other = (load_file(saved[way] / "model.safetensors") for way in ("ours", "whole"))
    require_same_weights(one, other, 9, start)
    texts = [("idle1 money idle77 back", ""), ("cancel idle5", "")]
    ours, whole = (load_model(saved[way]) for way in ("ours", "whole"))
    tokens = tokenise(ours.tokenizer, texts, 32)
    assert not set().union(*(text["input_ids"] for text in tokens)) <= set(start.used)
    (codes, found), (expected, probabilities) = ours.decide(tokens), whole.decide(tokens)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(found, probabilities, atol=1e-5)


def test_siamese_training_is_that_of_all_rows(make_pairs_job, tmp_path, monkeypatch):
    left = {}
    for way in ("whole", "ours"):
        with monkeypatch.context() as patched:
            watched = Watched(patched)
            if way == "whole":
                patched.setattr(pair_data, "ids_in_use", lambda *_: np.arange(N_ROWS))
            made = make_pairs_job(out=tmp_path / way)
            run_embeddings_job(made)
        result = json.loads(made.result.read_text(encoding="utf-8"))
        left[way] = (
            result["embeddings"],
            load_file(made.out / "models" / "embeddings" / "model.safetensors"),
            watched.kinds,
        )
    assert left["ours"][0] == left["whole"][0]
    assert (left["ours"][2], left["whole"][2]) == ({RowsInUse}, {nn.Embedding})
    one, other = left["ours"][1], left["whole"][1]
    assert list(one) == list(other)
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-5, atol=0)


IDS = np.array([0, 1, 2, 3, 5, 8, 13, 21, 34, 55])
SCALED = ("bart", "mbart", "m2m_100")


@pytest.mark.parametrize("name", EVERY_FAMILY)
def test_every_family_computes_the_same_from_the_rows_in_use(name):
    torch.manual_seed(0)
    encoder = bare_encoder(copy.deepcopy(EVERY_FAMILY[name])).eval()
    batch = {"input_ids": torch.from_numpy(np.array([[1, 5, 8, 55, 2], [1, 34, 2, 0, 0]]))}
    batch["attention_mask"] = (batch["input_ids"] != 0).long()
    modules, before = dict(encoder.named_modules()), {k: v.clone() for k, v in encoder.state_dict().items()}
    with torch.no_grad():
        expected = encoder(**batch).last_hidden_state
        with rows_in_use(encoder, IDS):
            compact = isinstance(encoder.get_input_embeddings(), RowsInUse)
            assert compact == (name not in SCALED)
            assert list(encoder.state_dict()) == list(before)
            assert torch.equal(encoder(**batch).last_hidden_state, expected)
            if compact:
                batch["input_ids"][1, 2] = 7
                with pytest.raises(IndexError, match="token id 7"):
                    encoder(**batch)
    assert dict(encoder.named_modules()) == modules
    assert all(torch.equal(tensor, before[name]) for name, tensor in encoder.state_dict().items())


class Own(nn.Module):
    """Code that comes with a model, which may do anything with the weights."""

    def __init__(self, words):
        super().__init__()
        self.words = words


@pytest.mark.parametrize(
    "kind", ["max_norm", "scale_grad_by_freq", "sparse", "tied", "own code", "all in use"]
)
def test_what_is_more_than_looking_rows_up_stays_whole(kind):
    encoder = bare_encoder(copy.deepcopy(EVERY_FAMILY["bert"]))
    words = encoder.get_input_embeddings()
    if kind in ("max_norm", "scale_grad_by_freq", "sparse"):
        setattr(words, kind, 1.0 if kind == "max_norm" else True)
    elif kind == "tied":
        encoder.head = nn.Linear(16, 60)
        encoder.head.weight = words.weight
    elif kind == "own code":
        encoder.own = Own(words)
    with rows_in_use(encoder, np.arange(59) if kind == "all in use" else IDS):
        assert encoder.get_input_embeddings() is words


def test_padding_gets_no_gradient_and_the_row_of_no_id_none():
    words = nn.Embedding(60, 16, padding_idx=8)
    found = RowsInUse(words, torch.from_numpy(IDS))
    ids = torch.tensor([[1, 8, 55], [8, 8, 1]])
    factors = torch.randn(2, 3, 16)
    (found(ids) * factors).sum().backward()
    (words(ids) * factors).sum().backward()
    assert torch.equal(found.weight.grad[:-1], words.weight.grad[IDS])
    assert not found.weight.grad[5].any()
    assert not found.weight.grad[-1].any()
    with pytest.raises(IndexError):
        found(torch.tensor([[60]]))
    with pytest.raises(IndexError):
        found(torch.tensor([[-1]]))
