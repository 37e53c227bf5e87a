"""How fast this machine is at a run's work: a few batches, fits and steps, timed in the stages' own code.

python -m mcbert estimate --config demo

Times are of the CPU over the threads, so that other programs on the machine do not lengthen them; on a GPU
they are of the clock. What a measurement writes goes to a folder that its caller removes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from mcbert.finetune.settings import FinetuneSettings
    from mcbert.finetune.training.callback import DevScores
    from mcbert.search.settings import GridsearchSettings
    from mcbert.search.source import Inputs

ENCODING_SECONDS, FITTING_SECONDS = 6.0, 10.0
BLOCKS = 3  # of texts that are encoded, one in each third of the tokens
BATCHES = 2  # of a block: buffers are given back after the last
STEPS = 3  # that are trained, beside one of the longest texts
SETS = (5, 5, 7)  # layers of the small searches that tell what a candidate costs after its fit; one warms up

Pair = tuple[str, str]


def peak_memory() -> int:
    """Return the most memory that this process has taken so far, bytes.

    Of Linux its own high-water mark: that of getrusage begins, after fork and exec, with the parent's.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        lines = status.read_text(encoding="utf-8").splitlines()
        return 1024 * int(next(line.split()[1] for line in lines if line.startswith("VmHWM:")))
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Clock:
    """Seconds of work since the beginning: CPU time over `threads`, or the clock's on a GPU."""

    def __init__(self, threads: int = 1, *, kind: str = "cpu") -> None:
        self._threads, self._now = threads, time.process_time if kind == "cpu" else time.perf_counter
        self._began = self._now()

    def seconds(self) -> float:
        """Return them; 0 threads count as one."""
        return (self._now() - self._began) / max(self._threads, 1)


@dataclasses.dataclass(frozen=True)
class Encoding:
    """What encoding costs; of each byte-estimated token, as `plan_units` estimates them."""

    seconds: float
    """For one estimated token."""

    tokens: float
    """Tokens of the tokenizer for one estimated token."""

    tokenising: float
    """Part of `seconds` that the tokenizer takes."""

    spread: float
    """Slowest third over the fastest."""

    memory: int
    """Peak of the process, bytes."""

    numbers: tuple[int, ...]
    """Distinct texts that were encoded."""

    states: np.ndarray
    """Theirs, (n_texts, n_layers, n_poolings, hidden)."""


def measure_encoding(
    folder: Path,
    fields: Mapping[str, Any],
    read: Callable[[int], Pair],
    estimated: np.ndarray,
) -> Encoding:
    """Encode a batch of texts of each third of the tokens.

    Parameters
    ----------
    folder : Path
        Of the encoder.
    fields : mapping
        The fingerprint of the cache.
    read : callable
        Returns a distinct text and its second text.
    estimated : ndarray, (n_texts,)
        Tokens of each distinct text as estimated from bytes, ascending.
    """
    import torch

    from mcbert.features.extraction.encode import UnitEncoder

    encoder = UnitEncoder(folder, {name: fields[name] for name in UnitEncoder.NEEDS})
    clock_of = {"threads": torch.get_num_threads(), "kind": fields["device"]}
    blocks = list(_blocks(estimated, BATCHES * fields["tokens_per_batch"]))
    first = blocks[0][: -(-len(blocks[0]) // BATCHES)]
    encoder.encode(encoder.prepare([read(k) for k in first]), lambda: None)  # the first batch takes longer
    whole, found, numbers, states = Clock(**clock_of), [], [], []
    for block in blocks:
        texts, clock = [read(k) for k in block], Clock(**clock_of)
        unit = encoder.prepare(texts)
        tokenised = clock.seconds()
        states.append(encoder.encode(unit, lambda: None).cpu().float().numpy())
        total, n_estimated = clock.seconds(), float(estimated[block].sum())
        n_tokens = sum(len(row["input_ids"]) for row in unit.tokens)
        found.append((total / n_estimated, n_tokens / n_estimated, tokenised / n_estimated))
        numbers += block.tolist()
        if whole.seconds() > ENCODING_SECONDS:
            break
    rates = np.array(found)
    seconds, tokens, tokenising = rates.mean(axis=0).tolist()
    spread = float(rates[:, 0].max() / rates[:, 0].min())
    return Encoding(
        seconds, tokens, tokenising, spread, peak_memory(), tuple(numbers), np.concatenate(states)
    )


def _blocks(estimated: np.ndarray, budget: int) -> Iterator[np.ndarray]:
    """Yield texts of `budget` tokens from the middle of each third of all tokens, the middle third first.

    All texts where there are few.
    """
    total = np.cumsum(estimated)
    if total[-1] <= BLOCKS * budget:
        yield np.arange(len(estimated))
        return
    for k in sorted(range(BLOCKS), key=lambda k: abs(2 * k + 1 - BLOCKS)):
        middle = (k + 0.5) / BLOCKS * total[-1]
        start, stop = np.searchsorted(total, [middle - budget / 2, middle + budget / 2])
        yield np.arange(start, max(stop, start + 1))


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSample:
    """A search to time: its settings, data and a folder to write in."""

    settings: GridsearchSettings
    inputs: Inputs
    languages: tuple[str, ...]
    out: Path
    stamp: Mapping[str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitting:
    """What a search costs."""

    sizes: Mapping[int, float]
    """Seconds of a feature set with all its classifiers, by its number of layers."""

    once: float
    """Seconds of reading, standardising and multiplying all layers of a pooling."""

    last: tuple[float, float]
    """Seconds of the tables and the winner: of any search, and of each candidate."""

    disk: tuple[float, float]
    """Bytes: of any search, and of each candidate."""

    worker: int
    """Peak memory of a worker, bytes."""

    driver: int
    """Peak memory of a process that also made the tables of a small search, bytes."""

    ledger: float
    """Bytes of a candidate in the ledger, whose rows the driver holds."""


def measure_search(sample: SearchSample) -> Fitting:
    """Time feature sets of few, some and all layers of one pooling, and two small searches as a whole."""
    from mcbert.features.cache import FeatureStore
    from mcbert.features.spec import FeatureSpec
    from mcbert.search.data import Examples
    from mcbert.search.fitting.representation import represent
    from mcbert.search.source import Source
    from mcbert.search.space import Space
    from mcbert.search.task import Task, one_thread, run

    settings, inputs = sample.settings, sample.inputs
    digests = FeatureStore.open(inputs.store).digest, Examples.read(inputs.examples).digest
    source = Source(store=inputs.store, examples=inputs.examples, languages=sample.languages, digests=digests)
    pooling, layers = settings.poolings[0], settings.layers
    most, space, sizes = settings.max_layers or len(layers), Space(settings), dict[int, float]()

    def feature_set(size: int) -> FeatureSpec:
        return FeatureSpec(layers[:size], (pooling,) * size)

    with one_thread():
        clock = Clock()
        represent(source, feature_set(len(layers))).prepare()
        once = clock.seconds()
    whole = Clock()
    for size in dict.fromkeys((1, most, (most + 1) // 2)):
        task = Task(
            source=source, features=feature_set(size), candidates=tuple(space.models(feature_set(size)))
        )
        if not sizes:
            run(task)  # loads what only fits need
        clock = Clock()
        run(task)
        sizes[size] = clock.seconds()
        if whole.seconds() > FITTING_SECONDS:
            break
    worker = peak_memory()
    last, disk, ledger = _small_searches(sample)
    return Fitting(
        sizes=sizes,
        once=once,
        last=last,
        disk=disk,
        worker=worker,
        driver=peak_memory(),
        ledger=ledger,
    )


def _small_searches(sample: SearchSample) -> tuple[tuple[float, float], tuple[float, float], float]:
    """Return seconds after the fits and bytes, each of any search and of a candidate; bytes in the ledger."""
    from mcbert.search.gridsearch import gridsearch

    given = sample.settings
    found: list[tuple[int, float, int, int]] = []
    name = "ridge" if "ridge" in given.classifiers else given.classifiers[0]
    one = {key: value for key, value in given.params.items() if key == name}
    settings = dataclasses.replace(
        given, classifiers=(name,), params=one, max_layers=0, budget=0, budget_seconds=0.0, mixed="none",
        beam_width=5, mixed_steps=8, class_weight="none", poolings=given.poolings[:1], seeds=given.seeds[:1],
        factories={key: value for key, value in given.factories.items() if key == name},
    )  # fmt: skip
    fits = [0.0]

    def execute(function: Any, tasks: Any) -> Iterator[Any]:
        for task in tasks:
            clock = Clock()
            rows = function(task)
            fits[0] += clock.seconds()
            yield task, rows, None

    for size in SETS:
        out, fits[0] = sample.out / f"search-{len(found)}", 0.0
        out.mkdir()
        small = dataclasses.replace(settings, layers=given.layers[:size])
        clock = Clock()
        with _silent():  # what a small search on temporary files says is no matter of the user's
            gridsearch(small, sample.inputs, out=out, execute=execute, stamp=sample.stamp)
        seconds = clock.seconds() - fits[0]
        n_models = len(given.values(name)) * (2 ** len(small.layers) - 1)
        n_bytes = sum(path.stat().st_size for path in out.iterdir())
        ledger = (out / "gridsearch.jsonl").stat().st_size
        found.append((n_models, seconds, n_bytes, ledger))
    (n, a, bytes_a, _), (m, b, bytes_b, ledger) = found[-2:]
    return _line(n, a, m, b), _line(n, bytes_a, m, bytes_b), ledger / m


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Log nothing meanwhile."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(before)


def _line(n: int, at_n: float, m: int, at_m: float) -> tuple[float, float]:
    """Return height at 0 and slope of the line through two points, both at least 0."""
    if m == n:
        return 0.0, at_n / n
    slope = max(0.0, (at_m - at_n) / (m - n))
    return max(0.0, at_n - slope * n), slope


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSample:
    """A training to time: of some texts, one batch of them the longest of all."""

    settings: FinetuneSettings
    encoder: Path
    prompt: str
    layers: tuple[int, ...]
    pooling: str
    labels: tuple[str, ...]
    train: Sequence[Pair]
    y: np.ndarray
    dev: Sequence[Pair]
    out: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Training:
    """What a training costs."""

    begin: float
    """Seconds of loading the encoder."""

    steps: float
    """Seconds of all steps over the sample."""

    scored: float
    """Seconds of a dev or test text."""

    kept: float
    """Seconds of a checkpoint."""

    checkpoint: int
    """Bytes of one."""

    model: int
    """Bytes of the weights that are saved."""

    base: int
    """Peak memory of a process with the libraries alone, bytes."""

    memory: int
    """Peak memory of a process that trains, bytes."""


def measure_training(sample: TrainingSample) -> Training:
    """Train an epoch of the sample by the stage's own loop, with dev scores before and after it."""
    from mcbert.features.encoder.hardware import device
    from mcbert.features.encoder.loading import quiet
    from mcbert.features.encoder.tokens import load_tokenizer, tokenise
    from mcbert.finetune.jobs import torch_threads
    from mcbert.finetune.model import MCBertForSequenceClassification
    from mcbert.finetune.training.callback import Monitor
    from mcbert.finetune.training.data import Texts, classification
    from mcbert.finetune.training.fit import Output, fit

    base, settings = peak_memory(), sample.settings
    clock, marks = Clock(settings.threads, kind=device().type), list[float]()
    with quiet(), torch_threads(settings.threads):
        tokenizer = load_tokenizer(sample.encoder, prompt=sample.prompt)
        model = MCBertForSequenceClassification.from_encoder(
            sample.encoder, sample.layers, pooling=sample.pooling, dropout=settings.dropout,
            labels=sample.labels, head_layers=settings.head_layers,
        )  # fmt: skip
        begin = clock.seconds()

        def texts(pairs: Sequence[Pair], y: np.ndarray) -> Texts:
            tokens, names = tokenise(tokenizer, pairs, settings.max_length), tuple(map(str, range(len(y))))
            return Texts(tokens=tokens, y=y, language=np.full(len(y), "source"), ids=names)

        train, dev = (
            texts(sample.train, sample.y),
            texts(sample.dev, np.zeros(len(sample.dev), dtype=np.int64)),
        )
        data = classification(tokenizer, train, dev, source_language="source")
        scored = data.evaluate

        def evaluate(given: Any) -> DevScores:
            marks.append(clock.seconds())
            found = scored(given)
            marks.append(clock.seconds())
            return found

        fit(
            model,
            dataclasses.replace(data, evaluate=evaluate),
            settings=settings,
            seed=0,
            monitor=Monitor(rule=lambda _: None, protocol=settings.protocol, source_language="source"),
            out=Output(checkpoints=sample.out / "checkpoints"),
        )
        kept = clock.seconds() - marks[3]
    weights = {tensor.data_ptr(): tensor.nbytes for tensor in model.state_dict().values()}
    folders = [path for path in (sample.out / "checkpoints").iterdir() if path.is_dir()]
    return Training(
        begin=begin,
        steps=marks[2] - marks[1],
        scored=(marks[3] - marks[2]) / max(len(sample.dev), 1),
        kept=kept,
        checkpoint=sum(path.stat().st_size for path in folders[0].iterdir()),
        model=sum(weights.values()),
        base=base,
        memory=peak_memory(),
    )
