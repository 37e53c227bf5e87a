"""Zero-shot transfer by mcbert beside what else a user would write, with one encoder on one machine.

    python benchmarks/compared.py --encoder FOLDER --data FOLDER --prompt "query: "
    python benchmarks/compared.py --encoder FOLDER --data FOLDER --benchmark sib200 --way searched

The ways are those of compared_ways.py; the data folder and the corpora those of real.py: all see the train
texts of English, and label the same test texts of every language. A way runs in a process of its own, whose
seconds hold all from loading the encoder to the last label. One whose package is not installed is left out,
and the output says so; SetFit is not among the project's dependencies: `pip install setfit`. The same
command with the same out folder does what is missing; every finished way is in the table. Printed are, a
benchmark, test accuracy and macro-F1, the mean over target languages, with 95% intervals over texts, the
difference to ours, minutes, lines of code; last, a line of JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import shutil
import time
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import real
import real_data
import real_plan
import real_tables
from compared_ways import OURS, WAYS, Given

from mcbert.features.corpus.repeats import translations_of
from mcbert.files import write_text
from mcbert.files.objects import read_object
from mcbert.pipeline.run import machine
from mcbert.results import statistics, table1
from mcbert.results.schema.words import MEAN

BENCHMARKS = ("sib200", "ha_intents", "samples")
SMALL = {
    "search": {"max_layers": 1, "classifiers": ["lda", "ridge"]},
    "training": {"epochs": 1},
}
"""Arguments of the product's ways under --cut."""


def main(argv: list[str] | None = None) -> None:
    """Run the ways, print a table for each benchmark, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    real.add_common(parser, BENCHMARKS)
    parser.add_argument("--way", action="append", choices=list(WAYS), help="may be repeated; default: all")
    parser.add_argument("--seeds", type=int, default=3, help="of the ways that draw random numbers")
    parser.add_argument("--tests", type=int, default=0, help="test texts of a language; 0: all")
    parser.add_argument(
        "--out", type=Path, default=Path("results/runs/compared"), help="folder of what the ways answered"
    )
    args = parser.parse_args(argv)
    figures: dict[str, Any] = {
        "encoder": args.encoder.name,
        "machine": machine(),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        "cut": args.cut,
    }
    for name, folder in real.at_hand(args.benchmark or BENCHMARKS, args, figures):
        figures[name] = Comparison(name, folder, args).run()
    print(json.dumps(figures, ensure_ascii=False))


@dataclasses.dataclass
class Comparison:
    """The ways on one benchmark; in the out folder its texts, and two files for each way and seed."""

    name: str
    data: Path
    args: argparse.Namespace

    @property
    def folder(self) -> Path:
        """Of this benchmark, in the out folder."""
        return Path(self.args.out.resolve()) / f"{self.name}{'-cut' if self.args.cut else ''}"

    def run(self) -> dict[str, Any]:
        """Do what is missing; print the table and return the figures."""
        texts = self.texts()
        n = texts["split"].value_counts()
        print(
            f"\n## {self.name}\n\n{n['train']:,} train, {n['dev']:,} dev, {n['test']:,} test texts, "
            f"{texts['language'].nunique()} languages\n"
        )
        translated = translations_of(texts, real_data.SOURCE, "dev")
        skipped = {}
        for name in self.args.way or WAYS:
            absent = [one for one in WAYS[name].needs if importlib.util.find_spec(one) is None]
            if absent:
                skipped[name] = f"{absent[0]} is not installed"
            elif WAYS[name].translations and not translated:
                skipped[name] = "dev texts have no translations"
            else:
                self._answer(name, texts)
        for name, reason in skipped.items():
            print(f"skipped: {name}: {reason}")
        found = self._figures(texts) | {"skipped": skipped}
        print(as_text(found), flush=True)
        return found

    def texts(self) -> pd.DataFrame:
        """Return the corpus, as it was the first time in this out folder."""
        path = self.folder / "texts.csv"
        if not path.is_file():
            settings = tomllib.loads(real.SETTINGS.read_text(encoding="utf-8"))
            table = real_data.READERS[self.name](self.data, settings[self.name])
            rung = {"train": 0, "dev": 0, "test": self.args.tests}
            if self.args.cut:
                table = real_data.only_targets(table, settings["cut"]["targets"])
                rung = settings["cut"]["rung"]
            self.folder.mkdir(parents=True, exist_ok=True)
            real_data.write_table(real_data.with_rung(table, rung), path)
        return pd.read_csv(path, dtype=str, keep_default_na=False)

    def _answer(self, name: str, texts: pd.DataFrame) -> None:
        """Have a way label the test texts, once a seed."""
        test = texts[texts["split"] == "test"]
        for seed in range(self.args.seeds if WAYS[name].draws else 1):
            path = self.folder / f"{name}-{seed}.json"
            if path.is_file():
                continue
            cache = self.folder / "cache"
            shutil.rmtree(cache, ignore_errors=True)
            cache.mkdir()
            given = Given(
                encoder=str(self.args.encoder.resolve()),
                prompt=self.args.prompt,
                train=texts[texts["split"] == "train"],
                dev=texts[texts["split"] == "dev"],
                test=test["text"],
                cache=cache,
                seed=seed,
                **(SMALL if self.args.cut else {}),
            )
            labels, clock, cpu = real_plan.apart(timed, name, given)
            shutil.rmtree(cache)
            answered = test[["id", "language", "label"]].assign(predicted=labels, seed=seed)
            write_text(path.with_suffix(".csv"), answered.to_csv(index=False))
            write_text(path, json.dumps({"seconds": clock, "cpu_seconds": cpu}) + "\n")

    def _figures(self, texts: pd.DataFrame) -> dict[str, Any]:
        """Return what was measured, of all ways that were finished in this out folder."""
        answers, spent = dict[str, pd.DataFrame](), dict[str, pd.DataFrame]()
        for name in WAYS:
            paths = sorted(self.folder.glob(f"{name}-[0-9]*.json"))
            if paths:
                parts = [
                    pd.read_csv(path.with_suffix(".csv"), dtype={"seed": int}, keep_default_na=False)
                    for path in paths
                ]
                answers[name] = pd.concat(parts, ignore_index=True)
                spent[name] = pd.DataFrame([read_object(path) for path in paths])
        ours = next((name for name in OURS if name in answers), "")
        found = real_tables.compared(answers, {"to_ours": ours}, real_data.SOURCE)
        for name, rows in answers.items():
            minutes = spent[name].mean() / 60
            found[name] |= {
                "interval": mean_interval(rows),
                "minutes": round(float(minutes["seconds"]), 2),
                "cpu_minutes": round(float(minutes["cpu_seconds"]), 2),
                "lines": WAYS[name].lines,
            }
        test = texts[texts["split"] == "test"]
        return {"test_texts": len(test), "ours": ours, "ways": found}


def timed(name: str, given: Given) -> tuple[Sequence[str], float, float]:
    """Return what a way answers, its seconds by the clock, and those of all CPUs in this process."""
    clock, cpu = time.monotonic(), time.process_time()
    way = WAYS[name]
    labels = [str(label) for label in way.label(given, **way.options)]
    return labels, time.monotonic() - clock, time.process_time() - cpu


def mean_interval(rows: pd.DataFrame) -> list[float | None]:
    """Return the 95% bootstrap interval over texts of the mean accuracy over the target languages."""
    right = table1.correctness(rows).T.groupby(level="language").mean().T
    targets = right.drop(columns=real_data.SOURCE, errors="ignore").to_numpy(dtype=np.float64)
    drawn = statistics.resampled_means(targets).mean(axis=1)
    measured = float(np.nanmean(targets, axis=0).mean())
    interval = statistics.percentile_interval(measured, drawn)
    return [real_tables.rounded(interval.low), real_tables.rounded(interval.high)]


def as_text(found: Mapping[str, Any]) -> str:
    """Return the table as Markdown."""
    head = [
        "way", "learns from", "seeds", "en", "mean of targets", "macro-F1", "less ours", "minutes",
        "minutes of CPU", "lines",
    ]  # fmt: skip
    rows = []
    for name, row in found["ways"].items():
        way, accuracy = WAYS[name], row["accuracy"]
        low, high = row["interval"]
        rows.append([
            f"{way.title} (ours)" if name == found["ours"] else way.title,
            way.reads,
            str(row["n_seeds"]) if way.draws else "",
            f"{accuracy[real_data.SOURCE]:.3f}",
            f"{accuracy[MEAN]:.3f} [{low:.3f}, {high:.3f}]",
            f"{row['f1_macro'][MEAN]:.3f}",
            real_tables.points(row.get("to_ours")),
            f"{row['minutes']:.1f}",
            f"{row['cpu_minutes']:.1f}",
            str(row["lines"]),
        ])  # fmt: skip
    return real_tables.markdown(head, rows)


if __name__ == "__main__":
    main()
