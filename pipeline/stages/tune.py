"""The stage ``tune``: settings of finetune tried on dev -> tune.csv, and the best as overrides.

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
from mcbert.pipeline.stages.finetune import beginning, parallel_of, require_tune
from mcbert.pipeline.stages.gridsearch import searched
from mcbert.pipeline.stages.prepare import prepare
from mcbert.pipeline.workspace import Workspace
from mcbert.results.schema.tune import TUNE

if TYPE_CHECKING:
    from mcbert.features.corpus.parallel import ParallelFolder

log = logging.getLogger(__name__)


def tune(workspace: Workspace) -> None:
    """Write ``tune.csv``, running the stages before where a trial takes something from them."""
    from mcbert.finetune.texts import chooses_by_agreement
    from mcbert.results import csv_files

    settings, base = workspace.config.tune, _base(workspace)
    tried = [trial.settings for trial in plan_trials(settings, base) if trial.settings is not None]
    phase_one: list[Path] = []
    if any(one.searches for one in tried):
        searched(workspace, partial(require_tune, workspace))
        phase_one = [workspace.winner, workspace.run.folder / "gridsearch.csv"]
    else:
        prepare(workspace)
    inputs: dict[str, Any] = {
        "tune": dataclasses.asdict(settings),
        "finetune": {name: value for name, value in dataclasses.asdict(base).items() if name != "seeds"},
        "encoder": workspace.encoder_inputs,
        "texts": sha256(workspace.texts),
        "phase one": [sha256(path) for path in phase_one],
    }
    agreeing = any(chooses_by_agreement(one, freezes=True) for one in tried)
    parallel = parallel_of(workspace, needed=agreeing or settings.protocol == "agreement")
    if parallel:
        inputs["parallel"] = parallel.checksums()
    again = workspace.config.cluster.retry_errors
    workspace.run.stage("tune", inputs, lambda: _search(workspace, base, parallel), replace=True, again=again)
    table = csv_files.read_with_sums(TUNE, workspace.run.folder / TUNE.file_name)
    best = json.loads(table.loc[table["rank"] == 1, "changes"].iloc[0])
    sys.stdout.write(" ".join(map(shlex.quote, overrides(best, base))) + "\n")


def _base(workspace: Workspace) -> FinetuneSettings:
    """Return the settings as they are, with the length that phase one reads."""
    settings = workspace.config.finetune
    length = settings.max_length or workspace.config.encoder.max_length
    return dataclasses.replace(settings, max_length=length)


def _search(workspace: Workspace, base: FinetuneSettings, parallel: ParallelFolder | None) -> list[str]:
    from mcbert.files.ledger import retry_errors
    from mcbert.finetune.jobs import Inputs
    from mcbert.finetune.tune.tune import KEY, LEDGER, search_settings

    if workspace.config.cluster.retry_errors:
        n_failed = retry_errors(workspace.run.folder / LEDGER, KEY)
        log.info("tune: %d trainings failed earlier and are run again", n_failed)
    search_settings(
        workspace.config.tune,
        base,
        Inputs(
            corpus=workspace.texts,
            source_language=workspace.config.corpus.source_language,
            winner=None,
            encoder=workspace.encoder,
            prompt=workspace.prompt,
            out=workspace.run.folder,
            parallel=parallel,
        ),
        winner_of=winner_of(workspace),
        execute=executor(workspace.config.cluster),
        stamp=workspace.stamp,
        track=track,
    )
    return list(TUNE.file_names)


def winner_of(workspace: Workspace) -> Callable[[FinetuneSettings], Path | None]:
    """Return what tells the file of phase one that settings start from; each start is fitted once."""
    starts: dict[Any, Path | None] = {}

    def find(settings: FinetuneSettings) -> Path | None:
        wanted = settings.start, settings.layers, settings.pooling, settings.head_layers
        if wanted not in starts:
            name = "-".join(["winner", *map(str, settings.layers), *filter(None, [settings.pooling])])
            starts[wanted] = beginning(workspace, settings, workspace.run.folder / "starts" / name)
        return starts[wanted]

    return find
