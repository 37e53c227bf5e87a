"""The tables of benchmarks/real.py, from the results of its runs: systems by language, prices of protocols.

Accuracies, differences and intervals are those of Table 1 (mcbert.results.table1): paired over texts, seeds
averaged, translations of a text drawn together.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import f1_score

from mcbert.results import csv_files, table1
from mcbert.results.schema.runs import CONCLUSIONS
from mcbert.results.schema.search import PREDICTIONS, PROTOCOL_CHOICES
from mcbert.results.schema.words import MEAN
from mcbert.search.outcome.predictions import Predictions

BASELINE = "baseline"
BESIDE = ("oracle", "reference")
ENDS = ("effect", "effect_low", "effect_high")
ROWS = ("id", "language", "seed", "label", "predicted")


def figures(runs: Mapping[str, Mapping[str, str]], folder: Path, *, source: str) -> dict[str, Any]:
    """Return what the runs measured.

    Parameters
    ----------
    runs : mapping of str to mapping of str to str
        Run -> system of the product -> name in the tables; the first is the one that searched.
    folder : Path
        Of all runs.

    Returns
    -------
    dict
        languages: the source first; systems: name -> accuracy by language and under `mean`, sd over seeds,
        f1_macro, differences of means to the baseline and to the probe of the protocol used; prices:
        protocol -> differences of means to target-dev and to the reference, as far as the search has one;
        each difference with the ends of its 95% interval.
    """
    searched = folder / next(iter(runs))
    choices = csv_files.read_with_sums(PROTOCOL_CHOICES, searched / PROTOCOL_CHOICES.file_name)
    choices = choices[choices["split"] == "test"]
    used = choices.loc[choices["used"], "protocol"].iloc[0]
    systems = probes(choices, Predictions.load(searched / "predictions.npz"))
    systems[probe_name(used)] = test_rows(searched / "predictions_gridsearch.csv")["probe"]
    baseline = None
    for run, names in runs.items():
        path = folder / run / "predictions_finetune.csv"
        trained = test_rows(path) if path.is_file() else {}
        systems |= {title: trained[system] for system, title in names.items() if system in trained}
        baseline = names[BASELINE] if BASELINE in trained else baseline
    references = {"to_probe": probe_name(used)} | ({"to_baseline": baseline} if baseline else {})
    languages = table1.ordered_languages(set(choices["language"]) - {MEAN}, source)
    return {
        "protocol": used,
        "languages": languages,
        "systems": compared(systems, references, source),
        "prices": prices(choices),
        "conclusions": conclusions(searched),
    }


def test_rows(path: Path) -> dict[str, pd.DataFrame]:
    """Return the test rows of each system that a file of predictions holds."""
    rows = csv_files.read(PREDICTIONS, path)
    rows = rows[rows["split"] == "test"]
    return {str(system): some[list(ROWS)] for system, some in rows.groupby("system")}


def probe_name(protocol: str) -> str:
    """Return the name of the frozen probe that a protocol chose."""
    return f"probe, {protocol}"


def probes(choices: pd.DataFrame, predictions: Predictions) -> dict[str, pd.DataFrame]:
    """Return what the choice of each protocol predicts for the test texts; of choices that are candidates."""
    rows = predictions.rows("test")
    labels = np.array(predictions.labels)
    found = {}
    for protocol, name in choices[["protocol", "candidate_id"]].drop_duplicates().itertuples(index=False):
        if name in predictions.candidates:
            codes = predictions.codes[predictions.candidates.index(name), predictions.text[rows]]
            found[probe_name(str(protocol))] = pd.DataFrame(
                {
                    "id": predictions.ids[rows],
                    "language": predictions.language[rows],
                    "seed": 0,
                    "label": labels[predictions.y[rows]],
                    "predicted": labels[codes],
                }
            )
    return found


def compared(
    systems: Mapping[str, pd.DataFrame], references: Mapping[str, str], source: str
) -> dict[str, dict[str, Any]]:
    """Return accuracy, macro-F1 and differences of every system.

    Parameters
    ----------
    systems : mapping of str to DataFrame
        Test rows: id, language, seed, label, predicted.
    references : mapping of str to str
        Key of the differences -> name of the system that they are to.
    """
    correct = {name: table1.correctness(rows) for name, rows in systems.items()}
    out: dict[str, dict[str, Any]] = {}
    for name, rows in systems.items():
        measured = {row["language"]: row for row in table1.measured(correct[name], None, source)}
        out[name] = {
            "accuracy": {language: rounded(row["accuracy"]) for language, row in measured.items()},
            "sd": rounded(measured[MEAN]["sd"]),
            "n_seeds": measured[MEAN]["n_seeds"],
            "f1_macro": f1_macro(rows, source),
        }
        for key, reference in references.items():
            if reference in correct and reference != name:
                row = table1.measured(correct[name], correct[reference], source)[-1]
                out[name][key] = [rounded(row[end]) for end in ("difference", "low", "high")]
    return out


def f1_macro(rows: pd.DataFrame, source: str) -> dict[str, float]:
    """Return the macro-F1 of each language over the labels of its texts, and their mean over the targets."""
    found = {}
    for language, texts in rows.groupby("language"):
        labels = sorted(texts["label"].unique())
        seeds = [
            f1_score(one["label"], one["predicted"], labels=labels, average="macro", zero_division=0)
            for _, one in texts.groupby("seed")
        ]
        found[str(language)] = float(np.mean(seeds))
    found[MEAN] = float(np.mean([f1 for language, f1 in found.items() if language != source]))
    return {language: rounded(f1) for language, f1 in found.items()}


def prices(choices: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return each protocol's choice and its mean over the targets, beside the oracle and the reference."""
    rows = choices[choices["language"] == MEAN]
    return {
        str(row["protocol"]): {
            "candidate": row["candidate_id"] or None,
            "score": rounded(row["score"]),
            **{
                f"to_{other}": [rounded(row[f"versus_{other}{end}"]) for end in ("", "_low", "_high")]
                for other in BESIDE
                if f"versus_{other}" in row
            },
        }
        for row in rows.to_dict("records")
    }


def conclusions(run: Path) -> list[dict[str, Any]]:
    """Return the comparisons that test the paper's conclusions, where the report was made."""
    path = run / CONCLUSIONS.file_name
    if not path.is_file():
        return []
    table = csv_files.read(CONCLUSIONS, path)
    names = ["number", "conclusion", "comparison", "verdict"]
    return [
        {**{name: str(row[name]) for name in names}, "effect": [rounded(row[end]) for end in ENDS]}
        for row in table.to_dict("records")
    ]


def accuracy_by_language(texts: pd.DataFrame, labels: Path) -> dict[str, float]:
    """Return the accuracy of the labels that the command predict wrote, by language and their mean."""
    given = pd.read_csv(labels, dtype=str, keep_default_na=False).set_index("id")["label"]
    right = texts["id"].map(given) == texts["label"]
    found = right.groupby(texts["language"]).mean()
    return {MEAN: rounded(found.mean()), **{str(name): rounded(value) for name, value in found.items()}}


def rounded(value: Any) -> float | None:
    """Return a number with four digits; None for one that is none."""
    return None if value is None or math.isnan(value) else round(float(value), 4)


def as_text(found: Mapping[str, Any]) -> str:
    """Return the tables as Markdown."""
    systems = found["systems"]
    languages = [*found["languages"], MEAN]
    head = ["system", *languages, "sd", "macro-F1", "to the [CLS] baseline", "to the probe"]
    rows = [
        [
            name,
            *(f"{row['accuracy'][language]:.3f}" for language in languages),
            "" if row["sd"] is None else f"{row['sd']:.3f}",
            f"{row['f1_macro'][MEAN]:.3f}",
            points(row.get("to_baseline")),
            points(row.get("to_probe")),
        ]
        for name, row in systems.items()
    ]
    quoted = found.get("published", {})
    rows += [
        [f"published: {name}", *(f"{row[language]:.3f}" for language in languages), *[""] * 4]
        for name, row in quoted.items()
    ]
    price = [
        [name, row["candidate"] or "", f"{row['score']:.3f}", *(points(row.get(f"to_{b}")) for b in BESIDE)]
        for name, row in found["prices"].items()
    ]
    parts = [
        "Test accuracy; differences of the mean in points, with 95% intervals; the probe is that of "
        f"{found['protocol']}\n",
        markdown(head, rows),
        *(
            ["\npublished: other encoders, all of MultiNLI, all 5,010 test pairs or 2,490 of dev"]
            if quoted
            else []
        ),
        "\nPrice of each protocol: the mean beside that of the oracle, target-dev, and of the reference\n",
        markdown(["protocol", "candidate", "mean", *(f"to the {other}" for other in BESIDE)], price),
    ]
    if found["conclusions"]:
        head = ["number", "conclusion", "comparison", "effect", "verdict"]
        rows = [
            [points(row[key]) if key == "effect" else row[key] for key in head]
            for row in found["conclusions"]
        ]
        parts += ["\nThe paper's conclusions on this run\n", markdown(head, rows)]
    return "\n".join(parts)


def others_as_text(accuracy: Mapping[str, float]) -> str:
    """Return the mean and the lowest of the languages that were not searched, as a line."""
    lowest = sorted((value, name) for name, value in accuracy.items() if name != MEAN)[:5]
    shown = ", ".join(f"{name} {value:.3f}" for value, name in lowest)
    n = len(accuracy) - 1
    return f"\nThe probe on the {n} other languages: mean accuracy {accuracy[MEAN]:.3f}; lowest {shown}"


def published(languages: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the published systems' XNLI accuracy by language and in the mean of all but the first.

    Parameters
    ----------
    languages : sequence of str
        The source language first; where one is not among the published, there are no systems.
    """
    table = table1.read_published().pivot(index="system", columns="language", values="accuracy")
    if not set(languages) <= set(table.columns):
        return {}
    table = table[list(languages)].assign(**{MEAN: table[list(languages[1:])].mean(axis=1)})
    return {
        str(name): {str(language): rounded(value) for language, value in row.items()}
        for name, row in table.sort_values(MEAN).iterrows()
    }


def points(difference: list[float] | None) -> str:
    """Return a difference and its interval in points."""
    if difference is None or difference[0] is None:
        return ""
    value, low, high = (100 * end for end in difference)
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    """Return a table."""
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))
