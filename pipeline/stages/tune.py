"""The stage that tries phase two's own settings on dev: tune.csv, and the best as overrides.

python -m mcbert tune --config demo 'tune.values.learning_rate=[5e-5, 1e-4]'

Writes what `mcbert finetune` needs to train with the best settings to the standard output, a word each.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import shlex
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.files import sha256
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.trials import overrides, plan_trials
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.progress import track
from mcbert.pipeline.stages.forecast import require_tune
from mcbert.pipeline.stages.start import beginning
from mcbert.results.schema.tune import TUNE

if TYPE_CHECKING:
    from mcbert.pipeline.stages.pipeline import Pipeline

log = logging.getLogger(__name__)


def tune(pipeline: Pipeline) -> None:
    """Write ``tune.csv``, running the stages before where a trial takes something from them."""
    from mcbert.results import csv_files

    settings, base = pipeline.config.tune, _base(pipeline)
    tried = [trial.settings for trial in plan_trials(settings, base) if trial.settings is not None]
    phase_one: list[Path] = []
    if any(one.searches for one in tried):
        pipeline.searched(partial(require_tune, pipeline))
        phase_one = [pipeline.winner, pipeline.run.folder / "gridsearch.csv"]
    else:
        pipeline.prepare()
    inputs: dict[str, Any] = {
        "tune": dataclasses.asdict(settings),
        "finetune": {name: value for name, value in dataclasses.asdict(base).items() if name != "seeds"},
        "encoder": pipeline.encoder_inputs,
        "texts": sha256(pipeline.texts),
        "phase one": [sha256(path) for path in phase_one],
    }
    again = pipeline.config.cluster.retry_errors
    pipeline.run.stage("tune", inputs, lambda: _search(pipeline, base), replace=True, again=again)
    table = csv_files.read_with_sums(TUNE, pipeline.run.folder / TUNE.file_name)
    best = json.loads(table.loc[table["rank"] == 1, "changes"].iloc[0])
    sys.stdout.write(" ".join(map(shlex.quote, overrides(best, base))) + "\n")


def _base(pipeline: Pipeline) -> FinetuneSettings:
    """Return the settings as they are, with the length that phase one reads."""
    settings = pipeline.config.finetune
    length = settings.max_length or pipeline.config.encoder.max_length
    return dataclasses.replace(settings, max_length=length)


def _search(pipeline: Pipeline, base: FinetuneSettings) -> list[str]:
    from mcbert.files.ledger import retry_errors
    from mcbert.finetune.jobs import Inputs
    from mcbert.finetune.tune.search import KEY, LEDGER, search_settings

    if pipeline.config.cluster.retry_errors:
        n_failed = retry_errors(pipeline.run.folder / LEDGER, KEY)
        log.info("tune: %d trainings failed earlier and are run again", n_failed)
    search_settings(
        pipeline.config.tune,
        base,
        Inputs(
            corpus=pipeline.texts,
            source_language=pipeline.config.corpus.source_language,
            winner=None,
            encoder=pipeline.encoder,
            prompt=pipeline.prompt,
            out=pipeline.run.folder,
        ),
        winner_of=winner_of(pipeline),
        execute=executor(pipeline.config.cluster),
        stamp=pipeline.stamp,
        track=track,
    )
    return list(TUNE.file_names)


def winner_of(pipeline: Pipeline) -> Callable[[FinetuneSettings], Path | None]:
    """Return what tells the file of phase one that settings start from; each start is fitted once."""
    starts: dict[Any, Path | None] = {}

    def find(settings: FinetuneSettings) -> Path | None:
        wanted = settings.start, settings.layers, settings.pooling, settings.head_layers
        if wanted not in starts:
            name = "-".join(["winner", *map(str, settings.layers), *filter(None, [settings.pooling])])
            starts[wanted] = beginning(pipeline, settings, pipeline.run.folder / "starts" / name)
        return starts[wanted]

    return find
