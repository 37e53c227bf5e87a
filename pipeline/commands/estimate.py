"""The command ``estimate``: time, disk and memory of each stage, before any is run.

mcbert estimate --config demo
mcbert estimate --config tickets.toml --json gridsearch.max_layers=2
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mcbert.pipeline.commands.caches import size_text
from mcbert.pipeline.interruption import Interruption
from mcbert.pipeline.run import Run
from mcbert.pipeline.workspace import Workspace

log = logging.getLogger(__name__)

HEADER = ("STAGE", "TIME", "DISK", "MEMORY", "MADE OF")
TIMES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def add_command(
    add: Callable[..., argparse.ArgumentParser], options: Callable[[argparse.ArgumentParser], None]
) -> None:
    """Declare the command with `add`, the command line's `add_parser`; `options` adds those of a stage."""
    text = "time, disk and memory of each stage, from the texts and a few seconds of this machine; runs none"
    command = add("estimate", help=text, description=text)
    options(command)
    command.add_argument("--json", action="store_true", help="print the same as JSON: seconds and bytes")
    command.set_defaults(command=_estimate)


def _estimate(args: argparse.Namespace, interruption: Interruption) -> int:
    from mcbert.pipeline.config import load
    from mcbert.pipeline.estimation.costs import Cost, Estimation

    config = load(args.config, args.overrides)
    name = Path(args.config).stem if args.run is None else args.run
    workspace = Workspace(config, Run(args.runs, name, base=config.base), args.cache, interruption)
    with tempfile.TemporaryDirectory(prefix="mcbert-estimate-") as scratch:
        measure = _here if config.cluster.runs_on == "serial" else _alone
        costs: list[Cost] = Estimation(workspace, Path(scratch), measure).run()
    if args.json:
        sys.stdout.write(json.dumps([dataclasses.asdict(cost) for cost in costs], indent=1) + "\n")
        return 0
    rows = [HEADER, *(_row(cost) for cost in costs)]
    widths = [max(len(row[k]) for row in rows) for k in range(len(HEADER))]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        sys.stdout.write(f"{line}\n")
    busy, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    if busy > cores / 2:
        log.warning(
            "estimate: times are of an idle machine; now %.1f programs want its %d cores", busy, cores
        )
    return 0


def _here(function: Callable[[Any], Any], task: Any) -> Any:
    return function(task)


def _alone(function: Callable[[Any], Any], task: Any) -> Any:
    """Run a function in a process of its own, and return what it returns.

    Raises
    ------
    RuntimeError
        It fails.
    """
    from mcbert.pipeline.cluster import loky

    ((_, found, error),) = loky.execute(function, [task], 1)
    if error is not None:
        raise RuntimeError(f"estimate: {error}")
    return found


def _row(cost: Any) -> tuple[str, ...]:
    if cost.done:
        return cost.stage, "done", "-", "-", cost.made_of
    disk, memory = (size_text(n) if n is not None else "?" for n in (cost.disk, cost.memory))
    return cost.stage, as_range(cost.seconds), disk, memory, cost.made_of


def as_range(seconds: tuple[float, float] | None) -> str:
    """Return "40-90 s" or "2.1-4.3 min"; the upper end chooses the unit."""
    if seconds is None:
        return "?"
    size, unit = next((entry for entry in TIMES if seconds[1] >= entry[0]), TIMES[-1])
    low, high = (f"{one / size:.{1 if one < 10 * size else 0}f}" for one in seconds)
    return f"{low}-{high} {unit}"
