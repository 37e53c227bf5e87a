"""Real benchmarks of a real encoder: what each way of choosing costs, and what training adds.

    python benchmarks/real.py --encoder FOLDER --data FOLDER --prompt "query: "
    python benchmarks/real.py --encoder FOLDER --data FOLDER --benchmark xnli --plan

The data folder holds xnli, sib200 and ha_intents (real_data.py says in which form); a benchmark whose folder
is not there is skipped, and the output says so. All settings are in real.toml, fixed before any test text was
scored. A step of training and a pass of encoding are timed first, and choose how much of a benchmark is done
(real_plan.py). The stages are commands of the product, each with a TOML file of the out folder; the same
command with the same out folder resumes. Printed are the tables of each benchmark and, last, a line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import shlex
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import real_data
import real_plan
import real_tables

from mcbert.files import write_text
from mcbert.files.objects import read_object
from mcbert.files.toml import document
from mcbert.home import HOME
from mcbert.pipeline.run import machine

SETTINGS = Path(__file__).with_name("real.toml")


def main(argv: list[str] | None = None) -> None:
    """Run the benchmarks, print their tables, print the figures as JSON."""
    args = arguments().parse_args(argv)
    settings = tomllib.loads(args.settings.read_text(encoding="utf-8"))
    names = args.benchmark or list(real_data.READERS)
    figures: dict[str, Any] = {"encoder": args.encoder.name, "machine": machine(), "cut": args.cut}
    for name, folder in at_hand(names, args, figures):
        share = settings[name]["share"] / sum(settings[other]["share"] for other in names)
        benchmark = Benchmark(name, folder, args, settings, seconds=3600 * settings["hours"] * share)
        figures[name] = benchmark.run()
    print(json.dumps(figures, ensure_ascii=False))


def arguments() -> argparse.ArgumentParser:
    """Declare the options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_common(parser, list(real_data.READERS))
    parser.add_argument("--seeds", type=int, help="trainings of each system, instead of the plan's")
    parser.add_argument(
        "--out", type=Path, default=Path("results/runs/real"), help="folder of runs, caches, configurations"
    )
    parser.add_argument("--settings", type=Path, default=SETTINGS, help=f"default: {SETTINGS.name}")
    parser.add_argument("--plan", action="store_true", help="print the plan and end")
    parser.add_argument("--search-only", action="store_true", help="phase one alone")
    return parser


def add_common(parser: argparse.ArgumentParser, benchmarks: Sequence[str]) -> None:
    """Add the options that all benchmarks on real corpora have."""
    parser.add_argument("--encoder", type=Path, required=True, help="folder of a Hugging Face encoder")
    parser.add_argument("--prompt", default="", help='put before each text, as E5 wants "query: "')
    parser.add_argument("--data", type=Path, help=f"folder that holds {', '.join(benchmarks)}")
    parser.add_argument(
        "--benchmark", action="append", choices=benchmarks, help="may be repeated; default: all"
    )
    parser.add_argument("--cut", action="store_true", help="a few texts: shows that it works")


def at_hand(
    names: Sequence[str], args: argparse.Namespace, figures: dict[str, Any]
) -> Iterator[tuple[str, Path]]:
    """Yield the benchmarks whose data are there, with their folders; print and note which are not."""
    for name in names:
        folder = (args.data or Path()) / name
        if name == "samples" or (args.data and folder.is_dir()):
            yield name, folder
            continue
        where = str(folder) if args.data else "no --data given"
        print(f"\n## {name}\n\nskipped: {where}: no such folder")
        figures[name] = {"skipped": where}


@dataclasses.dataclass
class Benchmark:
    """One benchmark in the out folder: <name>/ with its texts and plan; <run>.toml and runs/<run>."""

    name: str
    data: Path
    args: argparse.Namespace
    settings: Mapping[str, Any]
    seconds: float
    """That it may take."""

    @property
    def own(self) -> Mapping[str, Any]:
        """Settings of this benchmark."""
        found: Mapping[str, Any] = self.settings[self.name]
        return found

    @property
    def out(self) -> Path:
        """The out folder."""
        return Path(self.args.out.resolve())

    @property
    def label(self) -> str:
        """Name of its folder and of the run that searches."""
        return f"{self.name}-cut" if self.args.cut else self.name

    @property
    def folder(self) -> Path:
        """Its plan and its texts."""
        return self.out / self.label

    def run(self) -> dict[str, Any]:
        """Do what is planned; print the table and return the figures."""
        began = time.monotonic()
        plan = self.plan()
        print(f"\n## {self.name}\n\n{described(plan)}", flush=True)
        if self.args.plan:
            return {"plan": plan}
        self._commands(plan)
        found = real_tables.figures(self.runs(), self.out / "runs", source=real_data.SOURCE)
        if self.name == "xnli":
            found["published"] = real_tables.published(found["languages"])
        print(real_tables.as_text(found), flush=True)
        if self.own.get("all_languages"):
            found["others"] = self._other_languages()
            print(real_tables.others_as_text(found["others"]), flush=True)
        return {"plan": plan, "seconds": round(time.monotonic() - began), **found}

    def runs(self) -> dict[str, dict[str, str]]:
        """Return run -> system of the product -> name in the tables."""
        return {self.run_name(run): run["systems"] for run in self.settings["runs"]}

    def run_name(self, run: Mapping[str, Any]) -> str:
        """Return the name of a run of phase two; the search has that of the benchmark."""
        return f"{self.label}-{run['name']}" if run["name"] else self.label

    def plan(self) -> dict[str, Any]:
        """Return the plan and write the texts, as they were the first time in this out folder."""
        path = self.folder / "plan.json"
        if path.is_file():
            kept = dict(read_object(path, {"seeds": int, "texts": dict}))
            if self.args.seeds not in (None, kept["seeds"]):
                raise SystemExit(f"--seeds: got {self.args.seeds}, accepted: {kept['seeds']}, as {path} says")
            return kept
        table = real_data.READERS[self.name](self.data, self.own)
        if self.args.cut:
            table = real_data.only_targets(table, self.settings["cut"]["targets"])
            plan = dict(self.settings["cut"]["rung"])
        else:
            plan = self._chosen(table)
        if self.args.seeds:
            plan["seeds"] = self.args.seeds
        table = real_data.with_rung(table, plan, in_order=self.own.get("in_order", False))
        plan["texts"] = {str(split): int(n) for split, n in table["split"].value_counts().items()}
        plan["blocks"] = real_plan.apart(real_plan.blocks, self.args.encoder)
        plan["languages"] = int(table["language"].nunique())
        if not self.args.plan:
            self.folder.mkdir(parents=True, exist_ok=True)
            real_data.write_table(table, self.folder / "texts.csv")
            write_text(path, json.dumps(plan, indent=1) + "\n")
        return plan

    def _chosen(self, table: pd.DataFrame) -> dict[str, Any]:
        encoder, prompt = self.args.encoder, self.args.prompt
        speeds = real_plan.apart(real_plan.measure, encoder, prompt, table)
        tokens = real_plan.apart(real_plan.mean_tokens, encoder, prompt, table)
        ladder = [dict(rung) for rung in self.own["ladder"]]
        for rung in ladder:
            rung["seeds"] = self.args.seeds or rung["seeds"]
        cut = [real_data.with_rung(table, rung, in_order=self.own.get("in_order", False)) for rung in ladder]
        loads = [
            real_plan.load_of(rows, rung["eval"], tokens) for rows, rung in zip(cut, ladder, strict=True)
        ]
        systems = sum(len(run["systems"]) for run in self.settings["runs"])
        found = real_plan.choose(ladder, loads, speeds, systems=systems, seconds=self.seconds)
        rounded = {name: round(value, 2) for name, value in dataclasses.asdict(speeds).items()}
        return found | {"allowed_seconds": round(self.seconds), "speeds": rounded}

    def configuration(self, run: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
        """Return the sections of the configuration of a run."""
        blocks = plan["blocks"]
        common, finetune = self.settings["sections"], run["finetune"]
        search = {"layers": list(range(blocks // 3 + 1, blocks + 1)), **common.get("gridsearch", {})}
        if self.args.cut:
            search |= self.settings["cut"]["gridsearch"]
        n_searched, parallel = self.own.get("search_train", 0), self.own.get("parallel")
        if n_searched < plan["texts"]["train"]:
            search["train_texts"] = n_searched
        if parallel:
            given = self.data.parent / parallel
            search["parallel"] = str(given.resolve() if given.is_dir() else HOME / "samples/intents")
        freeze = {min(int(e), plan["epochs"] - 1): at for e, at in finetune.get("freeze", {}).items()}
        training = {
            "systems": list(run["systems"]),
            "seeds": list(range(plan["seeds"])),
            "epochs": plan["epochs"],
            **common["finetune"],
            **finetune,
            **({"freeze": freeze} if freeze else {}),
            "eval_texts": plan["eval"],
        }
        sections: dict[str, Any] = {
            "corpus": {"path": f"{self.label}/texts.csv", **self.own.get("corpus", {})},
            "encoder": {"path": str(self.args.encoder.resolve()), "prompt": self.args.prompt},
            "gridsearch": search,
            "finetune": training,
            "report": common.get("report", {}),
        }
        if self.args.cut:
            sections["cluster"] = self.settings["cut"]["cluster"]
        return sections

    def _commands(self, plan: Mapping[str, Any]) -> None:
        """Run the stages, each of which does nothing where it is done."""
        runs = self.settings["runs"]
        for run in runs:
            self._write(run, self.configuration(run, plan))
        self._stage("gridsearch", self.label)
        if self.args.search_only:
            return
        for run in runs[1:]:
            self._copy_search(self.run_name(run))
        for run in runs:
            if self._freezes(run, plan):
                self._stage("finetune", self.run_name(run))
        self._stage("report", self.label)

    def _freezes(self, run: Mapping[str, Any], plan: Mapping[str, Any]) -> bool:
        """Take MC-BERT-WF out of a run whose layers to freeze feed nothing; return if a system is left."""
        layers = run["finetune"].get("layers") or self._searched_layers()
        settings = run["finetune"]
        groups = [*settings.get("freeze", {}).values(), *settings.get("freeze_groups", [])]
        named = [layer for several in groups for layer in several]
        if not named or min(named) <= max(layers):
            return True
        systems = {name: title for name, title in run["systems"].items() if name != "mcbert_wf"}
        print(f"{self.run_name(run)}: no MC-BERT-WF: of layers {named} none feeds the head, {layers}")
        self._write(run, self.configuration({**run, "systems": systems}, plan))
        return bool(systems)

    def _searched_layers(self) -> list[int]:
        """Return the layers that phase two takes: of a winner that is a mean those of its best candidate."""
        winner = read_object(self.out / "runs" / self.label / "winner.json", {"layers": list})
        return list(winner.get("best", winner)["layers"])

    def _copy_search(self, run: str) -> None:
        """Begin a run with the search of another: the stages find it done."""
        target = self.out / "runs" / run
        if not target.exists():
            beside = target.with_name(f".{run}.part")
            shutil.rmtree(beside, ignore_errors=True)
            shutil.copytree(self.out / "runs" / self.label, beside)
            beside.rename(target)

    def _other_languages(self) -> dict[str, float]:
        """Have the search's winner label the test texts of the languages that were not searched."""
        others = real_data.read_others(self.data, self.own)
        if self.args.cut:
            others = others.groupby("language").head(1).iloc[:20]
        texts, labels = self.folder / "others.csv", self.folder / "others-labels.csv"
        real_data.write_table(others, texts)
        self._stage("export", self.label)
        if not labels.is_file():
            model = next((self.out / "runs" / self.label / "models").glob("probe*"))
            self._mcbert("predict", "--model", model, "--input", texts, "--output", labels)
        return real_tables.accuracy_by_language(others, labels)

    def _write(self, run: Mapping[str, Any], sections: Mapping[str, Any]) -> None:
        write_text(self.out / f"{self.run_name(run)}.toml", document(sections))

    def _stage(self, stage: str, run: str) -> None:
        folders = ("--runs", self.out / "runs", "--cache", self.out / "cache")
        self._mcbert(stage, "--config", self.out / f"{run}.toml", *folders)

    def _mcbert(self, *words: object) -> None:
        """Run a command of the product, its log on standard error; end where it fails."""
        command = [sys.executable, "-m", "mcbert", *map(str, words)]
        sys.stderr.write(f"$ {shlex.join(command)}\n")
        if status := subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            raise SystemExit(status)


def described(plan: Mapping[str, Any]) -> str:
    """Return the plan in a line or two."""
    texts = ", ".join(f"{n:,} {split}" for split, n in sorted(plan["texts"].items(), reverse=True))
    line = f"{texts} texts, {plan['languages']} languages, {plan['epochs']} epochs, {plan['seeds']} seeds"
    if "speeds" not in plan:
        return f"{line}: a cut, which measures nothing"
    speeds = plan["speeds"]
    fit = "" if plan["fits"] else ", more than there is: the last rung of the ladder"
    return (
        f"{line}\nchosen for {plan['allowed_seconds']} s: an estimate of {plan['seconds']} s{fit} without "
        f"the search, at {speeds['encoded']:,.0f} tokens/s encoded, {speeds['trained']:,.0f} tokens/s "
        f"trained on each of {speeds['cores']} cores, {speeds['fixed']:.1f} s a training beside its steps"
    )


if __name__ == "__main__":
    main()
