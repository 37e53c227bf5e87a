"""Train the small multilingual encoder that ships in ``samples/encoder``.

From parallel sentences and a teacher encoder, by masked-language modelling, translation ranking and
distillation: the mean-pooled states of both sides of a pair learn the place that the teacher's vector of the
English side has among its vectors of other sentences (after Reimers and Gurevych 2020). Sentences of the
held-out files (Tatoeba test sets, the samples' texts) are dropped first, and some pairs of each language are
set aside as dev.

    python samples/train_encoder.py --parallel DIR --held-out tatoeba/v1 samples/intents samples/nli
    samples/sts --teacher multilingual-e5-small --teacher-prompt "query: " --out OUT --steps 40000

``DIR`` holds ``en-xx.tsv.gz`` files: a header line, then one tab-separated pair a line, no quoting.
``OUT/encoder`` is the encoder, written anew with each checkpoint. ``OUT`` also keeps the teacher's vectors,
the tokenizer and the checkpoint: the same command goes on where it was stopped, and with more steps it goes
on after the end.
"""

from __future__ import annotations

import argparse
import copy
import itertools
import json
import logging
import math
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import AutoTokenizer, BertConfig, BertForMaskedLM, PreTrainedTokenizerBase

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from mcbert.files.whole import write_bytes, writing_folder
from mcbert.samples.pairs import (
    MASK,
    PAD,
    Pairs,
    Parallel,
    batches,
    read_held_out,
    read_parallel,
    set_aside,
    train_tokenizer,
)
from mcbert.samples.teacher import Teacher, reduce

log = logging.getLogger("train_encoder")

ATTENTION = "eager"  # twice as fast here as SDPA, whose masked bf16 backward is slow on a CPU
TEMPERATURE = 0.05  # of the softmaxes over cosine similarities, which live in [-1, 1]
WARM_UP = 500  # steps
DECAY = 0.3  # share of the training, its last, in which the rate falls to 0
AVERAGE = 0.999  # of the weights, which are what is shipped
BANK = 4096  # vectors of other sentences that the teacher's own must be told from
CHECKPOINT = "checkpoint.safetensors"


def masked(ids: torch.Tensor, vocab_size: int, rng: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Mask 15% of the real tokens (80% [MASK], 10% random, 10% kept); return inputs and chosen positions."""
    chosen = (torch.rand(ids.shape, generator=rng) < 0.15) & (ids > MASK)
    fate = torch.rand(ids.shape, generator=rng)
    noise = torch.randint(MASK + 1, vocab_size, ids.shape, generator=rng)
    out = torch.where(chosen & (fate < 0.8), torch.tensor(MASK), ids)
    return torch.where(chosen & (fate >= 0.9), noise, out), chosen


def pooled(states: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """Return unit vectors of mean-pooled states, (n, hidden), float32."""
    weights = attention_mask.unsqueeze(-1).float()
    return functional.normalize((states.float() * weights).sum(1) / weights.sum(1), dim=-1)


def ranking_loss(vectors: torch.Tensor, same: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the symmetric cross-entropy of each side's partner among the batch, and the share found.

    Parameters
    ----------
    vectors : Tensor
        (2n, hidden) unit vectors: n English sides, then their n partners.
    same : Tensor of bool
        (n, n): pairs whose English sides are equal, which are no negatives of one another.
    """
    english, other = vectors.chunk(2)
    scores = english @ other.T / TEMPERATURE  # (n, n)
    gold = torch.arange(len(scores), device=scores.device)
    scores = scores.masked_fill(same & ~torch.eye(len(scores), dtype=torch.bool, device=scores.device), -1e4)
    loss = (functional.cross_entropy(scores, gold) + functional.cross_entropy(scores.T, gold)) / 2
    return loss, (scores.T.argmax(-1) == gold).float().mean()


def distillation_loss(vectors: torch.Tensor, own: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each side's similarities to the teacher's vectors with the teacher's own.

    Parameters
    ----------
    vectors : Tensor
        (2n, hidden) unit vectors: n English sides, then their n partners.
    own : Tensor
        (n, hidden): the teacher's vectors of the English sides.
    bank : Tensor
        (m, hidden): the teacher's vectors of other sentences, any of which may be like one of `own`.
    """
    candidates = torch.cat([own, bank])  # (n + m, hidden)
    wanted = (own @ candidates.T / TEMPERATURE).softmax(-1).repeat(2, 1)  # (2n, n + m)
    return functional.cross_entropy(vectors @ candidates.T / TEMPERATURE, wanted)


def rate(step: int, done: float, peak: float) -> float:
    """Return the learning rate: it warms up, is constant, then falls to 0 in the last `DECAY` of training."""
    return peak * min(1.0, step / WARM_UP, (1 - done) / DECAY)


class Training:
    """Weights, their moving average and their optimiser, with what a step needs; saved whole and resumed.

    Parameters
    ----------
    model : BertForMaskedLM
        With new weights, or those of an encoder to go on from.
    pairs : Pairs
        To train on.
    targets : dict of Tensor
        Layer -> (n_sentences, hidden) unit vectors of the teacher, of `pairs.sentences`; may be empty.
    """

    def __init__(
        self,
        model: BertForMaskedLM,
        pairs: Pairs,
        targets: Mapping[int, torch.Tensor],
        args: argparse.Namespace,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model, self.pairs, self.targets, self.args = model.to(self.device).train(), pairs, targets, args
        self.average = AveragedModel(self.model, multi_avg_fn=get_ema_multi_avg_fn(AVERAGE))
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(), lr=args.lr, betas=(0.9, 0.98), weight_decay=0.01, fused=True
        )
        self.step, self.seconds = 0, 0.0

    def loss_of(self, batch: list[tuple[int, ...]]) -> tuple[torch.Tensor, dict[str, float]]:
        """Return the sum of the losses on one batch, and figures to log."""
        rng = torch.Generator().manual_seed(self.args.seed * 1_000_003 + self.step)
        rows = [self.pairs.text(side, joined, self.args.cut) for side in (0, 1) for joined in batch]
        ids = torch.nn.utils.rnn.pad_sequence([torch.tensor(r) for r in rows], batch_first=True)
        modelling = self.step % self.args.mask_every == 0
        inputs, chosen = masked(ids, self.model.config.vocab_size, rng) if modelling else (ids, ids < 0)
        ids, inputs, chosen = ids.to(self.device), inputs.to(self.device), chosen.to(self.device)
        attention_mask = (ids != PAD).long()
        with torch.autocast(self.device.type, dtype=torch.bfloat16):
            states = self.model.bert(
                inputs, attention_mask=attention_mask, output_hidden_states=True
            ).hidden_states  # layers x (2n, seq, hidden)
            logits = self.model.cls(states[-1][chosen]).float()
        first = self.pairs.english[[joined[0] for joined in batch]]
        alone = np.array([len(joined) == 1 for joined in batch])
        same = torch.from_numpy((first[:, None] == first) & alone[:, None] & alone).to(self.device)
        loss, found = ranking_loss(pooled(states[-1], attention_mask), same)
        figures = {"ranking_accuracy": found.item()}
        if modelling:
            loss = loss + functional.cross_entropy(logits, ids[chosen])
            figures["mlm_accuracy"] = (logits.argmax(-1) == ids[chosen]).float().mean().item()
        for layer, known in self.targets.items():
            distilled = distillation_loss(
                pooled(states[layer], attention_mask), *self.taught(batch, known, rng)
            )
            figures[f"distillation_{layer}"] = distilled.item()
            loss = loss + distilled
        return loss, figures

    def taught(
        self, batch: list[tuple[int, ...]], known: torch.Tensor, rng: torch.Generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the teacher's vectors of a batch, of joined pairs their mean, and those of others."""
        own = torch.stack([known[self.pairs.english[list(joined)]].float().sum(0) for joined in batch])
        others = torch.randint(len(known), (BANK,), generator=rng)
        return functional.normalize(own, dim=-1).to(self.device), known[others].float().to(self.device)

    def run(self) -> Iterator[tuple[float, dict[str, float]]]:
        """Train until the steps or the minutes are used up; yield the share done and figures of each step."""
        drawn = batches(self.pairs, self.args.tokens, self.args.cut, self.args.seed)
        for batch in itertools.islice(drawn, self.step, None):
            begin = time.monotonic()
            done = max(self.step / self.args.steps, self.seconds / (60 * self.args.minutes))
            if done >= 1:
                return
            for group in self.optimizer.param_groups:
                group["lr"] = rate(self.step + 1, done, self.args.lr)
            loss, figures = self.loss_of(batch)
            if not math.isfinite(loss.item()):
                raise SystemExit(f"step {self.step}: the loss is not finite; lower --lr")
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            self.optimizer.step()
            self.average.update_parameters(self.model)
            self.step += 1
            self.seconds += time.monotonic() - begin
            yield done, figures

    def save(self, path: Path) -> None:
        """Write weights, average, optimiser, step and seconds to one file, which is whole or as it was."""
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.module.state_dict().items()}
        for number, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{number}.{k}": v for k, v in state.items()}
        whole = {k: v.detach().cpu().clone().contiguous() for k, v in tensors.items()}
        figures = {"step": self.step, "seconds": self.seconds, "pairs": len(self.pairs.language)}
        write_bytes(path, save(whole, {"figures": json.dumps(figures)}))

    def resume(self, path: Path) -> None:
        """Take all that `save` wrote; the next step is the one that would have followed."""
        with safe_open(path, "pt") as file:
            figures = json.loads(file.metadata()["figures"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no mapping)
        if figures["pairs"] != len(self.pairs.language):
            raise SystemExit(f"{path}: made of {figures['pairs']} pairs, not of {len(self.pairs.language)}")
        parts: dict[str, dict[str, torch.Tensor]] = {"model": {}, "average": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = tensor
        self.model.load_state_dict(parts["model"])
        self.average.module.load_state_dict(parts["average"])
        states: dict[int, dict[str, torch.Tensor]] = {}
        for name, tensor in parts["optimizer"].items():
            number, kind = name.split(".", 1)
            states.setdefault(int(number), {})[kind] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": states})
        self.average.n_averaged.fill_(figures["step"])
        self.step, self.seconds = figures["step"], figures["seconds"]
        log.info("%s: going on after step %d", path, self.step)


@torch.no_grad()
def dev_accuracy(
    model: BertForMaskedLM, tok: PreTrainedTokenizerBase, dev: Parallel, layers: list[int], cut: int
) -> dict[str, list[float]]:
    """Return for each language the share of dev sentences whose nearest English one is their own, by layer.

    Candidates are the English dev sentences of all languages.
    """
    english = list(dict.fromkeys(r[0] for rows in dev.values() for r in rows))
    texts = [*english, *(r[1] for rows in dev.values() for r in rows)]
    ids = tok(texts, truncation=True, max_length=cut)["input_ids"]
    out = torch.empty(len(layers), len(texts), model.config.hidden_size)
    device = next(model.parameters()).device
    for rows in np.array_split(np.argsort([len(i) for i in ids]), len(ids) // 64 + 1):
        batch = torch.nn.utils.rnn.pad_sequence([torch.tensor(ids[r], device=device) for r in rows], True)
        with torch.autocast(device.type, dtype=torch.bfloat16):
            states = model.bert(
                batch, attention_mask=(batch != PAD).long(), output_hidden_states=True
            ).hidden_states
        for k, layer in enumerate(layers):
            out[k, rows] = pooled(states[layer], batch != PAD).cpu()
    at, start, found = {s: k for k, s in enumerate(english)}, len(english), {}
    for language, pairs in dev.items():
        gold = torch.tensor([at[r[0]] for r in pairs])
        sides = out[:, start : start + len(pairs)] @ out[:, : len(english)].transpose(1, 2)
        found[language] = [round(v, 4) for v in (sides.argmax(-1) == gold).float().mean(-1).tolist()]
        start += len(pairs)
    return found


def keep(training: Training, tok: PreTrainedTokenizerBase, dev: Parallel, args: argparse.Namespace) -> None:
    """Write the checkpoint and the averaged encoder in float16; add the dev accuracies to ``dev.jsonl``."""
    training.save(args.out / CHECKPOINT)
    average = training.average.module
    layers = list(range(0, average.config.num_hidden_layers + 1, 2))
    found = dev_accuracy(average, tok, dev, layers, args.cut)
    row = {"step": training.step, "seconds": round(training.seconds), "layers": layers, "accuracy": found}
    with (args.out / "dev.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
    log.info("dev, last layer: %s", rounded({k: v[-1] for k, v in found.items()}))
    tok.backend_tokenizer.no_truncation()  # else the cut used here would be saved with it
    with writing_folder(args.out / "encoder") as folder:
        copy.deepcopy(average.bert).half().save_pretrained(folder)
        tok.save_pretrained(folder)


def main() -> None:
    """Read the pairs, make or load tokenizer and model, train on from the checkpoint, save the encoder."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args = parse_args()
    torch.manual_seed(args.seed)
    train, dev = set_aside(read_parallel(args.parallel, args.languages, read_held_out(args.held_out)))
    args.out.mkdir(parents=True, exist_ok=True)
    tok, model = begun(args, train)
    pairs = Pairs.of(train, tok)
    training = Training(model, pairs, targets_of(args, pairs.sentences), args)
    if (args.out / CHECKPOINT).exists():
        training.resume(args.out / CHECKPOINT)
    smooth: dict[str, float] = {}
    saved = time.monotonic()
    for done, figures in training.run():
        for name, value in figures.items():
            smooth[name] = value + 0.99 * (smooth.get(name, value) - value)
        if training.step % 100 == 0:
            log.info("step %d  %.1f%%  %s", training.step, 100 * done, rounded(smooth))
        if time.monotonic() - saved > 60 * args.checkpoint_minutes:
            keep(training, tok, dev, args)
            saved = time.monotonic()
    keep(training, tok, dev, args)
    log.info("done: %d steps, %.0f seconds, %s", training.step, training.seconds, rounded(smooth))


def rounded(figures: dict[str, float]) -> str:
    """Return figures as JSON, three decimals each."""
    return json.dumps({k: round(v, 3) for k, v in figures.items()})


def begun(args: argparse.Namespace, train: Parallel) -> tuple[PreTrainedTokenizerBase, BertForMaskedLM]:
    """Return tokenizer and model: of this work folder, of the encoder to go on from, or new."""
    kept = args.out / "tokenizer"
    if args.init is not None:
        tok = AutoTokenizer.from_pretrained(args.init)
        return tok, BertForMaskedLM.from_pretrained(
            args.init, dtype=torch.float32, attn_implementation=ATTENTION
        )
    if kept.exists():
        tok = AutoTokenizer.from_pretrained(kept)
    else:
        tok = train_tokenizer(train, args.vocab_size, args.uncased)
        with writing_folder(kept) as folder:
            tok.save_pretrained(folder)
    config = BertConfig(
        vocab_size=len(tok),
        hidden_size=args.hidden_size,
        num_hidden_layers=12,
        num_attention_heads=args.hidden_size // 32,
        intermediate_size=4 * args.hidden_size,
        max_position_embeddings=256,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        attn_implementation=ATTENTION,
    )
    return tok, BertForMaskedLM(config)


def targets_of(args: argparse.Namespace, sentences: list[str]) -> dict[int, torch.Tensor]:
    """Return the teacher's vectors in this encoder's width by layer, none without a teacher."""
    if args.teacher is None:
        return {}
    place = args.out / "teacher"
    teacher = Teacher(args.teacher, place, prompt=args.teacher_prompt, layers=args.teacher_layers)
    states = teacher.vectors(sentences)  # (n_sentences, n_layers, teacher's hidden)
    return {
        layer: reduce(states[:, k], args.hidden_size).half() for k, layer in enumerate(args.teacher_layers)
    }


def parse_args() -> argparse.Namespace:
    """Declare and read the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--parallel", type=Path, required=True, help="folder of en-xx.tsv.gz files")
    add("--languages", nargs="+", default=[], help="those of them to train on; by default all")
    add("--held-out", type=Path, nargs="+", default=[], help="files and folders of sentences not to train on")
    add("--teacher", type=Path, help="Hugging Face folder of the encoder to learn from")
    add("--teacher-prompt", default="", help="prefix of the sentences that the teacher reads")
    add("--teacher-layers", type=int, nargs="+", default=[12], help="its layers, which the same layers learn")
    add("--init", type=Path, help="continue from this encoder, not from new weights")
    add("--out", type=Path, required=True, help="folder of the encoder and of what a run that goes on needs")
    add("--steps", type=int, default=40_000, help="stop after this many steps, of all runs together")
    add("--minutes", type=float, default=math.inf, help="stop after this many minutes of training, likewise")
    add("--checkpoint-minutes", type=float, default=10.0, help="minutes between two checkpoints")
    add("--tokens", type=int, default=4096, help="padded tokens a batch")
    add("--cut", type=int, default=96, help="tokens kept of each text")
    add("--lr", type=float, default=1e-3, help="peak learning rate")
    add("--mask-every", type=int, default=1, help="mask tokens in one step of so many")
    add("--vocab-size", type=int, default=32_768, help="WordPiece vocabulary, without --init")
    add("--uncased", action="store_true", help="lower-case and strip accents, without --init")
    add("--hidden-size", type=int, default=128, help="columns of a layer, without --init")
    add("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
