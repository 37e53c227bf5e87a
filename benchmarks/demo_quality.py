"""Quality of the samples' systems over seeds: probe, MC-BERT, MC-BERT-WF beside the [CLS] baseline.

    python benchmarks/demo_quality.py --seeds 5

Runs (or finishes) the stages in a run folder of its own and prints mean target-language test accuracy, per
language, with
paired bootstrap intervals over test texts against the baseline. Test labels choose nothing. The last line
is JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.pipeline.cli import main as mcbert
from mcbert.results import csv_files
from mcbert.results.csv_files import read
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import TABLE1

SYSTEMS = ("baseline", "probe", "mcbert", "mcbert_wf")


def majority(predictions: pd.DataFrame) -> float:
    """Return the accuracy of always answering the most frequent test label, the chance level."""
    labels = predictions.loc[predictions["split"] == "test"].drop_duplicates("id")["label"]
    return float(labels.value_counts(normalize=True).max())


def main() -> None:
    """Run the stages, print the table, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5, help="trainings per system")
    parser.add_argument("--config", default="demo")
    parser.add_argument("--run", default="demo-quality")
    parser.add_argument("overrides", nargs="*", help="section.key=value")
    args = parser.parse_args()
    seeds = list(range(args.seeds))
    if mcbert(
        ["finetune", "--config", args.config, "--run", args.run, f"finetune.seeds={seeds}", *args.overrides]
    ):
        raise SystemExit(2)
    folder = Path("results/runs") / args.run
    table = csv_files.read_with_sums(TABLE1, folder / "table1.csv")
    table = table.set_index(["system", "language"])
    systems = [s for s in SYSTEMS if s in table.index.get_level_values("system")]
    languages = list(table.loc["baseline"].index)
    chance = majority(read(PREDICTIONS, folder / "predictions_finetune.csv"))

    print(f"machine: {platform.machine()}, {len(seeds)} seeds, majority class {chance:.3f}")
    print("| system | protocol | " + " | ".join(languages) + " | difference to the baseline (95%) |")
    print("|---" * (len(languages) + 3) + "|")
    for system in systems:
        cells = [f"{table.loc[(system, name), 'accuracy']:.3f}" for name in languages]
        mean = table.loc[(system, "mean")]
        gain = "" if np.isnan(mean["versus_baseline_low"]) else _gain(mean)
        print(f"| {system} | {mean['protocol']} | " + " | ".join(cells) + f" | {gain} |")
    figures = {system: float(table.loc[(system, "mean"), "accuracy"]) for system in systems}
    per_language = {
        system: {name: float(table.loc[(system, name), "accuracy"]) for name in languages}
        for system in systems
    }
    intervals = {
        system: [
            float(table.loc[(system, "mean"), key])
            for key in ("versus_baseline", "versus_baseline_low", "versus_baseline_high")
        ]
        for system in systems
        if system != "baseline"
    }
    print(
        json.dumps(figures | {"per_language": per_language, "versus_baseline": intervals, "majority": chance})
    )


def _gain(row: pd.Series) -> str:
    value, low, high = (f"{row[f'versus_baseline{end}']:+.3f}" for end in ("", "_low", "_high"))
    return f"{value} [{low}, {high}]"


if __name__ == "__main__":
    main()
