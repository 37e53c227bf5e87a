"""The command line: ``mcbert <stage> [--config NAME|FILE] [--run NAME] [section.key=value ...]``.

mcbert finetune --config demo finetune.epochs=3
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert import __version__
from mcbert.files.toml import document
from mcbert.home import CACHE, RUNS, presets
from mcbert.pipeline import RENAMED
from mcbert.pipeline.cluster import ranks
from mcbert.pipeline.commands import caches, estimate, onnx, predict, runs, vectors
from mcbert.pipeline.interruption import Interrupted, Interruption
from mcbert.pipeline.run import Run, require_folder
from mcbert.pipeline.stages import STAGES, Stage, run_stage

if TYPE_CHECKING:
    from mcbert.pipeline.config import Config

log = logging.getLogger(__name__)

WORKERS = {
    "encode": ("extract_workers", "processes that encode, one per GPU or a share of the CPU cores each"),
    "fit": ("workers", "processes that search and train; 0 is one per CPU core"),
}
CLUSTER = {
    "scheduler": ("scheduler", "a running dask scheduler: tls://host:port, or tcp:// on this machine"),
    "tls-ca": ("tls_ca", "certificate authority of the scheduler, PEM"),
    "tls-cert": ("tls_cert", "this client's certificate, PEM"),
    "tls-key": ("tls_key", "this client's private key, PEM"),
    "wait": ("lock_wait", "seconds to wait for another command that writes the same run or cache"),
}
FLAGS = {
    "insecure": (
        "plain_tcp=true",
        "allow tcp:// to another machine: anyone who reaches its port can run code on it",
    ),
    "dask": ("backend=dask", "search and train on dask; without --scheduler, on a cluster of this machine"),
    "retry-errors": ("retry_errors=true", "run the candidates again that failed in an earlier search"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status: 0 done, 1 failed, 2 unusable input, 130 or 143 interrupted."""
    parser = build_parser()
    args = _parsed(parser, argv)
    logging.basicConfig(
        level=logging.DEBUG if args.debug else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
        force=True,
    )
    if not args.debug:
        for name in ("httpx", "urllib3", "distributed", "fsspec", "huggingface_hub", "faiss"):
            logging.getLogger(name).setLevel(logging.WARNING)
    try:
        with Interruption() as interruption, ranks.joined(args.name) as runs_it:
            return int(args.command(args, interruption)) if runs_it else 0
    except (ValueError, OSError) as error:
        if args.debug:
            raise
        _say(f"error: {' '.join(_told(error).split())}")
        return 2
    except RuntimeError as error:
        if args.debug:
            raise
        _say(f"failed: {' '.join(str(error).split())} (--debug shows where)")
        return 1
    except Interrupted as signalled:
        _say("interrupted; run the same command again to resume")
        return signalled.status


def _parsed(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse a command; argparse takes settings in one place only, here they may stand between options."""
    first = next(iter(sys.argv[1:] if argv is None else argv), "")
    if first in RENAMED:
        parser.error(f"the command {first} is now called {RENAMED[first]}")
    args, rest = parser.parse_known_args(argv)
    if unknown := [one for one in rest if one.startswith("-") or "=" not in one or "overrides" not in args]:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    if rest:
        args.overrides = [*args.overrides, *rest]
    return args


def _told(error: Exception) -> str:
    """Return an error's message; of a file, its name in place of the system's error number."""
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error)


def _say(text: str) -> None:
    """Write how a command ended to standard error, once where several processes share it."""
    if ranks.first():
        sys.stderr.write(f"mcbert: {text}\n")


def build_parser() -> argparse.ArgumentParser:
    """Declare the commands and their options."""
    parser = argparse.ArgumentParser(
        prog="mcbert",
        description="Zero-shot cross-lingual classifiers from a multilingual encoder: search frozen layers, "
        "fine-tune the winner. Each stage runs the earlier ones that are missing; report shows the "
        "results so far and runs none.",
    )
    parser.add_argument("--version", action="version", version=f"mcbert {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", dest="name")
    for name, stage in STAGES.items():
        before = f"; runs {' and '.join(stage.needs)} first where missing" if stage.needs else ""
        command = commands.add_parser(name, help=stage.text, description=f"{stage.text}{before}")
        _add_run(command)
        if stage.workers:
            _add_cluster(command, stage)
        command.set_defaults(command=_stage, stage=name)
    commands.choices["gridsearch"].add_argument(
        "--budget",
        type=_budget,
        metavar="N|SECONDSs",
        help="most candidates (500), or seconds of this run (90s): gridsearch.budget, budget_seconds",
    )
    commands.choices["export"].add_argument(
        "--candidate", metavar="ID|RANK", help="another than the winner, as gridsearch.csv names or ranks it"
    )
    commands.choices["evaluate-embeddings"].add_argument(
        "--model",
        dest="models",
        action="append",
        default=[],
        metavar="NAME[@LAYERS:POOLING]",
        help="a sentence encoder, by folder or hub name; a plain encoder with layers and pooling, such as "
        "xlm-roberta-base@7+8:mean; may be repeated",
    )
    demo = commands.add_parser(
        "demo",
        help="run everything on the samples: finetune, report and the stages they need",
        description="Run the preset demo, from raw texts to the report, on the encoder and texts that come "
        "with the project: minutes on two cores.",
    )
    _add_folders(demo)
    demo.add_argument("--debug", action="store_true", help="log more and show tracebacks")
    demo.set_defaults(command=_demo, config="demo", run=None, overrides=[])
    show = commands.add_parser("show", help="print the configuration that a command would use, as TOML")
    _add_config(show)
    show.set_defaults(command=_show)
    validate = commands.add_parser("validate", help="check results CSVs against the schema")
    validate.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="runs by name, CSV files, or folders whose CSVs to check",
    )
    validate.add_argument("--runs", type=Path, default=RUNS, help="folder of all runs")
    validate.add_argument("--debug", action="store_true", help="show tracebacks")
    validate.set_defaults(command=_validate)
    estimate.add_command(commands.add_parser, _add_run)
    predict.add_command(commands.add_parser)
    vectors.add_commands(commands.add_parser)
    runs.add_command(commands.add_parser)
    onnx.add_command(commands.add_parser)
    caches.add_commands(commands.add_parser)
    return parser


def _budget(text: str) -> str:
    """Turn 500 and 90s into the settings that they stand for."""
    name, value = ("budget_seconds", text[:-1]) if text.endswith("s") else ("budget", text)
    return f"gridsearch.{name}={value}"


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--config", default="demo", help=f"a preset ({', '.join(presets())}) or a TOML file (default: demo)"
    )
    command.add_argument("overrides", nargs="*", metavar="section.key=value", help="settings to change")
    command.add_argument("--debug", action="store_true", help="log more and show tracebacks")


def _add_run(command: argparse.ArgumentParser) -> None:
    """Declare a configuration and its run."""
    _add_config(command)
    command.add_argument("--run", help="name of the run (default: the configuration's name)")
    _add_folders(command)


def _add_folders(command: argparse.ArgumentParser) -> None:
    command.add_argument("--runs", type=Path, default=RUNS, help=f"folder of all runs (default: {RUNS})")
    command.add_argument(
        "--cache", type=Path, default=CACHE, help=f"folder of all feature caches (default: {CACHE})"
    )


def _add_cluster(command: argparse.ArgumentParser, stage: Stage) -> None:
    """Declare the options that stand for a setting of the section `cluster`."""
    group = command.add_argument_group("where it runs (results do not depend on it)")
    for name, (setting, text) in {"workers": WORKERS[stage.workers], **CLUSTER}.items():
        group.add_argument(
            f"--{name}",
            dest="cluster",
            action="append",
            type=f"{setting}={{}}".format,
            metavar=setting.upper(),
            help=f"{text} (cluster.{setting})",
        )
    for name, (setting, text) in FLAGS.items():
        if name == "insecure" or stage.workers == "fit":
            group.add_argument(
                f"--{name}",
                dest="cluster",
                action="append_const",
                const=setting,
                help=f"{text} (cluster.{setting})",
            )


def config_of(args: argparse.Namespace) -> Config:
    """Return the configuration that a command line names, with its overrides."""
    from mcbert.pipeline.config import load

    options = [f"cluster.{option}" for option in getattr(args, "cluster", None) or ()]
    budget = [args.budget] if getattr(args, "budget", None) else []
    return load(args.config, [*args.overrides, *options, *budget])


def _stage(args: argparse.Namespace, interruption: Interruption) -> int:
    from mcbert.pipeline.workspace import Workspace

    config = config_of(args)
    run = Run(args.runs, Path(args.config).stem if args.run is None else args.run, base=config.base)
    ranks.require_unspread(config.cluster)
    workspace = Workspace(config, run, args.cache, interruption)
    options = {name: value for name in ("candidate", "models") if (value := getattr(args, name, None))}
    with run.held(args.stage, config.cluster.lock_wait):
        if args.stage not in ("prepare", "report"):
            require_folder(args.cache, f"--cache {args.cache}")
        if not (run.folder / "cache.json").is_file():
            from mcbert.pipeline.stages.extract import require_known_layers

            require_known_layers(workspace, args.stage)
        run_stage(args.stage, workspace, **options)
    log.info("%s -> %s", args.stage, run.folder)
    return 0


def _demo(args: argparse.Namespace, interruption: Interruption) -> int:
    for stage in ("finetune", "report"):
        _stage(argparse.Namespace(**vars(args), stage=stage), interruption)
    return 0


def _show(args: argparse.Namespace, _: Interruption) -> int:
    config = config_of(args)
    sys.stdout.write(document(config.settings))
    return 0


def _validate(args: argparse.Namespace, _: Interruption) -> int:
    from mcbert.results.csv_files import validate

    files = [file for path in args.paths for file in _csv_files(path, args.runs)]
    if not files:
        raise ValueError(f"validate: no CSV file in {', '.join(map(str, args.paths))}")
    problems = [problem for file in files for problem in validate(file)]
    for problem in problems:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{len(files)} files, {len(problems)} problems\n")
    return 1 if problems else 0


def _csv_files(given: Path, runs: Path) -> list[Path]:
    """List the files that a path or the name of a run stands for."""
    path = next((p for p in (given, runs / given) if p.exists()), None)
    if path is None:
        there = str(given).encode("unicode_escape").decode()
        raise ValueError(f"validate: {there}: no such file or folder, and no run of that name in {runs}")
    return sorted(f for f in path.rglob("*.csv") if f.is_file()) if path.is_dir() else [path]
