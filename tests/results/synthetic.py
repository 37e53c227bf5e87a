"""A made-up run: frames like those the stages write, with effects that tests and eyes can look for.

python -m tests.results.synthetic FOLDER [full]
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.pipeline.stages.report import comparer
from mcbert.results import csv_files, table1
from mcbert.results.conclusions import conclude as conclusions
from mcbert.results.schema.runs import CONCLUSIONS
from mcbert.results.schema.search import CONFUSION, EFFECTS, GRIDSEARCH, PREDICTIONS, PROTOCOL_CHOICES, TOP
from mcbert.results.schema.texts import CORPUS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1
from mcbert.results.schema.tune import TUNE
from mcbert.results.schema.words import CLASSIFIERS, SYSTEMS
from mcbert.search.outcome.comparisons import effect_rows, effects, protocol_rows, top_rows
from mcbert.search.outcome.intervals import Sample
from mcbert.search.outcome.predictions import Predictions
from mcbert.search.space import Candidate
from tests.search.answers import make_predictions

STAMP = {
    "run": "demo",
    "config_digest": "9f31c0aa",
    "encoder": "samples/encoder",
    "versions": "mcbert 0.1.0 torch 2.13.0 transformers 5.23.0 scikit-learn 1.8.0",
    "transfer": "zero-shot",
}
LANGUAGES = ("en", "ar", "de", "es", "fr", "ur", "zh")
TARGETS = LANGUAGES[1:]
LABELS = ("cancel order", "delivery problem", "refund status", "talk to a person")
SENTENCES = {
    "en": "Where is my order, please? I wrote to you on Monday and nobody answered.",
    "ar": "\u0623\u064a\u0646 \u0637\u0644\u0628\u064a\u061f",
    "de": "Wo bleibt meine Bestellung?",
    "zh": "\u6211\u7684\u8ba2\u5355\u5728\u54ea\u91cc\uff1f",
}
EASE = {"en": 0.88, "ar": 0.62, "de": 0.76, "es": 0.79, "fr": 0.78, "ur": 0.57, "zh": 0.70}
LAYER_GAIN = {5: -0.03, 6: 0.0, 7: 0.01, 8: 0.04, 9: 0.02, 10: 0.0, 11: 0.01, 12: -0.02}
POOLING_GAIN = {"max": 0.03, "mean": 0.01, "cls": -0.04}
CLASSIFIER_GAIN = {"logistic_regression": 0.01, "linear_svm": 0.015, "ridge": 0.0, "lda": -0.01, "knn": -0.05}
PROTOCOLS = {"probe": "target-dev", "baseline": "last", "mcbert": "last", "mcbert_wf": "last"}
N_TEST = 60
SMALL_SUBSETS = [(6,), (8,), (11,), (6, 8), (8, 11), (6, 8, 11)]


def stamped(rows: list[dict[str, object]]) -> pd.DataFrame:
    return pd.DataFrame(rows).assign(**STAMP)


def all_subsets(layers=range(5, 13)) -> list[tuple[int, ...]]:
    return [s for size in range(1, len(layers) + 1) for s in itertools.combinations(layers, size)]


def gridsearch(subsets=SMALL_SUBSETS, classifiers=("logistic_regression", "knn"), n_errors=1) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    rows: list[dict[str, object]] = []
    for layers, pooling, classifier in itertools.product(subsets, POOLING_GAIN, classifiers):
        gain = np.mean([LAYER_GAIN[k] for k in layers]) + 0.012 * np.log2(len(layers))
        gain += POOLING_GAIN[pooling] + CLASSIFIER_GAIN.get(classifier, -0.02)
        f1 = {
            f"{split}_f1_micro_{language}": float(np.clip(EASE[language] + gain + rng.normal(0, 0.008), 0, 1))
            for split in ("dev", "test")
            for language in LANGUAGES
        }
        name = layers_text(layers)
        rows.append(
            {
                "candidate_id": f"{name}-{pooling}-{classifier}",
                "layers": name,
                "n_layers": len(layers),
                "pooling": pooling,
                "classifier": classifier,
                "params": json.dumps({"C": 1.0} if "l" in classifier else {}),
                "seed": 0,
                "protocol": "target-dev",
                "metric": "f1_micro",
                "dev_f1_micro_mean": float(np.mean([f1[f"dev_f1_micro_{t}"] for t in TARGETS])),
                "test_f1_micro_mean": float(np.mean([f1[f"test_f1_micro_{t}"] for t in TARGETS])),
                "log_loss": 1 - f1["dev_f1_micro_en"],
                "agreement": float(np.mean([f1[f"dev_f1_micro_{t}"] for t in TARGETS])) - 0.1,
                **f1,
                "fit_seconds": 0.02,
                "score_seconds": 0.004,
                "status": "ok",
                "message": "",
            }
        )
    for row in rows[len(rows) - n_errors :]:
        unknown = ("log_loss", "agreement", "fit_seconds", "score_seconds")
        row.update({k: None for k in row if "f1_" in k or k in unknown})
        row.update(status="error", message="ConvergenceError: did not converge in 1000 steps")
    frame = stamped(rows)
    frame["score"] = frame["dev_f1_micro_mean"]
    frame["rank"] = frame["score"].rank(ascending=False, method="first").astype("Int64")
    return frame.sort_values("rank").reset_index(drop=True)


def with_ensemble(candidates: pd.DataFrame, members: int = 100) -> pd.DataFrame:
    """Return a search whose winner is an ensemble over all of its layers and poolings."""
    spec = FeatureSpec.of_blocks(
        {(int(k), p) for k in "6 8 11".split() for p in POOLING_GAIN if p in set(candidates["pooling"])}
    )
    row = candidates.iloc[0].to_dict() | {
        "candidate_id": f"ensemble-members={members}",
        "layers": layers_text(spec.layers),
        "n_layers": len(spec.layers),
        "pooling": spec.pooling,
        "classifier": "ensemble",
        "params": json.dumps({"members": members}),
        "rank": 1,
    }
    rest = candidates.assign(rank=candidates["rank"] + 1)
    return pd.concat([pd.DataFrame([row]).astype({"rank": "Int64"}), rest], ignore_index=True)


def test_texts() -> pd.DataFrame:
    rng = np.random.default_rng(2)
    labels = rng.choice(LABELS, N_TEST, p=[0.3, 0.3, 0.25, 0.15])
    return pd.DataFrame(
        [
            {
                "id": f"t{n}" if language == "en" else f"t{n}-{language}",
                "language": language,
                "label": label,
                "text": f"{SENTENCES.get(language, SENTENCES['en'])} {n}",
            }
            for language in LANGUAGES
            for n, label in enumerate(labels)
        ]
    )


def predictions(systems=("probe", "baseline", "mcbert", "mcbert_wf"), seeds=(0, 1, 2)) -> pd.DataFrame:
    gain = {"probe": 0.03, "baseline": -0.06, "mcbert": 0.04, "mcbert_wf": 0.06}
    texts = test_texts()
    difficulty = np.random.default_rng(3).random(N_TEST)
    parts = []
    for system in systems:
        for seed in seeds[:1] if system == "probe" else seeds:
            rng = np.random.default_rng([SYSTEMS.index(system), seed])
            chance = texts["language"].map(EASE) + gain[system]
            hard = np.tile(difficulty, len(LANGUAGES))
            right = (0.6 * hard + 0.4 * rng.random(len(texts))) < chance
            other = [LABELS[(LABELS.index(label) + 1 + rng.integers(3)) % 4] for label in texts["label"]]
            parts.append(
                texts.assign(
                    system=system,
                    seed=seed,
                    split="test",
                    predicted=np.where(right, texts["label"], other),
                    probability=np.random.default_rng(seed).uniform(0.3, 1, len(texts)).round(6),
                    protocol=PROTOCOLS[system],
                )
            )
    return pd.concat(parts, ignore_index=True).assign(**STAMP)


def confusion() -> pd.DataFrame:
    frame = predictions(("probe",))
    counts = frame.groupby(["language", "label", "predicted"]).size()
    cells = itertools.product(LANGUAGES, LABELS, LABELS)
    winner = {
        "candidate_id": "6+8+11-max-logistic_regression",
        "rank": 1,
        "protocol": "target-dev",
        "split": "test",
        "seed": 0,
    }
    return stamped(
        [
            {
                **winner,
                "language": language,
                "label": label,
                "predicted": predicted,
                "n": int(counts.get(key, 0)),
            }
            for key in cells
            for language, label, predicted in [key]
        ]
    )


def finetune(epochs=5, seeds=(0, 1, 2)) -> tuple[pd.DataFrame, pd.DataFrame]:
    rows, events = [], []
    height = {"baseline": -0.05, "mcbert": 0.0, "mcbert_wf": 0.01}
    for system, seed in itertools.product(height, seeds):
        rng = np.random.default_rng([7, SYSTEMS.index(system), seed])
        for epoch, language in itertools.product(range(epochs + 1), LANGUAGES):
            decline = (
                0.0 if language == "en" else 0.012 * max(0, epoch - 3) * (0.4 if system == "mcbert_wf" else 1)
            )
            accuracy = EASE[language] + height[system] - 0.5 * np.exp(-1.3 * epoch) - decline
            rows.append(
                {
                    "system": system,
                    "seed": seed,
                    "epoch": epoch,
                    "step": epoch * 40,
                    "language": language,
                    "split": "dev",
                    "accuracy": float(np.clip(accuracy + rng.normal(0, 0.008), 0, 1)),
                    "loss": float(1.4 * np.exp(-0.4 * epoch)),
                    "n_texts": 100,
                    "sample_of": None,
                    "log_loss": None,
                    "agreement": None,
                    "frozen_layers": "9+11" if system == "mcbert_wf" and epoch > 2 else "",
                    "protocol": "last",
                    "chosen": epoch == epochs,
                    "train_loss": float("nan") if epoch == 0 else float(np.exp(-0.6 * epoch)),
                }
            )
        if system == "mcbert_wf":
            event = {"system": system, "seed": seed, "epoch": 2, "step": 80, "layers": "9+11"}
            events.append({**event, "reason": "schedule: after epoch 2", "protocol": "last"})
    return stamped(rows), stamped(events)


def corpus() -> pd.DataFrame:
    rows = []
    for language, split in itertools.product(LANGUAGES, ("train", "dev", "test")):
        if split == "train" and language != "en":
            continue
        for place, label in enumerate(LABELS):
            n_texts = {"train": 180, "dev": 25, "test": 50}[split]
            rows.append(
                {
                    "language": language,
                    "split": split,
                    "label": label,
                    "n_texts": n_texts,
                    "n_distinct": n_texts - (20 * place if split == "train" else 0),
                    "tokens_median": 14.5,
                    "tokens_max": 61 + place,
                    "n_tokens": 12 * n_texts,
                    "n_marks": 0 if language == "zh" else 10 * n_texts if place else 40 * n_texts,
                    "unknown_share": 0.0004 if language in ("ur", "ar") else 0.0,
                    "marks_lost_share": 0.5 if language == "ar" and not place else 0.0,
                    "truncated_share": 0.0,
                }
            )
    return stamped(rows)


def tune() -> pd.DataFrame:
    rows = []
    tried = (
        [1, "{}", 0.0, "ok"],
        [2, '{"dropout": 0.0}', -0.04, "ok"],
        [None, '{"epochs": 900}', 0.0, "error"],
    )
    for trial, (rank, settings, gain, status) in enumerate(tried):
        for language in (*LANGUAGES, "mean")[: 8 if status == "ok" else 1]:
            ease = EASE.get(language, 0.7)
            row = {"rank": rank, "trial": trial, "language": language, "changes": settings, "status": status}
            row |= {
                "accuracy": ease + gain if status == "ok" else None,
                "n_seeds": 3 if status == "ok" else None,
            }
            interval = (gain, gain - 0.03, gain + 0.03) if gain else (None, None, None)
            row |= dict(
                zip(("versus_default", "versus_default_low", "versus_default_high"), interval, strict=True)
            ) | {"agreement": None}
            row |= {"sd": None, "system": "mcbert", "layers": "6+8+11", "pooling": "max", "seconds": 1.5}
            row["precision"] = "float32" if status == "ok" else ""
            row |= {"ranked_by": "target-dev", "protocol": "target-dev"}
            rows.append(row | {"message": "" if status == "ok" else "RuntimeError: out of memory"})
    return stamped(rows).astype({"rank": "Int64", "n_seeds": "Int64"})


def winner() -> dict[str, object]:
    by_protocol = {
        "source-dev": {"candidate_id": "8+11-mean-logistic_regression"},
        "target-dev": {"candidate_id": "6+8+11-max-logistic_regression"},
        "last": None,
    }
    return {"layers": [6, 8, 11], "pooling": "max", "source_language": "en", "by_protocol": by_protocol}


def answers(candidates: pd.DataFrame) -> Predictions:
    """Make predictions for texts as easy as the candidates' test scores say."""
    fine = candidates[candidates["status"] == "ok"]
    right = fine[[f"test_f1_micro_{language}" for language in LANGUAGES]].to_numpy()
    return make_predictions(right, languages=LANGUAGES, names=fine["candidate_id"].tolist())


def evidence(candidates: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Make the tables that set a search against chance."""
    fine = candidates[candidates["status"] == "ok"]
    names = fine["candidate_id"].tolist()
    predictions = answers(candidates)
    found = effects(
        [
            Candidate(
                features=FeatureSpec.of(row["layers"], row["pooling"]),
                classifier=row["classifier"],
                params=tuple(json.loads(row["params"]).items()),
            )
            for row in fine.to_dict("records")
        ]
    )
    chosen = {"source-dev": names[3], "target-dev": names[0], "last": None, "reference": names[6]}
    used = "target-dev"
    if names[0].startswith("ensemble"):
        chosen |= {"target-dev": names[1], "ensemble": names[0]}
        used = "ensemble"
    rows: dict[str, list[dict[str, object]]] = {"top": [], "effects": [], "protocols": []}
    for split in ("dev", "test"):
        sample = Sample.of(predictions, split)
        rows["top"] += [
            row | {"protocol": "target-dev", "metric": "f1_micro", "seed": 0} for row in top_rows(sample, 20)
        ]
        rows["effects"] += effect_rows(sample, found)
        rows["protocols"] += [
            row
            | {"used": row["protocol"] == used, "metric": "f1_micro"}
            | {"seed": 0 if row["candidate_id"] else None}
            for row in protocol_rows(sample, chosen, len(names))
        ]
    return {name: stamped(part) for name, part in rows.items()}


EVIDENCE = {"top": TOP, "effects": EFFECTS, "protocols": PROTOCOL_CHOICES}


def write_run(folder: Path, candidates: pd.DataFrame | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    curves, events = finetune()
    systems = predictions()
    searched = gridsearch() if candidates is None else candidates
    csv_files.write(GRIDSEARCH, searched, folder / "gridsearch.csv")
    for name, frame in evidence(searched).items():
        csv_files.write_with_sums(EVIDENCE[name], frame, folder / f"{name}.csv")
    csv_files.write(CONFUSION, confusion(), folder / "confusion.csv")
    csv_files.write(FINETUNE, curves, folder / "finetune.csv")
    csv_files.write(FREEZING, events, folder / "freezing.csv")
    csv_files.write(CORPUS, corpus(), folder / "corpus.csv")
    probe = systems["system"] == "probe"
    csv_files.write(PREDICTIONS, systems[probe], folder / "predictions_gridsearch.csv")
    csv_files.write(PREDICTIONS, systems[~probe], folder / "predictions_finetune.csv")
    rows = table1.build(systems, STAMP, protocols=PROTOCOLS, casing="cased")
    csv_files.write_with_sums(TABLE1, rows, folder / "table1.csv")
    known = {"gridsearch": searched, "finetune": curves, "table1": rows, "corpus": corpus(), "tune": tune()}
    csv_files.write_with_sums(TUNE, tune(), folder / "tune.csv")
    tested = conclusions.conclude(known, "en", comparer(answers(searched)))
    csv_files.write(CONCLUSIONS, tested.assign(**STAMP), folder / "conclusions.csv")
    (folder / "stages").mkdir(exist_ok=True)
    record = {"inputs": {"gridsearch": {"layers": [6, 8]}}, "outputs": {}, "seconds": 12.3}
    record |= {"machine": {"system": "Linux"}, "versions": {"numpy": "2.0"}}
    (folder / "stages" / "gridsearch.json").write_text(json.dumps(record), encoding="utf-8")
    (folder / "winner.json").write_text(json.dumps(winner()), encoding="utf-8")
    return folder


LONG_NAMES = {
    r"(?<![a-zA-Z])zh(?![a-zA-Z])": "zh-Hant-TW",
    "delivery problem": "problem_with_delivery_of_an_order_that_was_never_dispatched",
    "talk to a person": "wishes to talk to a person who can decide (not to a machine)",
    "samples/encoder": "an-organisation-with-a-long-name/bert-base-multilingual-cased-of-its-own",
}


def write_whole_run(folder: Path) -> Path:
    """Write a run with every candidate of the default space, and long names of all kinds."""
    every = gridsearch(all_subsets(), CLASSIFIERS, n_errors=5)
    for path in write_run(folder, every).glob("*.csv"):
        text = path.read_text(encoding="utf-8")
        for name, long in LONG_NAMES.items():
            text = re.sub(name, long, text)
        path.write_text(text, encoding="utf-8")
    return folder


if __name__ == "__main__":
    write = write_whole_run if sys.argv[2:] == ["full"] else write_run
    write(Path(sys.argv[1]))
