"""The effect of fine-tuning on each language over the epochs, on dev: the figures of docs/findings.md.

    mcbert finetune --config demo --run findings finetune.epochs=6 'finetune.seeds=[0, 1, 2, 3, 4]'
    python benchmarks/findings.py --run findings

Prints dev accuracy by epoch, how it changes from the first epoch to the last (95% interval over seeds), and
how far the systems are apart at the end (95% paired bootstrap over dev texts). The last line is JSON. Test
rows are not looked at.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pandas as pd

from mcbert.results import table1
from mcbert.results.csv_files import read
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.training import FINETUNE
from mcbert.results.statistics import Interval, mean_interval

REFERENCE = "mcbert"


def curves(finetune: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return dev accuracy: index (system, seed, epoch), columns source and targets (mean)."""
    dev = finetune[finetune["split"] == "dev"].drop_duplicates(
        ["system", "seed", "epoch", "language"], keep="last"
    )
    wide = dev.pivot(index=["system", "seed", "epoch"], columns="language", values="accuracy")
    targets = wide.drop(columns=source_language).mean(axis=1)
    return pd.DataFrame({"source": wide[source_language], "targets": targets})


def changes(accuracy: pd.DataFrame, since: int = 1) -> pd.DataFrame:
    """Return how accuracy changes from an epoch to the last, by (system, seed)."""
    epochs = accuracy.index.get_level_values("epoch")
    first, last = (accuracy.xs(epoch, level="epoch") for epoch in (min(since, epochs.max()), epochs.max()))
    return last - first


def shown(interval: Interval) -> str:
    """Write a difference with its interval."""
    return f"{interval.difference:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def main() -> None:
    """Print the tables and the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path, default=Path("results/runs"), help="folder of all runs")
    parser.add_argument("--run", default="findings")
    parser.add_argument("--source-language", default="en")
    args = parser.parse_args()
    folder, source = args.runs / args.run, args.source_language
    accuracy = curves(read(FINETUNE, folder / "finetune.csv"), source)
    figures: dict[str, object] = {}

    print("dev accuracy, mean over seeds")
    means = accuracy.groupby(level=["system", "epoch"]).mean()
    for column in means.columns:
        table = means[column].unstack("epoch")
        print(f"\n| {column} | " + " | ".join(f"epoch {epoch}" for epoch in table.columns) + " |")
        print("|---" * (len(table.columns) + 1) + "|")
        for system, row in table.iterrows():
            print(f"| {system} | " + " | ".join(f"{value:.3f}" for value in row) + " |")
        figures[str(column)] = {str(system): [float(v) for v in row] for system, row in table.iterrows()}

    print("\nfrom epoch 1 to the last, over seeds (95%)\n| system | source | targets |\n|---|---|---|")
    moved = changes(accuracy)
    for system, rows in moved.groupby(level="system"):
        found = {str(name): mean_interval(rows[name]) for name in rows.columns}
        print(f"| {system} | " + " | ".join(map(shown, found.values())) + " |")
        figures[f"change {system}"] = {name: list(vars(i).values()) for name, i in found.items()}
    figures["change_from_second"] = {
        str(system): {str(name): list(vars(mean_interval(rows[name])).values()) for name in rows.columns}
        for system, rows in changes(accuracy, since=2).groupby(level="system")
    }
    if {REFERENCE, "mcbert_wf"} <= set(moved.index.get_level_values("system")):
        both = moved["targets"].unstack("system")
        flatter = mean_interval(both["mcbert_wf"] - both[REFERENCE])
        print(f"\ntargets with freezing minus without, of that change: {shown(flatter)}")
        figures["flatter"] = list(vars(flatter).values())

    files = [folder / name for name in ("predictions_finetune.csv", "predictions_gridsearch.csv")]
    everything = pd.concat([read(PREDICTIONS, path) for path in files if path.is_file()])
    dev = everything[everything["split"] == "dev"]
    correct = {system: table1.correctness(rows) for system, rows in dev.groupby("system")}
    print(f"\nat the chosen moment, mean over targets on dev, against {REFERENCE} (95%, paired over texts)")
    print("| system | dev mean | difference |\n|---|---|---|")
    for system, frame in correct.items():
        reference = None if system == REFERENCE else correct[REFERENCE]
        row = table1.measured(frame, reference, source)[-1]
        gain = Interval(row["difference"], row["low"], row["high"])
        print(f"| {system} | {row['accuracy']:.3f} | {'' if reference is None else shown(gain)} |")
        figures[f"end {system}"] = [row["accuracy"], *vars(gain).values()]
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
