import numpy as np
import pytest
import torch

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.embeddings.pairs import (
    NONE,
    Codes,
    Pairs,
    classification_of_pairs,
    find_triplets,
    no_wrong_answers,
    ranking_of_pairs,
    score_pairs,
    score_triplets,
    tokenised_pairs,
)
from mcbert.finetune.embeddings.siamese import SiameseEncoder

CODES = Codes(entailment=1, contradiction=0)


@pytest.fixture(scope="module")
def corpus(pairs):
    return Corpus.read(pairs)


@pytest.fixture(scope="module")
def tokenizer(encoder):
    return load_tokenizer(encoder)


@pytest.fixture(scope="module")
def splits(corpus, tokenizer):
    return {split: tokenised_pairs(corpus, split, tokenizer, max_length=32) for split in ("train", "dev")}


def given(premise, hypothesis, y, lengths=None):
    """Pairs of sentences by number."""
    n = max([*premise, *hypothesis]) + 1
    return Pairs(
        tokens=[{"input_ids": [0] * k} for k in (lengths or [1] * n)],
        premise=np.array(premise),
        hypothesis=np.array(hypothesis),
        y=np.array(y),
        language=np.array(["en"] * len(y)),
        ids=tuple(f"p{k}" for k in range(len(y))),
    )


def test_each_sentence_is_tokenised_once(corpus, splits, tokenizer):
    table = corpus.table[corpus.table["split"] == "dev"]
    found = splits["dev"]
    assert len(found.tokens) == len({*table["text"], *table["text_pair"]}) < 2 * len(table)
    read = [
        [tokenizer.decode(found.tokens[number]["input_ids"], skip_special_tokens=True) for number in column]
        for column in (found.premise, found.hypothesis)
    ]
    assert read == [table["text"].tolist(), table["text_pair"].tolist()]
    assert found.ids == tuple(table["id"])


def test_triplets_take_contradictions_in_turns_and_go_without_where_there_are_none():
    pairs = given([0, 0, 0, 0, 0, 6, 6], [1, 2, 3, 4, 5, 7, 8], [1, 0, 1, 0, 1, 1, 2])
    found = find_triplets(pairs, CODES)
    assert found.anchor.tolist() == [0, 0, 0, 6]
    assert found.positive.tolist() == [1, 3, 5, 7]
    assert found.negative.tolist() == [2, 4, 2, NONE]
    assert found.pair.tolist() == [0, 2, 4, 5]
    assert (find_triplets(pairs, Codes(1, None)).negative == NONE).all()


def test_wrong_answers_are_what_neither_premise_nor_hypothesis_says():
    blocked = no_wrong_answers(np.array([0, 0, 5]), np.array([1, 2, 1]), np.array([2, 5, 9]))
    assert blocked.tolist() == [
        [False, True, True, False, False, False],  # entailed by the same; says the same as its own
        [True, False, False, True, False, False],
        [True, False, False, False, True, False],  # the premise itself
    ]


def test_lengths_bound_the_tokens_of_a_batch(splits, tokenizer):
    task = ranking_of_pairs(tokenizer, splits["train"], splits["dev"], CODES)
    numbers = list(range(6))
    batch = task.collate(numbers)
    tokens = batch["input_ids"].numel() + batch["other"]["input_ids"].numel()
    assert tokens <= len(numbers) * task.lengths[numbers].max()
    pairs = given([0, 2], [1, 3], [1, 1], lengths=[3, 9, 4, 1])
    assert pairs.lengths(pairs.premise, pairs.hypothesis).tolist() == [18, 8]
    assert pairs.lengths(pairs.premise, np.array([NONE, NONE])).tolist() == [6, 8]


def test_a_batch_of_classification_is_its_pairs(splits, tokenizer):
    train = splits["train"]
    task = classification_of_pairs(tokenizer, train, splits["dev"])
    batch = task.collate([4, 0])
    for key, column in (("input_ids", train.premise), (None, train.hypothesis)):
        ids = batch["input_ids"] if key else batch["other"]["input_ids"]
        expected = [train.tokens[column[row]]["input_ids"] for row in (4, 0)]
        assert [[i for i in row.tolist() if i] for row in ids] == expected
    assert batch["labels"].tolist() == train.y[[4, 0]].tolist()
    assert task.ids[4] == train.ids[4]


def test_a_batch_of_ranking_holds_each_contradiction_once(splits, tokenizer):
    task = ranking_of_pairs(tokenizer, splits["train"], splits["dev"], CODES)
    batch = task.collate([0, 1, 2])
    assert len(batch["input_ids"]) == 3
    assert len(batch["other"]["input_ids"]) == 6
    assert batch["labels"].tolist() == [0, 1, 2]
    assert batch["blocked"].shape == (3, 6)
    assert not batch["blocked"].any()
    assert all(name.endswith("-e-en") for name in task.ids)


def test_scores_are_those_of_pairs_one_by_one(encoder, splits, tokenizer):
    torch.manual_seed(1)
    model = SiameseEncoder.from_encoder(
        encoder, (3,), pooling="mean", dropout=0.5, labels=("contradiction", "entailment", "neutral")
    ).train()
    dev = splits["dev"]
    found = score_pairs(model, tokenizer, dev)
    scores, predicted = found.scores, found.predicted
    assert model.training
    assert model.objective.training
    model.eval()
    task = classification_of_pairs(tokenizer, dev, dev)
    rows = [task.collate([row]) for row in task.rows]
    logits = torch.cat([model(**{k: v for k, v in row.items() if k != "labels"}).logits for row in rows])
    np.testing.assert_array_equal(predicted, logits.argmax(dim=1))
    for language in ("en", "de"):
        of = dev.language == language
        assert scores[language].accuracy == (predicted == dev.y)[of].mean()
        loss = torch.nn.functional.cross_entropy(logits[of], torch.from_numpy(dev.y[of])).item()
        assert scores[language].loss == pytest.approx(loss, rel=1e-5)
        assert scores[language].n_texts == of.sum()


def test_triplets_are_right_when_the_entailed_sentence_is_nearer(encoder, splits, tokenizer):
    model = SiameseEncoder.from_encoder(
        encoder, (3,), pooling="mean", dropout=0.0, labels=("a",), objective="ranking"
    ).eval()
    dev = splits["dev"]
    found = score_triplets(model, tokenizer, dev, CODES)
    scores, chosen = found.scores, found.predicted
    found = find_triplets(dev, CODES)
    vectors = [model(**dev.batch(tokenizer, np.array([k]))).pooler_output[0] for k in range(len(dev.tokens))]
    near = torch.nn.functional.cosine_similarity
    right = [
        near(vectors[a], vectors[p], dim=0) > near(vectors[a], vectors[n], dim=0)
        for a, p, n in zip(found.anchor, found.positive, found.negative, strict=True)
    ]
    assert chosen.tolist() == [int(r) for r in right]
    assert scores["en"].accuracy == np.mean([r for r, pair in zip(right, found.pair, strict=True)
                                             if dev.language[pair] == "en"])  # fmt: skip
    assert scores["en"].n_texts == 6


def test_equal_vectors_are_a_wrong_choice(encoder, splits, tokenizer):
    model = SiameseEncoder.from_encoder(
        encoder, (0,), pooling="cls", dropout=0.0, labels=("a",), objective="ranking"
    )
    found = score_triplets(model, tokenizer, splits["dev"], CODES)  # [CLS] says nothing in layer 0
    scores, chosen = found.scores, found.predicted
    assert scores["en"].accuracy == 0
    assert not chosen.any()


def test_what_is_not_finite_is_said(encoder, splits, tokenizer):
    model = SiameseEncoder.from_encoder(encoder, (3,), pooling="mean", dropout=0.0, labels=("a", "b", "c"))
    model.objective.classifier.bias.data.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="the model's output is not finite"):
        score_pairs(model, tokenizer, splits["dev"])
