"""The command ``runs``: all runs with their headline scores, as text, as CSV, or some side by side as HTML.

mcbert runs
mcbert runs demo wider --html results/runs/comparison.html
"""

from __future__ import annotations

import argparse
import datetime
import logging
import math
import numbers
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.home import RUNS
from mcbert.pipeline.inputs import require_new, require_output
from mcbert.pipeline.run import read_record

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

_SHOWN = ("run", "protocol", "winner", "candidates", "dev", "test", "baseline", "mcbert", "mcbert_wf",
          "deploy", "encoder", "corpus", "finished", "stages")  # fmt: skip


def add_command(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the command with `add`, the command line's `add_parser`."""
    text = "all runs with their headline scores, of each set of test texts the best winner on dev first"
    command = add("runs", help=text, description=text)
    command.add_argument("names", nargs="*", metavar="RUN", help="runs to list (default: all)")
    command.add_argument("--runs", type=Path, default=RUNS, help="folder of all runs")
    command.add_argument("--csv", type=Path, metavar="FILE", help="write them as a table (runs*.csv) too")
    command.add_argument("--html", type=Path, metavar="FILE", help="write them side by side as a page")
    command.add_argument("--replace", action="store_true", help="replace an output that is there")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_runs)


def _runs(args: argparse.Namespace, *_: object) -> int:
    from mcbert.results.csv_files import write
    from mcbert.results.runs import find_run
    from mcbert.results.schema.runs import RUNS

    folders = [find_run(name, args.runs) for name in dict.fromkeys(args.names)] or folders_of(args.runs)
    if not folders:
        raise ValueError(f"--runs: {args.runs}: no run in it; accepted: a folder of runs")
    if args.csv is not None and not RUNS.is_name(args.csv.name):
        raise ValueError(f"--csv: got {args.csv.name!r}, accepted: a name like {RUNS.file_name}")
    for key, path in (("csv", args.csv), ("html", args.html)):
        if path is not None:
            require_output(path, (f".{key}",), (), key=f"--{key}")
            require_new(path, replace=args.replace, key=f"--{key}")
    frame = listed(folders)
    if args.csv is not None:
        write(RUNS, frame, args.csv)
        log.info("runs: %d -> %s", len(frame), args.csv)
    if args.html is not None:
        from mcbert.results.report.comparison import build

        build(folders, frame, args.html)
    sys.stdout.write(as_text(frame))
    return 0


def folders_of(runs: Path) -> list[Path]:
    """List the folders of runs: those in which a stage has finished."""
    return sorted(path.parent for path in runs.glob("*/stages") if any(path.glob("*.json")))


def listed(folders: list[Path]) -> pd.DataFrame:
    """Sum up runs: rows of table RUNS, with corpus, stages and time from the records of their stages.

    Parameters
    ----------
    folders : list of Path
        The runs' folders.

    Raises
    ------
    ValueError
        The record of a stage is damaged.
    """
    from mcbert.results.leaderboard import leaderboard

    frame = leaderboard(folders)
    told = {folder.name: _recorded(folder) for folder in folders}
    for name in ("corpus", "stages", "finished"):
        frame[name] = [told[run][name] for run in frame["run"]]
    return frame


def _recorded(folder: Path) -> dict[str, str]:
    """Return a run's finished stages, when the last one finished, and its corpus, from their records."""
    from mcbert.results.runs import stage_records

    records = {path.stem: path for path in stage_records(folder)}
    row = {"stages": " ".join(records), "finished": "", "corpus": ""}
    if records:
        last = max(path.stat().st_mtime for path in records.values())
        row["finished"] = datetime.datetime.fromtimestamp(last, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if "prepare" in records:
        inputs = read_record(records["prepare"])["inputs"]
        sections = [inputs.get(section, {}) for section in ("prepare", "corpus")]
        paths = [sections[0].get("raw"), sections[1].get("path")]
        row["corpus"] = next(("/".join(Path(path).parts[-2:]) for path in paths if path), "")
    return row


def as_text(frame: pd.DataFrame) -> str:
    """Return the rows as tables of text, one for each group of the same test texts; problems last.

    Parameters
    ----------
    frame : DataFrame
        From `listed`.
    """
    from mcbert.results.leaderboard import grouped, shared

    groups = [(shared(group), [_line(row) for row in group.to_dict("records")]) for group in grouped(frame)]
    lines = [_SHOWN, *(line for _, group in groups for line in group)]
    widths = [max(len(line[at]) for line in lines) for at in range(len(_SHOWN))]

    def drawn(line: tuple[str, ...]) -> str:
        return "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()

    tables = ["\n".join([f"# {words}", *map(drawn, (_SHOWN, *group))]) for words, group in groups]
    problems = frame[frame["problem"] != ""]
    told = "".join(f"{row.run}: {row.problem}\n" for row in problems.itertuples())
    return "\n\n".join(tables) + "\n" + told


def _line(row: dict[Any, Any]) -> tuple[str, ...]:
    cells = dict(row) | {
        "dev": _percent(row["winner_dev"]),
        "test": _percent(row["winner_test"]),
        "candidates": _count(row["n_candidates"]),
    }
    if not math.isnan(row["winner_test_low"]):
        cells["test"] += f" [{_percent(row['winner_test_low'])}, {_percent(row['winner_test_high'])}]"
    cells |= {name: _percent(row[name]) for name in ("baseline", "mcbert", "mcbert_wf")}
    return tuple(str(cells[name]) or "-" for name in _SHOWN)


def _count(number: Any) -> str:
    """Return a number as text, or nothing where there is none: pandas has several names for that."""
    return str(int(number)) if isinstance(number, numbers.Integral) else ""


def _percent(share: float) -> str:
    return "-" if math.isnan(share) else f"{100 * share:.1f}"
