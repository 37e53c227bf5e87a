"""Train the small multilingual encoder that ships in ``samples/encoder``.

From parallel sentences alone: masked-language modelling on both sides plus symmetric translation ranking over
mean-pooled last-layer states. Every sentence of the held-out folder (Tatoeba test sets, LASER layout) is
dropped first.

    python samples/train_encoder.py --parallel DIR --held-out tatoeba/v1 --out samples/encoder --minutes 60
    python samples/train_encoder.py --parallel DIR --held-out tatoeba/v1 --init samples/encoder --out NEW
    --minutes 60

``DIR`` holds ``en-xx.tsv.gz`` files: a header line, then one tab-separated pair a line, no quoting.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import logging
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from torch.nn import functional
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

log = logging.getLogger("train_encoder")

SPECIALS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PAD, _, CLS, SEP, MASK = range(5)
ATTENTION = "eager"  # twice as fast here as SDPA, whose masked bf16 backward is slow on a CPU
TEMPERATURE = 0.05  # of the ranking softmax; cosine similarities live in [-1, 1]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pairs:
    """Tokenised parallel sentences of all languages, with the language of each pair."""

    english: list[list[int]]
    foreign: list[list[int]]
    language: np.ndarray  # (n_pairs,) index into `languages`
    languages: list[str]


def read_parallel(folder: Path, held_out: set[str]) -> dict[str, list[tuple[str, str]]]:
    """Read every ``en-xx.tsv.gz`` of `folder`, leaving out pairs that touch a held-out sentence."""
    found = {}
    for path in sorted(folder.glob("en-*.tsv.gz")):
        with gzip.open(path, "rt", encoding="utf-8", newline="\n") as lines:
            next(lines)
            rows = [tuple(line.rstrip("\n").split("\t")) for line in lines]
        kept = [(r[0], r[1]) for r in rows if len(r) == 2 and not ({_key(r[0]), _key(r[1])} & held_out)]
        log.info("%s: %d pairs, %d left out", path.name, len(kept), len(rows) - len(kept))
        found[path.name.split(".")[0].removeprefix("en-")] = kept
    if not found:
        raise SystemExit(f"{folder}: no en-*.tsv.gz file here")
    return found


def read_held_out(folder: Path | None) -> set[str]:
    """Return the normalised sentences of every file in `folder` (Tatoeba test sets, one sentence a line)."""
    if folder is None:
        return set()
    files = [p for p in folder.iterdir() if p.is_file()]
    return {_key(line) for p in files for line in p.read_text(encoding="utf-8").splitlines()}


def _key(sentence: str) -> str:
    return "".join(c for c in sentence.casefold() if c.isalnum())


def train_tokenizer(texts: Iterator[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """Train a lower-casing, accent-stripping WordPiece vocabulary, as uncased M-BERT has."""
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=True)
    tok.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tok.decoder = decoders.WordPiece()
    tok.train_from_iterator(
        texts,
        trainers.WordPieceTrainer(
            vocab_size=vocab_size, special_tokens=SPECIALS, limit_alphabet=6000, min_frequency=2
        ),
    )
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
    )


def tokenise(parallel: dict[str, list[tuple[str, str]]], tok: PreTrainedTokenizerFast, cut: int) -> Pairs:
    """Tokenise all pairs, each side cut at `cut` tokens."""
    flat = [(i, a, b) for i, rows in enumerate(parallel.values()) for a, b in rows]
    ids = [tok([r[k] for r in flat], truncation=True, max_length=cut)["input_ids"] for k in (1, 2)]
    return Pairs(
        english=ids[0],
        foreign=ids[1],
        language=np.array([r[0] for r in flat]),
        languages=list(parallel),
    )


def batches(pairs: Pairs, tokens: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield batches of pair indices for ever: similar lengths together, about `tokens` padded tokens each.

    Languages are drawn with probability proportional to size ** 0.7, which lifts the small ones.
    """
    counts = np.bincount(pairs.language, minlength=len(pairs.languages)).astype(float)
    weight = (counts**0.7 / counts)[pairs.language]
    weight /= weight.sum()
    lengths = np.array([max(len(a), len(b)) for a, b in zip(pairs.english, pairs.foreign, strict=True)])
    while True:
        draw = rng.choice(len(weight), size=16_384, p=weight)
        draw = draw[np.argsort(lengths[draw] + rng.random(len(draw)), kind="stable")]
        starts, start = [], 0
        while start < len(draw):
            stop = start + 8
            while stop < len(draw) and 2 * (stop - start + 1) * lengths[draw[stop]] <= tokens:
                stop += 1
            starts.append((start, stop))
            start = stop
        for k in rng.permutation(len(starts)):
            yield np.unique(draw[slice(*starts[k])])


def masked(ids: torch.Tensor, vocab_size: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask 15% of the real tokens (80% [MASK], 10% random, 10% kept); return inputs and chosen positions."""
    chosen = (torch.rand(ids.shape, generator=rng) < 0.15) & (ids > MASK)
    fate = torch.rand(ids.shape, generator=rng)
    noise = torch.randint(MASK + 1, vocab_size, ids.shape, generator=rng)
    out = torch.where(chosen & (fate < 0.8), torch.tensor(MASK), ids)
    return torch.where(chosen & (fate >= 0.9), noise, out), chosen


def loss_of(
    model: BertForMaskedLM, ids: torch.Tensor, inputs: torch.Tensor, chosen: torch.Tensor
) -> tuple[torch.Tensor, dict[str, float]]:
    """Masked-token loss plus symmetric ranking loss; rows are n English sides, then their n partners."""
    attention_mask = (ids != PAD).long()
    states = model.bert(inputs, attention_mask=attention_mask).last_hidden_state  # (2n, seq, hidden)
    logits = model.cls(states[chosen]).float()
    mlm = functional.cross_entropy(logits, ids[chosen])
    weights = attention_mask.unsqueeze(-1).float()
    pooled = functional.normalize((states.float() * weights).sum(1) / weights.sum(1), dim=-1)
    a, b = pooled.chunk(2)
    scores = a @ b.T / TEMPERATURE  # (n, n)
    gold = torch.arange(len(a), device=ids.device)
    rank = (functional.cross_entropy(scores, gold) + functional.cross_entropy(scores.T, gold)) / 2
    figures = {
        "mlm_accuracy": (logits.argmax(-1) == ids[chosen]).float().mean().item(),
        "ranking_accuracy": (scores.argmax(-1) == gold).float().mean().item(),
    }
    return mlm + rank, figures


def train(model: BertForMaskedLM, pairs: Pairs, args: argparse.Namespace) -> dict[str, float]:
    """Train until the steps or the minutes are used up; the schedule follows whichever is nearer its end."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.to(device).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
    )
    rng, torch_rng = np.random.default_rng(args.seed), torch.Generator().manual_seed(args.seed)
    begin, step, smooth = time.monotonic(), 0, {"mlm_accuracy": 0.0, "ranking_accuracy": 0.0}
    for step, batch in enumerate(batches(pairs, args.tokens, rng), start=1):
        done = max(step / args.steps, (time.monotonic() - begin) / (60 * args.minutes))
        if done >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = args.lr * min(step / 500, 1.0) * (1 - done)
        rows = [pairs.english[i] for i in batch] + [pairs.foreign[i] for i in batch]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
        inputs, chosen = masked(ids, model.config.vocab_size, torch_rng)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            loss, figures = loss_of(model, ids.to(device), inputs.to(device), chosen.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        keep = max(0.99, 1 - 1 / step) if step > 100 else 1 - 1 / step
        smooth = {k: keep * smooth[k] + (1 - keep) * v for k, v in figures.items()}
        if step % 100 == 0:
            log.info("step %d  loss %.3f  %s  %.0f%%", step, loss.item(), json.dumps(smooth), 100 * done)
        if not math.isfinite(loss.item()):
            raise SystemExit(f"step {step}: the loss is not finite; lower --lr")
    return {**smooth, "steps": float(step), "seconds": time.monotonic() - begin}


def main() -> None:
    """Read the pairs, make or load tokenizer and model, train, save float16 safetensors."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args = parse_args()
    torch.manual_seed(args.seed)
    parallel = read_parallel(args.parallel, read_held_out(args.held_out))
    if args.init is not None:
        tok = AutoTokenizer.from_pretrained(args.init)
        model = BertForMaskedLM.from_pretrained(args.init, dtype=torch.float32, attn_implementation=ATTENTION)
    else:
        tok = train_tokenizer((s for rows in parallel.values() for r in rows for s in r), args.vocab_size)
        model = BertForMaskedLM(
            BertConfig(
                vocab_size=len(tok),
                hidden_size=128,
                num_hidden_layers=12,
                num_attention_heads=4,
                intermediate_size=512,
                max_position_embeddings=256,
                hidden_dropout_prob=0.0,
                attention_probs_dropout_prob=0.0,
                attn_implementation=ATTENTION,
            )
        )
    figures = train(model, tokenise(parallel, tok, args.cut), args)
    log.info("done: %s", json.dumps(figures))
    model.bert.to(dtype=torch.float16).save_pretrained(args.out)
    tok.backend_tokenizer.no_truncation()  # else the cut used here would be saved with it
    tok.save_pretrained(args.out)


def parse_args() -> argparse.Namespace:
    """Declare and read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--parallel", type=Path, required=True, help="folder of en-xx.tsv.gz files")
    parser.add_argument("--held-out", type=Path, help="folder whose sentences must not be trained on")
    parser.add_argument("--init", type=Path, help="continue from this encoder, not from new weights")
    parser.add_argument("--out", type=Path, required=True, help="folder to write the encoder to")
    parser.add_argument("--steps", type=int, default=1_000_000, help="stop after this many steps")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this many minutes")
    parser.add_argument("--tokens", type=int, default=4096, help="padded tokens a batch")
    parser.add_argument("--cut", type=int, default=96, help="tokens kept of each sentence")
    parser.add_argument("--lr", type=float, default=1e-3, help="peak learning rate")
    parser.add_argument("--vocab-size", type=int, default=13_312, help="WordPiece vocabulary, without --init")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
