"""Extraction against the plain ways of doing it, on the same texts in one run.

    python benchmarks/extract.py --stsbenchmark stsbenchmark/ --tatoeba tatoeba/v1/

Ways: (a) the plain loop: batches of 32 in input order, padded to 128, float32, all hidden states kept, then
pooled; (b) the same padded to the longest of the batch; (c) sentence-transformers' encode, mean of the last
layer only; (d) this project: all layers x 3 poolings, cache written and synchronised to the disk. Each way in
turn, several rounds, with the sample encoder and with one of M-BERT's size (12 x 768, random weights), whose
figures the last line repeats as JSON. `matmul_share` is of (d) alone over `--share-texts` texts: the products
that their tokens need, padding not counted, per second, over the rate of those products alone. Without the
two corpora the texts are those of samples/intents; (c) needs `pip install -e '.[sbert]'` and is left out
without it.
"""

from __future__ import annotations

import argparse
import csv
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from transformers import AutoConfig, AutoModel, BertConfig, BertModel
from transformers.utils import logging as hf_logging

from mcbert.features.cache import FeatureStore
from mcbert.features.encoder import hardware
from mcbert.features.encoder.loading import n_layers
from mcbert.features.encoder.pooling import pool
from mcbert.features.encoder.tokens import load_tokenizer, tokenise
from mcbert.features.extraction import extract
from mcbert.features.settings import EncoderSettings, ExtractSettings
from mcbert.features.spec import POOLINGS
from mcbert.pipeline.cli import main as mcbert
from mcbert.results.csv_files import read
from mcbert.results.schema.search import GRIDSEARCH

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
MAX_LENGTH = 128
BATCH = 32
Way = Callable[[Sequence[str]], object]


def main() -> None:
    """Measure, print a table per encoder, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stsbenchmark", type=Path, help="folder with sts-*.csv")
    parser.add_argument("--tatoeba", type=Path, help="folder with tatoeba.<xxx>-eng.<xxx>")
    parser.add_argument("--texts", type=int, default=1024, help="texts of every way, drawn with seed 0")
    parser.add_argument("--share-texts", type=int, default=8192, help="texts of matmul_share")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--encoders", nargs="+", default=["sample", "mbert"], choices=["sample", "mbert"])
    parser.add_argument("--no-search", action="store_true", help="leave out the effect on the winner's F1")
    args = parser.parse_args()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    texts = draw(args)
    figures: dict[str, object] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as scratch:
        for name in args.encoders:
            folder = SAMPLES / "encoder" if name == "sample" else mbert_sized(Path(scratch) / "mbert")
            ways = compare(name, folder, texts[: args.texts], rounds=args.rounds, scratch=Path(scratch))
            share = matmul_share(name, folder, texts, rounds=args.rounds, scratch=Path(scratch))
            error = relative_error(folder, texts[:256], Path(scratch) / f"error-{name}")
            figures[name] = ways | share | {"relative_error": error}
        if not args.no_search:
            figures["winner_f1_change_low_precision"] = winner_f1_change(Path(scratch))
    shown = figures.get("mbert", figures.get("sample"))
    keys = ("vs_padded128", "vs_longest", "vs_sentence_transformers", "matmul_share")
    print(json.dumps(figures | {key: shown.get(key) for key in keys}))


def machine() -> str:
    """Name the device and the threads that products run on."""
    if torch.cuda.is_available():
        return str(torch.cuda.get_device_name())
    return f"{platform.machine()}, {torch.get_num_threads()} threads"


def draw(args: argparse.Namespace) -> list[str]:
    """Return distinct sentences of STS Benchmark and Tatoeba, or of samples/intents, in random order."""
    found: dict[str, None] = {}
    for path in sorted(args.stsbenchmark.glob("sts-*.csv")) if args.stsbenchmark else ():
        lines = path.read_text(encoding="utf-8").splitlines()
        found |= dict.fromkeys(s for line in lines for s in line.split("\t")[5:7])
    for path in sorted(args.tatoeba.glob("tatoeba.*")) if args.tatoeba else ():
        found |= dict.fromkeys(path.read_text(encoding="utf-8").splitlines())
    if not found:
        for path in (
            SAMPLES / "intents" / "raw.csv",
            *sorted((SAMPLES / "intents/translations").glob("*.csv")),
        ):
            with path.open(encoding="utf-8", newline="") as file:
                found |= dict.fromkeys(row["text"] for row in csv.DictReader(file))
    texts = sorted(t for t in found if t.strip())
    order = np.random.default_rng(0).permutation(len(texts))[: max(args.texts, args.share_texts)]
    return [texts[k] for k in order]


def mbert_sized(folder: Path) -> Path:
    """Save an encoder of M-BERT's size with random weights and the sample encoder's tokenizer."""
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=119_547), add_pooling_layer=False).save_pretrained(folder)
    load_tokenizer(SAMPLES / "encoder").save_pretrained(folder)
    return folder


def compare(name: str, folder: Path, texts: list[str], *, rounds: int, scratch: Path) -> dict[str, object]:
    """Run every way in turn, `rounds` times after a warm-up; print and return what they took."""
    lengths = token_counts(folder, texts)
    ways = dict(all_ways(folder, scratch / f"cache-{name}"))
    for way in ways.values():
        way(texts[:BATCH])
    took: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, run in ways.items():
            took[way].append(timed(run, texts))
    print(f"\n{name}: {len(texts)} texts, {lengths.mean():.1f} tokens in the mean")
    print("| way | s, median (range) | texts/s | tokens/s |\n|---|---|---|---|")
    medians = {way: statistics.median(seconds) for way, seconds in took.items()}
    for way, seconds in took.items():
        s = medians[way]
        spread = f"{s:.2f} ({min(seconds):.2f}-{max(seconds):.2f})"
        print(f"| {way} | {spread} | {len(texts) / s:.0f} | {lengths.sum() / s:.0f} |")
    figures: dict[str, object] = {
        f"vs_{way}": round(medians[way] / medians["ours"], 2) for way in ways if way != "ours"
    }
    return figures | {"seconds": took}


def matmul_share(
    name: str, folder: Path, texts: list[str], *, rounds: int, scratch: Path
) -> dict[str, object]:
    """Measure this project's extraction against the products alone, in turn, `rounds` times."""
    config = AutoConfig.from_pretrained(folder)
    dtype = hardware.compute_dtype("auto", config.hidden_size, hardware.device().type)
    work = products(config, token_counts(folder, texts))
    rates, shares = [], []
    for k in range(rounds):
        rates.append(matmul_rate(config, getattr(torch, dtype)))
        seconds = timed(lambda t, k=k: run_extract(folder, t, scratch / f"share-{name}-{k}", "auto"), texts)
        shares.append(work / seconds / rates[-1])
    print(
        f"{name}: {len(texts)} texts in {dtype}: {statistics.median(shares):.2f} "
        f"({min(shares):.2f}-{max(shares):.2f}) of "
        f"the {statistics.median(rates) / 1e9:.0f} GFLOP/s of its products alone"
    )
    return {"matmul_share": round(statistics.median(shares), 3), "matmul_shares": shares, "dtype": dtype}


def timed(run: Way, texts: Sequence[str]) -> float:
    """Return the seconds that a way takes."""
    began = time.perf_counter()
    run(texts)
    return time.perf_counter() - began


def token_counts(folder: Path, texts: Sequence[str]) -> np.ndarray:
    """Return the tokens of each text."""
    tokens = tokenise(load_tokenizer(folder), [(text, "") for text in texts], MAX_LENGTH)
    return np.array([len(row["input_ids"]) for row in tokens])


def all_ways(folder: Path, cache: Path) -> Iterator[tuple[str, Way]]:
    """Yield name and function of each way; models are loaded before anything is timed."""
    yield "padded128", plain_loop(folder, padding="max_length")
    yield "longest", plain_loop(folder, padding="longest")
    library = sentence_transformers(folder)
    if library is not None:
        yield "sentence_transformers", library
    runs = iter(range(1_000_000))

    def ours(texts: Sequence[str]) -> Path:
        return run_extract(folder, texts, cache / str(next(runs)), "auto")

    yield "ours", ours


def plain_loop(folder: Path, padding: str) -> Way:
    """Return the loop of the tutorials."""
    tokenizer = load_tokenizer(folder)
    device = hardware.device()
    model = AutoModel.from_pretrained(folder).eval().to(device)

    @torch.no_grad()
    def run(texts: Sequence[str]) -> np.ndarray:
        out = []
        for start in range(0, len(texts), BATCH):
            batch = tokenizer(
                list(texts[start : start + BATCH]),
                padding=padding,
                truncation=True,
                max_length=MAX_LENGTH,
                return_tensors="pt",
            ).to(device)
            hidden_states = model(**batch, output_hidden_states=True).hidden_states
            mask = batch["attention_mask"]
            out.append(torch.stack([pool(s, mask, p) for s in hidden_states for p in POOLINGS], dim=1).cpu())
        return torch.cat(out).numpy()

    return run


def sentence_transformers(folder: Path) -> Way | None:
    """Return sentence-transformers' encode, or None when it is not installed."""
    try:
        from sentence_transformers import SentenceTransformer
        from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
    except ImportError:
        print("sentence-transformers is not installed: its way is left out")
        return None
    word = Transformer(str(folder), max_seq_length=MAX_LENGTH)
    model = SentenceTransformer(
        modules=[word, Pooling(word.get_embedding_dimension(), "mean")], device=hardware.device().type
    )
    return lambda texts: model.encode(list(texts), batch_size=BATCH, show_progress_bar=False)


def run_extract(folder: Path, texts: Sequence[str], cache: Path, dtype: str) -> Path:
    """Run this project's extraction of single texts into a new cache."""
    return extract(
        [(str(k), text, "") for k, text in enumerate(texts)],
        folder,
        encoder=EncoderSettings(path=str(folder), max_length=MAX_LENGTH),
        settings=ExtractSettings(dtype=dtype),
        cache=cache,
    )


def products(config: BertConfig, lengths: np.ndarray) -> float:
    """Return the floating-point operations of the products that these texts need, padding not counted."""
    h, inner = config.hidden_size, config.intermediate_size
    per_token = 2 * (4 * h * h + 2 * h * inner)
    attention = 4 * h * lengths.astype(float) ** 2
    return float(config.num_hidden_layers * (per_token * lengths.sum() + attention.sum()))


def matmul_rate(config: BertConfig, dtype: torch.dtype, rounds: int = 15) -> float:
    """Measure the products of one block alone at a full batch; floating-point operations per second."""
    device = hardware.device()
    hardware.keep_buffers()
    h, inner = config.hidden_size, config.intermediate_size
    tokens = hardware.TOKENS_PER_BATCH[device.type]
    shapes = [(h, h)] * 4 + [(h, inner), (inner, h)]
    pairs = [
        (torch.randn(tokens, k, device=device).to(dtype), torch.randn(k, n, device=device).to(dtype))
        for k, n in shapes
    ]
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        for a, b in pairs:
            a @ b
        if device.type == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return sum(2.0 * tokens * k * n for k, n in shapes) / statistics.median(seconds)


def relative_error(folder: Path, texts: Sequence[str], cache: Path) -> dict[str, list[float]]:
    """Return, by pooling and layer, |bfloat16 - float32| / |float32|, Euclidean norms over all texts."""
    exact, low = (FeatureStore.open(run_extract(folder, texts, cache, d)) for d in ("float32", "bfloat16"))
    errors: dict[str, list[float]] = {}
    for pooling in exact.poolings:
        pairs = [
            [store.states(layers=(layer,), pooling=pooling) for store in (exact, low)]
            for layer in range(n_layers(folder) + 1)
        ]
        errors[pooling] = [round(float(np.linalg.norm(b - a) / np.linalg.norm(a)), 5) for a, b in pairs]
    print("relative error of bfloat16 by layer:", json.dumps(errors))
    return errors


def winner_f1_change(scratch: Path) -> float:
    """Return how the F1 of the demo's winner changes when the features are computed in bfloat16."""
    tables = []
    for dtype in ("float32", "bfloat16"):
        paths = ["--runs", str(scratch / "runs"), "--cache", str(scratch / "search-cache"), "--run", dtype]
        if mcbert(["gridsearch", "--config", "demo", *paths, f"extract.dtype={dtype}"]) != 0:
            raise SystemExit(f"the search over {dtype} features failed")
        tables.append(read(GRIDSEARCH, scratch / "runs" / dtype / "gridsearch.csv").set_index("candidate_id"))
    exact, low = tables
    winner = exact.index[0]
    print("winner over float32 features:", winner, "| over bfloat16 features:", low.index[0])
    return round(float(low.loc[winner, "dev_f1_micro_mean"] - exact.loc[winner, "dev_f1_micro_mean"]), 5)


if __name__ == "__main__":
    main()
