"""Labelled pairs of sentences as tasks for a siamese encoder: batches of them, and scores on dev.

    python -m pytest tests/finetune/embeddings/test_pairs.py

Sentences are held, tokenised and, for dev, encoded once each, however many pairs they are in.
"""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple, cast

import numpy as np
import pandas as pd
import torch
from torch import nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder.tokens import ids_in_use, padded, tokenise
from mcbert.finetune.evaluation import Tokens, compute_states, score_languages
from mcbert.finetune.training.callback import DevScores
from mcbert.finetune.training.data import TrainingData, require_finite

PAIRS_AT_ONCE = 4096
NONE = -1


class Codes(NamedTuple):
    """Label codes of which ``ranking`` makes triplets."""

    entailment: int
    contradiction: int | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Pairs of sentences, premise and hypothesis."""

    tokens: Tokens
    """Of each distinct sentence, not padded."""

    premise: np.ndarray
    """Number of each pair's sentence, int64 (n_pairs,)."""

    hypothesis: np.ndarray
    """Number of its second one, int64 (n_pairs,)."""

    y: np.ndarray
    """Label codes, int64 (n_pairs,)."""

    language: np.ndarray
    """Of each pair, str (n_pairs,)."""

    ids: tuple[str, ...]
    """Of each pair."""

    def lengths(self, *columns: np.ndarray) -> np.ndarray:
        """Return the tokens of each example in a batch padded to its own longest sentence, int64 (n,).

        Parameters
        ----------
        columns : ndarray of int64, (n,)
            Numbers of an example's sentences, `NONE` where it lacks one.
        """
        of_each = np.array([len(one["input_ids"]) for one in self.tokens] + [0], dtype=np.int64)  # last: NONE
        longest: np.ndarray = np.max([of_each[column] for column in columns], axis=0)
        return longest * len(columns)

    def batch(self, tokenizer: PreTrainedTokenizerBase, numbers: np.ndarray) -> dict[str, torch.Tensor]:
        """Return sentences padded to the longest of them."""
        return padded(tokenizer, [self.tokens[number] for number in numbers])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Triplets:
    """Entailed pairs, each with a sentence that contradicts its premise where there is one."""

    anchor: np.ndarray
    """Number of the premise, int64 (n,)."""

    positive: np.ndarray
    """Number of the hypothesis that it entails, int64 (n,)."""

    negative: np.ndarray
    """Number of one that contradicts it, or `NONE`, int64 (n,)."""

    pair: np.ndarray
    """Number of the entailed pair, int64 (n,)."""


def tokenised_pairs(
    corpus: Corpus, split: str, tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> Pairs:
    """Return a split of a corpus of pairs, tokenised."""
    rows = corpus.rows(split=split)
    table = corpus.table.iloc[rows]
    codes, sentences = pd.factorize(np.concatenate([table["text"], table["text_pair"]]))
    return Pairs(
        tokens=tokenise(tokenizer, [(text, "") for text in sentences], max_length),
        premise=codes[: len(rows)].astype(np.int64),
        hypothesis=codes[len(rows) :].astype(np.int64),
        y=corpus.y[rows],
        language=table["language"].to_numpy(dtype=str),
        ids=tuple(table["id"]),
    )


def find_triplets(pairs: Pairs, codes: Codes) -> Triplets:
    """Match the k-th pair that a premise entails with the k-th that contradicts it, in turns."""
    against: dict[int, list[int]] = {}
    if codes.contradiction is not None:
        rows = np.flatnonzero(pairs.y == codes.contradiction)
        for premise, hypothesis in zip(pairs.premise[rows], pairs.hypothesis[rows], strict=True):
            against.setdefault(int(premise), []).append(int(hypothesis))
    entailed = np.flatnonzero(pairs.y == codes.entailment)
    turns: dict[int, int] = {}
    negative = np.full(len(entailed), NONE, dtype=np.int64)
    for k, premise in enumerate(pairs.premise[entailed].tolist()):
        if premise in against:
            turn = turns.get(premise, 0)
            negative[k] = against[premise][turn % len(against[premise])]
            turns[premise] = turn + 1
    return Triplets(
        anchor=pairs.premise[entailed],
        positive=pairs.hypothesis[entailed],
        negative=negative,
        pair=entailed,
    )


def no_wrong_answers(anchor: np.ndarray, positive: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return a mask of the candidates that are no wrong answer to an anchor, bool (n, n + m).

    Parameters
    ----------
    anchor, positive : ndarray of int64, (n,)
        Sentences; the candidates are `positive` and then `others`.
    others : ndarray of int64, (m,)
        Sentences that contradict an anchor.

    Returns
    -------
    ndarray
        True where the candidate is the same sentence as the anchor or its positive, or is entailed by the
        same anchor; never for an anchor's own positive.
    """
    candidates = np.concatenate([positive, others])
    blocked: np.ndarray = (candidates == positive[:, None]) | (candidates == anchor[:, None])
    blocked[:, : len(anchor)] |= anchor == anchor[:, None]
    blocked[np.arange(len(anchor)), np.arange(len(anchor))] = False
    return blocked


def classification_of_pairs(tokenizer: PreTrainedTokenizerBase, train: Pairs, dev: Pairs) -> TrainingData:
    """Return the task of the objective ``softmax``; its score is the accuracy over a language's pairs."""

    def collate(numbers: list[int]) -> dict[str, Any]:
        return {
            **train.batch(tokenizer, train.premise[numbers]),
            "other": train.batch(tokenizer, train.hypothesis[numbers]),
            "labels": torch.from_numpy(train.y[numbers]),
        }

    return TrainingData(
        rows=range(len(train.ids)),
        lengths=train.lengths(train.premise, train.hypothesis),
        ids=train.ids,
        token_ids=ids_in_use(tokenizer, [*train.tokens, *dev.tokens]),
        collate=collate,
        evaluate=lambda model: score_pairs(model, tokenizer, dev),
    )


def score_pairs(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Pairs) -> DevScores:
    """Return scores of a siamese encoder as a classifier of pairs, and the predicted codes."""
    states = compute_states(model, tokenizer, pairs.tokens, together=True)
    require_finite(states)
    logits = _classify(model, states, pairs)
    require_finite(logits)
    return _scored(logits, pairs.y, pairs.language)


def _classify(model: PreTrainedModel, states: np.ndarray, pairs: Pairs) -> np.ndarray:
    """Return the objective's logits of each pair, float32 (n_pairs, n_labels)."""
    objective = cast(nn.Module, model.objective)
    outputs = np.empty((len(pairs.ids), int(model.config.num_labels or 0)), dtype=np.float32)
    was_training = objective.training
    objective.train(False)
    with torch.inference_mode():
        for start in range(0, len(outputs), PAIRS_AT_ONCE):
            part = slice(start, start + PAIRS_AT_ONCE)
            u, v = (
                torch.from_numpy(states[column[part]]).to(model.device)
                for column in (pairs.premise, pairs.hypothesis)
            )
            outputs[part] = objective(u, v).cpu().numpy()
    objective.train(was_training)
    return outputs


def ranking_of_pairs(
    tokenizer: PreTrainedTokenizerBase, train: Pairs, dev: Pairs, codes: Codes
) -> TrainingData:
    """Return the task of the objective ``ranking``.

    Its score is the share of dev triplets whose premise is nearer to what it entails than to what contradicts
    it, and the loss the cross-entropy of that choice.
    """
    found = find_triplets(train, codes)
    columns = (found.anchor, found.positive, found.negative)
    used = columns if (found.negative != NONE).any() else columns[:2]

    def collate(numbers: list[int]) -> dict[str, Any]:
        anchor, positive, negative = (column[numbers] for column in columns)
        others = np.unique(negative[negative != NONE])
        return {
            **train.batch(tokenizer, anchor),
            "other": train.batch(tokenizer, np.concatenate([positive, others])),
            "blocked": torch.from_numpy(no_wrong_answers(anchor, positive, others)),
            "labels": torch.arange(len(numbers)),
        }

    return TrainingData(
        rows=range(len(found.pair)),
        lengths=train.lengths(*used),
        ids=tuple(train.ids[pair] for pair in found.pair),
        token_ids=ids_in_use(tokenizer, [*train.tokens, *dev.tokens]),
        collate=collate,
        evaluate=lambda model: score_triplets(model, tokenizer, dev, codes),
    )


def score_triplets(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, pairs: Pairs, codes: Codes
) -> DevScores:
    """Return scores of the choice between a contradicting and an entailed sentence, and the choices.

    Returns
    -------
    mapping of str to Score
        Of each language that has both for a premise; equally near ones are a wrong choice.
    ndarray
        1 where the entailed one is nearer, else 0, int64 (n_triplets,).
    """
    found = find_triplets(pairs, codes)
    kept = found.negative != NONE
    states = compute_states(model, tokenizer, pairs.tokens, together=True)
    require_finite(states)
    units = torch.nn.functional.normalize(torch.from_numpy(states), dim=-1).numpy()
    anchor = units[found.anchor[kept]]
    logits = model.config.scale * np.stack(
        [(anchor * units[side[kept]]).sum(axis=1) for side in (found.negative, found.positive)], axis=1
    )
    right = np.ones(len(logits), dtype=np.int64)
    return _scored(logits, right, pairs.language[found.pair[kept]])


def _scored(logits: np.ndarray, y: np.ndarray, language: np.ndarray) -> DevScores:
    predicted = logits.argmax(axis=1).astype(np.int64)
    return DevScores(scores=score_languages(logits, y, language), predicted=predicted)
