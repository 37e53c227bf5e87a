"""Sentence pairs to train an encoder on: read, held out, set aside for dev, tokenised, drawn in batches."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

log = logging.getLogger("pairs")

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, _, CLS, SEP, MASK = range(5)
AT_ONCE = 16_384  # texts drawn, sorted by length and cut into batches
LIFT = 0.5  # a language of n pairs is drawn in proportion to n ** LIFT, which lifts the small ones
DEV_PAIRS = 500  # of a language, at most a tenth of it
JOINED = 0.2  # share of training texts made of two to four pairs: the corpora have one short sentence a line

Parallel = dict[str, list[tuple[str, str]]]


def read_parallel(folder: Path, languages: Sequence[str], held_out: set[str]) -> Parallel:
    """Read ``en-xx.tsv.gz`` of `folder`, leaving out pairs that touch a held-out sentence.

    Returns
    -------
    dict
        Language -> distinct (English, other) pairs; of all languages there if none are named.
    """
    found = {}
    for path in sorted(folder.glob("en-*.tsv.gz")):
        language = path.name.split(".")[0].removeprefix("en-")
        if languages and language not in languages:
            continue
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            next(lines)
            rows = dict.fromkeys(tuple(line.rstrip("\r\n").split("\t")) for line in lines)
        kept = [(r[0], r[1]) for r in rows if len(r) == 2 and not ({key(r[0]), key(r[1])} & held_out)]
        log.info("%s: %d pairs, %d left out", path.name, len(kept), len(rows) - len(kept))
        found[language] = kept
    if not found or set(languages) - found.keys():
        raise SystemExit(
            f"{folder}: no en-*.tsv.gz of {sorted(set(languages) - found.keys()) or 'any language'}"
        )
    return found


def read_held_out(places: Iterable[Path]) -> set[str]:
    """Return the normalised sentences of files and folders: every cell of a CSV, every line of others."""
    paths = [p for place in places for p in ([place] if place.is_file() else sorted(place.rglob("*")))]
    found: set[str] = set()
    for path in paths:
        if path.suffix == ".csv":
            with path.open(encoding="utf-8", newline="") as file:
                found.update(key(cell) for row in csv.reader(file) for cell in row)
        elif path.is_file() and path.suffix != ".md":
            found.update(key(line) for line in path.read_text(encoding="utf-8").splitlines())
    return found - {""}


def key(sentence: str) -> str:
    """Return the letters and digits of a sentence, without case: what makes two sentences the same."""
    return "".join(c for c in sentence.casefold() if c.isalnum())


def set_aside(parallel: Parallel) -> tuple[Parallel, Parallel]:
    """Split the pairs into those to train on and dev pairs, which share no sentence with any of the first.

    The dev pairs of a language are those whose English side has the lowest checksums, so they stay the same
    when other pairs or languages are added.
    """
    dev = {}
    for language, rows in parallel.items():
        order = sorted(rows, key=lambda r: hashlib.sha256(key(r[0]).encode()).digest())
        once = list({key(r[0]): r for r in reversed(order)}.values())[::-1]
        dev[language] = once[: min(DEV_PAIRS, len(rows) // 10)]
    seen = {key(s) for rows in dev.values() for r in rows for s in r}
    train = {
        language: [r for r in rows if not ({key(r[0]), key(r[1])} & seen)]
        for language, rows in parallel.items()
    }
    log.info("dev: %s", {k: len(v) for k, v in dev.items()})
    log.info("train: %s", {k: len(v) for k, v in train.items()})
    return train, dev


def train_tokenizer(parallel: Parallel, vocab_size: int, uncased: bool) -> PreTrainedTokenizerFast:
    """Train a WordPiece vocabulary, cased with its marks, or without both as uncased M-BERT's.

    The sentences of small languages are repeated, in the proportion in which they will be drawn.
    """
    most = max(len(rows) for rows in parallel.values())
    texts = (
        side
        for rows in parallel.values()
        for _ in range(round((most / max(len(rows), 1)) ** (1 - LIFT)))
        for pair in rows
        for side in pair
    )
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.BertNormalizer(lowercase=uncased, strip_accents=uncased)]
    )
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=vocab_size,
        special_tokens=SPECIALS,
        limit_alphabet=6000,
        min_frequency=2,
        show_progress=False,
    )
    tok.train_from_iterator(texts, trainer)
    tok.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", CLS), ("[SEP]", SEP)],
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tok,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=256,
        do_lower_case=uncased,
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Tokenised parallel sentences of all languages."""

    sides: tuple[list[list[int]], list[list[int]]]
    """Token numbers of the English and of the other sentences, without special tokens."""
    language: np.ndarray
    """(n_pairs,) number of each pair's language."""
    english: np.ndarray
    """(n_pairs,) number of each pair's English sentence among `sentences`."""
    sentences: list[str]
    """Distinct English sentences."""

    @classmethod
    def of(cls, parallel: Parallel, tok: PreTrainedTokenizerBase) -> Pairs:
        """Tokenise all pairs."""
        rows = [r for pairs in parallel.values() for r in pairs]
        sentences = list(dict.fromkeys(r[0] for r in rows))
        at = {s: k for k, s in enumerate(sentences)}
        english, other = (
            tok([r[side] for r in rows], add_special_tokens=False, verbose=False)["input_ids"]
            for side in (0, 1)
        )
        return cls(
            sides=(english, other),
            language=np.repeat(np.arange(len(parallel)), [len(pairs) for pairs in parallel.values()]),
            english=np.array([at[r[0]] for r in rows]),
            sentences=sentences,
        )

    def text(self, side: int, joined: Sequence[int], cut: int) -> list[int]:
        """Return the token numbers of one side of joined pairs, special tokens included, at most `cut`."""
        return [CLS, *[i for pair in joined for i in self.sides[side][pair]][: cut - 2], SEP]


def batches(pairs: Pairs, tokens: int, cut: int, seed: int) -> Iterator[list[tuple[int, ...]]]:
    """Yield batches of training texts for ever: similar lengths together, about `tokens` padded tokens each.

    Yields
    ------
    list of tuple of int
        A text is one pair, or two to four pairs of a language joined. The n-th batch depends on the arguments
        alone, so a training that goes on skips those it has seen.
    """
    counts = np.bincount(pairs.language).astype(float)
    share = counts**LIFT / (counts**LIFT).sum()
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(int)
    lengths = np.maximum(*([len(ids) for ids in side] for side in pairs.sides))
    rng = np.random.default_rng(seed)
    while True:
        language = rng.choice(len(counts), size=AT_ONCE, p=share)
        drawn = starts[language, None] + (rng.random((AT_ONCE, 4)) * counts[language, None]).astype(int)
        n_joined = np.where(rng.random(AT_ONCE) < JOINED, rng.integers(2, 5, AT_ONCE), 1)
        used = np.arange(4) < n_joined[:, None]
        length = np.minimum((lengths[drawn] * used).sum(axis=1) + 2, cut)
        order = np.argsort(length + rng.random(AT_ONCE), kind="stable")
        cuts = _cuts(length[order], tokens)
        for k in rng.permutation(len(cuts) - 1):
            yield [tuple(drawn[i, : n_joined[i]].tolist()) for i in order[cuts[k] : cuts[k + 1]]]


def _cuts(lengths: np.ndarray, tokens: int) -> list[int]:
    """Return where batches of about `tokens` padded tokens on both sides begin and the last one ends."""
    cuts = [0]
    for stop in range(1, len(lengths)):
        if 2 * (stop - cuts[-1] + 1) * lengths[stop] > tokens and stop - cuts[-1] >= 8:
            cuts.append(stop)
    return [*cuts, len(lengths)]
