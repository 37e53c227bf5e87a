"""What a run will cost before it runs: time, disk and memory of each stage, from its texts and this machine.

python -m mcbert estimate --config demo

Counts are those of the stages' own plans (units, feature sets, batches); rates are measured by
`pipeline.estimation.speed`. Nothing is written but to a folder of temporary files that is removed.
"""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.pipeline.cluster import workers_of
from mcbert.pipeline.estimation import speed
from mcbert.pipeline.estimation.states import States, estimated_tokens, sets_left, settled, text_rows
from mcbert.pipeline.stages import extract, finetune, gridsearch, prepare
from mcbert.pipeline.workspace import Workspace, shown

if TYPE_CHECKING:
    import numpy as np

    from mcbert.features.corpus.corpus import Corpus
    from mcbert.finetune.settings import FinetuneSettings
    from mcbert.results.schema.words import Protocol

log = logging.getLogger(__name__)

DEV_TEXTS = 64  # that a training is timed on
SURE = {"prepare": 1.5, "extract": 1.5, "gridsearch": 2.0, "finetune": 1.7}
"""Factor by which the time of a stage may be more or less; docs/estimate.md has the checks."""

OBJECTS = 8
"""Bytes in memory of a byte of the ledger, whose rows the driver of a search holds as Python objects."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cost:
    """What a stage will cost; None where it is not known."""

    stage: str
    """Name of its command."""

    done: bool = False
    """Whether it is up to date, and costs nothing."""

    seconds: tuple[float, float] | None = None
    """Least and most seconds on a machine that does nothing else."""

    disk: int | None = None
    """Bytes that stay."""

    memory: int | None = None
    """Most bytes of all its processes together."""

    made_of: str = ""
    """Counts and rates that these come from."""


def likely(stage: str, seconds: float, *, low: float = 1.0, high: float = 1.0) -> tuple[float, float]:
    """Return the range of a stage's time; `low` and `high` widen it on either side."""
    return seconds / SURE[stage] * low, seconds * SURE[stage] * high


class Estimation:
    """The costs of the stages of one configuration.

    Parameters
    ----------
    workspace : Workspace
        The run; nothing in its folders is changed.
    scratch : Path
        An empty folder for temporary files.
    alone : callable
        Runs a function of one argument in a process of its own, as workers are.
    """

    def __init__(self, workspace: Workspace, scratch: Path, alone: Callable[[Any, Any], Any]) -> None:
        self.workspace, self.config = workspace, workspace.config
        self.scratch, self.alone = scratch, alone
        self.costs: list[Cost] = []

    def run(self) -> list[Cost]:
        """Return the cost of each stage, in their order.

        Raises
        ------
        ValueError
            The texts or the settings cannot be used, as the stages say.
        """
        corpus, clock = self._prepare(), speed.Clock()
        try:
            self._open_encoder()
        except ValueError as error:
            log.warning("estimate: not measured, only counted: %s", error)
            self._count_states(corpus)
            return self.costs
        extract.require_known_layers(self.workspace, "finetune")
        if self.config.finetune.searches:
            states = States.of(self.workspace, corpus)
            encoding = self._extract(corpus, states, clock.seconds())
            self._gridsearch(corpus, states, encoding)
        self._finetune(corpus)
        return self.costs

    def _prepare(self) -> Corpus:
        workspace, config = self.workspace, self.config
        machine = prepare.machine_of(config, workspace.cache)
        there = workspace.texts.is_file()
        if there and workspace.run.is_done("prepare", prepare.inputs(workspace, machine)):
            corpus = workspace.corpus()
            self.costs.append(Cost(stage="prepare", done=True, made_of=_counted(corpus)))
            return corpus
        if machine is not None:
            raise ValueError(
                "prepare.translator: translations of a model are not estimated; run prepare first"
            )
        clock = speed.Clock()
        corpus, _ = prepare.corpus_of(config, workspace.stamp)
        seconds = likely("prepare", clock.seconds())
        disk = len(corpus.table.to_csv(index=False).encode())
        memory, made_of = speed.peak_memory(), _counted(corpus)
        self.costs.append(Cost(stage="prepare", seconds=seconds, disk=disk, memory=memory, made_of=made_of))
        return corpus

    def _open_encoder(self) -> None:
        """Open the encoder without a network; what its examination writes goes to the temporary folder."""
        from mcbert.features.encoder.files import EncoderError
        from mcbert.features.encoder.identity import encoder_identity
        from mcbert.features.encoder.opening import open_encoder

        settings, kept = self.config.encoder, self.scratch / "encoders"
        kept.mkdir()
        for path in (self.workspace.cache / "encoders").glob("*.*"):  # verdicts on encoders examined before
            if path.is_file() and path.suffix in (".json", ".tokenizer"):
                shutil.copy(path, kept)
        if not Path(settings.path).exists() and not _is_fetched(settings.path, settings.revision):
            raise EncoderError(f"encoder.path: {settings.path!r} is not on this machine yet")
        folder = open_encoder(settings, self.scratch)
        self.workspace.encoder = folder
        self.workspace.encoder_identity = encoder_identity(folder, kept)

    def _count_states(self, corpus: Corpus) -> None:
        """Give the size of the cache where the encoder's configuration is there without its weights."""
        from mcbert.features.cache import StoreSpec
        from mcbert.features.encoder.loading import hidden_size, n_layers
        from mcbert.features.extraction.texts import survey

        folder, settings = Path(self.config.encoder.path), self.config.extract
        if not (folder / "config.json").is_file():
            return
        n_texts = survey(text_rows(corpus.table)).n_texts
        spec = StoreSpec(
            layers=settings.layers or tuple(range(n_layers(folder) + 1)),
            poolings=settings.poolings,
            hidden_size=hidden_size(folder),
            storage_dtype=settings.storage_dtype,
        )
        each = spec.n_datasets * spec.stride
        made_of = f"{n_texts:,} distinct texts x {each:,} bytes"
        self.costs.append(Cost(stage="extract", disk=n_texts * each, made_of=made_of))

    def _extract(self, corpus: Corpus, states: States, opening: float) -> speed.Encoding | None:
        """Add the cost of the extraction, before which it took `opening` seconds to open the encoder."""
        from mcbert.features.cache import StoreSpec, folder_bytes, pending

        if states.there:
            made_of = f"{states.found.n_texts:,} distinct texts: the cache {states.target.name} is there"
            self.costs.append(Cost(stage="extract", done=True, made_of=made_of))
            return None
        spec, fields = StoreSpec.of(states.fields), states.fields
        left = pending(states.target, spec, states.units) if states.target.is_dir() else states.units
        texts = corpus.table[["text", "text_pair"]].to_numpy(dtype=object)[states.rows][states.found.rows]
        clock = speed.Clock(kind=fields["device"])
        found = speed.measure_encoding(
            self.workspace.encoder, fields, lambda k: (texts[k][0], texts[k][1]), states.estimated
        )
        begin = clock.seconds() - found.seconds * float(states.estimated[list(found.numbers)].sum())
        n_estimated = float(sum(states.estimated[start:stop].sum() for start, stop in left))
        workers = self.config.cluster.extract_workers
        again = found.tokenising * float(states.estimated.sum()) * len(corpus.table) / states.found.n_texts
        seconds = opening + max(begin, 0.0) + found.seconds * n_estimated / workers + again
        n_texts, n_tokens = sum(b - a for a, b in left), found.tokens * n_estimated
        source = shown(self.config.prepare.raw or self.config.corpus.path)
        about = {"encoder": self.config.encoder.path, "corpus": source}
        disk = folder_bytes(
            fields,
            about | {"created": "2000-01-01T00:00:00+00:00"},
            units=states.units,
            n_rows=len(states.rows),
            left=left,
        )
        unit = max(stop - start for start, stop in states.units) * spec.stride * spec.n_datasets
        memory = workers * (found.memory + 2 * unit) + (found.memory if workers > 1 else 0)
        self.costs.append(
            Cost(
                stage="extract",
                seconds=likely("extract", seconds, high=math.sqrt(found.spread)),
                disk=disk,
                memory=memory,
                made_of=f"{n_texts:,} distinct texts x {n_tokens / max(n_texts, 1):.1f} tokens at "
                f"{found.tokens / found.seconds:,.0f} tokens/s in {fields['dtype']}"
                + (f", {workers} processes" if workers > 1 else "")
                + f"; {spec.n_datasets} x {spec.hidden_size} columns of {spec.storage_dtype}",
            )
        )
        return found

    def _gridsearch(self, corpus: Corpus, states: States, encoding: speed.Encoding | None) -> None:
        workspace = self.workspace
        settings = settled(self.config.gridsearch, corpus)
        if states.there and (workspace.run.folder / "stages" / "gridsearch.json").is_file():
            inputs = gridsearch.inputs(workspace, *gridsearch.settled(workspace))
            if workspace.run.is_done("gridsearch", inputs, replace=gridsearch.REPLACED):
                self.costs.append(Cost(stage="gridsearch", done=True, made_of="gridsearch.csv is there"))
                return
        sample, scale = states.sample(corpus, settings, encoding, self.scratch)
        sample = dataclasses.replace(sample, stamp=workspace.stamp)
        found: speed.Fitting = self.alone(speed.measure_search, sample)
        sizes, n_left = sets_left(settings, workspace.run.folder / "gridsearch.jsonl")
        workers = workers_of(self.config.cluster)
        each = {size: _between(found.sizes, size) * scale for size in sizes}
        fits = sum(each[size] * n for size, n in sizes.items())
        n_sets, n_candidates = sum(sizes.values()), max(n_left, 1)
        ensemble = 2 * min(settings.ensemble, n_left) * fits / n_candidates
        after = found.last[0] + found.last[1] * n_left + ensemble
        seconds = fits / workers + found.once * scale * len(settings.poolings) + after
        if settings.budget_seconds:
            seconds = min(seconds, settings.budget_seconds + after)
        held = int(OBJECTS * found.ledger * n_left)
        memory = found.driver + held + (found.worker * workers if workers > 1 else 0)
        about = "" if scale == 1 else f"; timed on fewer texts, x {scale:.1f}"
        more = "; the steps of a mixed search come on top" if settings.mixed != "none" else ""
        self.costs.append(
            Cost(
                stage="gridsearch",
                seconds=likely("gridsearch", seconds, low=scale**-0.5, high=scale**0.5),
                disk=int(found.disk[0] + found.disk[1] * n_left),
                memory=int(memory),
                made_of=f"{n_left:,} candidates in {n_sets:,} feature sets x {fits / max(n_sets, 1):.3f} s / "
                f"{workers} processes + {after:.0f} s for the tables{about}{more}",
            )
        )

    def _finetune(self, corpus: Corpus) -> None:
        workspace, given = self.workspace, self.config.finetune
        ran = self.costs[-1].done and bool(workspace.run.inputs("finetune"))
        if ran and workspace.run.is_done("finetune", finetune.inputs(workspace)):
            self.costs.append(Cost(stage="finetune", done=True, made_of="finetune.csv is there"))
            return
        names = [f"{system}-{seed}" for seed in given.seeds for system in given.trained]
        left = [n for n in names if not (workspace.run.folder / "jobs" / f"{n}.json").is_file()]
        sample, rows, longest = self._training_sample(corpus)
        found: speed.Training = self.alone(speed.measure_training, sample)
        settings = sample.settings
        steps, padded = _plan(settings, rows)
        pace = found.steps / _plan(settings, longest)[1]
        n_dev, n_test = (len(corpus.rows(split=split)) for split in ("dev", "test"))
        n_scored = min(n_dev, given.eval_texts * len(corpus.languages)) if given.eval_texts else n_dev
        evals = given.epochs + 1 + (given.epochs * steps // given.eval_steps if given.eval_steps else 0)
        score = (evals * n_scored + (n_dev if given.eval_texts else 0) + n_test) * found.scored
        each = found.begin + given.epochs * (padded * pace + found.kept) + score
        at_once = min(workers_of(self.config.cluster), max(len(left), 1))
        seconds = each * math.ceil(len(left) / at_once)
        least = 0.7 if given.freezes or not given.layers else 1.0
        checkpoints = at_once * 3 * found.checkpoint
        self.costs.append(
            Cost(
                stage="finetune",
                seconds=likely("finetune", seconds, low=least),
                disk=len(given.trained) * (found.model + _others(workspace.encoder)),
                memory=(found.memory + found.model) * at_once + (found.base if at_once > 1 else 0),
                made_of=f"{len(left)} trainings, {at_once} at once, x ({given.epochs} epochs x {steps:,} "
                f"steps x {padded * pace / max(steps, 1):.2f} s + {score:.0f} s for scores); checkpoints of "
                f"{checkpoints / 1e6:,.0f} MB while it runs",
            )
        )

    def _training_sample(self, corpus: Corpus) -> tuple[speed.TrainingSample, np.ndarray, np.ndarray]:
        """Return a training to time, and byte-estimated tokens of all train texts and of the sample's."""
        import numpy as np

        given, config = self.config.finetune, self.config
        length = given.max_length or config.encoder.max_length
        protocol: Protocol = "last" if given.protocol == "last" else "source-dev"
        settings = dataclasses.replace(
            given, epochs=1, max_length=length, protocol=protocol, freeze={}, freeze_rule="schedule",
            freeze_groups=(), eval_steps=0, checkpoint_steps=0, eval_texts=0,
        )  # fmt: skip
        pairs = corpus.table[["text", "text_pair"]].to_numpy(dtype=object)
        train, dev = corpus.rows(split="train"), corpus.rows(split="dev")
        tokens = _estimated(pairs, length)
        size = given.batch_size
        order = np.random.default_rng(0).permutation(train)
        chosen = np.concatenate([train[np.argsort(-tokens[train])][:size], order[: speed.STEPS * size]])
        some = np.random.default_rng(0).permutation(dev)[:DEV_TEXTS]
        searched = config.gridsearch
        sample = speed.TrainingSample(
            settings=settings,
            encoder=self.workspace.encoder,
            prompt=self.workspace.prompt,
            layers=given.layers or (max(searched.layers),),
            pooling=given.pooling or searched.poolings[0],
            labels=corpus.labels,
            train=[(a, b) for a, b in pairs[chosen]],
            y=corpus.y[chosen],
            dev=[(a, b) for a, b in pairs[some]],
            out=self.scratch,
        )
        return sample, tokens[train], tokens[chosen]


def _estimated(pairs: np.ndarray, length: int) -> np.ndarray:
    """Return byte-estimated tokens of texts and pairs, (n_texts,)."""
    import numpy as np

    return estimated_tokens(np.array([len(a.encode()) + len(b.encode()) for a, b in pairs]), length)


def _counted(corpus: Corpus) -> str:
    """Return "616 train, 141 dev and 281 test texts of 7 languages and 4 labels"."""
    n = Counter(corpus.table["split"])
    languages, labels = len(corpus.languages), len(corpus.labels)
    return (
        f"{n['train']:,} train, {n['dev']:,} dev and {n['test']:,} test texts, {languages} languages, "
        f"{labels} labels"
    )


def _is_fetched(name: str, revision: str) -> bool:
    """Tell whether a model of the hub is in its cache on this machine."""
    from huggingface_hub import snapshot_download

    try:
        snapshot_download(name, revision=revision or None, local_files_only=True)
    except (OSError, ValueError):
        return False
    return True


def _between(seconds: Mapping[int, float], size: int) -> float:
    """Return the time of a feature set of so many layers from those of others, on straight lines."""
    import numpy as np

    sizes = sorted(seconds)
    return float(np.interp(size, sizes, [seconds[one] for one in sizes]))


def _plan(settings: FinetuneSettings, tokens: np.ndarray) -> tuple[int, float]:
    """Return the optimizer steps of an epoch, and the padded tokens of its batches."""
    from mcbert.finetune.training.batches import EpochBatches

    parts = settings.gradient_accumulation
    batches = EpochBatches(tokens, size=settings.batch_size, tokens=settings.batch_tokens, parts=parts).plan(
        0
    )
    return -(-len(batches) // parts), float(sum(len(rows) * tokens[rows].max() for rows in batches))


def _others(folder: Path) -> int:
    """Return the bytes of an encoder's files beside its weights, which each model gets."""
    from mcbert.features.encoder.files import text_files

    return sum(path.stat().st_size for path in text_files(folder))
