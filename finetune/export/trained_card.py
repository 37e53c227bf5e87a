"""The README.md of a fine-tuned model, written from the tables of its run: no figure that is not in them.

python -m pytest tests/finetune/export/test_trained_card.py
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence

import pandas as pd

from mcbert import files
from mcbert.features.corpus import Corpus
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.calibration import Calibration
from mcbert.finetune.export import markdown
from mcbert.finetune.export.markdown import (
    PROTOCOLS,
    escaped,
    front_matter,
    is_of_hub,
    licence,
    measured,
    table,
)
from mcbert.finetune.export.probabilities import describe_probabilities
from mcbert.finetune.jobs import FinetuneJob
from mcbert.finetune.settings import FinetuneSettings
from mcbert.results import csv_files
from mcbert.results.schema.training import FINETUNE, FREEZING

_USE = """    from transformers import pipeline

    classify = pipeline("text-classification", model="THIS_FOLDER"{trust})
    classify("...")

or, a table at a time:

    python -m mcbert predict --model THIS_FOLDER --input texts.csv --output labels.csv
"""
_MADE = (("run ", "run"), ("", "versions"), ("configuration ", "config_digest"))
_FREEZING = {
    *("freeze", "freeze_rule", "freeze_groups", "freeze_watch", "freeze_patience", "freeze_window"),
    *("freeze_percentile", "ignore_unused_frozen"),
}
_IDLE = {
    "baseline": {"systems", "layers", "pooling", "start", "head_layers", *_FREEZING},
    "mcbert": {"systems", *_FREEZING},
    "mcbert_wf": {"systems"},
}
"""Settings that say nothing of a system."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
    """What a card tells of one system of a run."""

    system: str
    """As in finetune.csv."""

    seed: int
    """Of the training whose weights the folder holds."""

    settings: FinetuneSettings
    """How it was trained."""

    curves: pd.DataFrame
    """finetune.csv of all its seeds."""

    events: pd.DataFrame
    """freezing.csv of all its seeds."""

    texts: pd.DataFrame
    """texts.csv."""

    source_language: str
    """Of the training texts."""

    labels: tuple[str, ...]
    """In the order of their codes."""

    stamp: Mapping[str, object]
    """Columns of every row of the run."""

    licence: str
    """What is known of the encoder's."""

    base_model: str = ""
    """The encoder's name on the hub, where it came from there."""

    start: str = ""
    """Candidate of the search that the head started from; empty where it started random."""

    calibration: Calibration | None = None
    """Of the folder's probabilities; None where there were no texts for it."""

    beside: str = ""
    """How these weights stand to the search's classifier on dev; empty where there was no search."""


def write_cards(jobs: Sequence[FinetuneJob], corpus: Corpus, beside: Mapping[str, str]) -> None:
    """Put a card into the folder of each model that jobs saved, from the tables in the run's folder.

    Parameters
    ----------
    beside : mapping of str to str
        By system, how its model stands to the search's classifier.
    """
    curves, events = (csv_files.read(table, jobs[0].out / table.file_name) for table in (FINETUNE, FREEZING))
    for job in jobs:
        folder = job.out / "models" / job.system
        if not job.save_model or not folder.is_dir():
            continue
        is_baseline = job.system == "baseline"
        encoder = str(job.stamp["encoder"])
        calibration = json.loads(job.result.read_text(encoding="utf-8")).get("calibration")
        trained = Trained(
            system=job.system,
            seed=job.seed,
            settings=job.settings,
            curves=curves[curves["system"].eq(job.system)],
            events=events[events["system"].eq(job.system)],
            texts=corpus.table,
            source_language=job.source_language,
            labels=tuple(corpus.labels),
            stamp=job.stamp,
            licence=licence(encoder, job.encoder),
            base_model=encoder if is_of_hub(job.encoder) else "",
            start="" if is_baseline else job.architecture.start,
            calibration=Calibration.of(calibration) if calibration else None,
            beside=beside.get(job.system, ""),
        )
        card = markdown.with_pairs(describe_training(trained), corpus.train_pairs)
        files.write_text(folder / "README.md", markdown.with_prompt(card, job.prompt))


def describe_training(trained: Trained) -> str:
    """Return the card, Markdown; every text from data is escaped."""
    test = _chosen(trained, "test")
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "language": list(dict.fromkeys(trained.texts["language"])),
        "tags": ["cross-lingual", "mcbert"],
        "metrics": ["accuracy"],
        "base_model": trained.base_model,
        "model-index": measured(
            trained.system, "accuracy", dict(zip(test["language"], test["accuracy"], strict=True))
        ),
    }
    sections = {
        "Data": _data(trained),
        "Training": _training(trained),
        "Scores": _scores(trained),
        "Probabilities": describe_probabilities(
            "softmax(logits); the logits are the head's scores divided by T", trained.calibration
        ),
        "Freezing": _events(trained.events),
        "Limitations": _limitations(trained),
        "Licence": trained.licence,
        "Use": _use(trained),
    }
    title = f"# {escaped(trained.system)} of {escaped(str(trained.stamp['encoder']))}"
    body = "\n\n".join(f"## {name}\n\n{text.rstrip()}" for name, text in sections.items())
    return f"{front_matter(front)}\n\n{title}\n\n{_architecture(trained)}\n\n{body}\n"


def _architecture(trained: Trained) -> str:
    labels = ", ".join(map(escaped, trained.labels))
    row = trained.curves.iloc[0]
    if trained.system == "baseline":
        what = "The encoder's own classification head on its [CLS] state"
    else:
        features = FeatureSpec.of(str(row["layers"]), str(row["pooling"]))
        layers, poolings = ", ".join(map(str, features.layers)), ", ".join(features.named_poolings)
        what = f"States of layers {layers}, pooled by {poolings} and concatenated, {_head(trained)}"
    made = [f"{name}{trained.stamp[key]}" for name, key in _MADE if trained.stamp.get(key)]
    return (
        f"{what}, fine-tuned end to end on texts in {escaped(trained.source_language)}. Labels: {labels}.\n\n"
        f"Made by {escaped(', '.join(made))}."
    )


def _head(trained: Trained) -> str:
    depth = trained.settings.head_layers
    head = f"a head of {depth} hidden layers" if depth else "a linear head"
    return (
        f"{head} that started from {escaped(trained.start)}"
        if trained.start
        else f"{head} that started random"
    )


def _data(trained: Trained) -> str:
    counts = trained.texts.groupby(["language", "split"], sort=False).size().unstack(fill_value=0)
    splits = [split for split in ("train", "dev", "test") if split in counts]
    rows = [
        [language, *(str(counts[split].to_dict()[language]) for split in splits)] for language in counts.index
    ]
    transfer = escaped(str(trained.stamp["transfer"]))
    train = trained.texts[trained.texts["split"].eq("train")]
    copies = int(train.duplicated(["language", "text", "text_pair"]).sum())
    balanced = f" {copies} of the train texts repeat others, as balancing the labels does." if copies else ""
    counted = table(["language", *(f"{split} texts" for split in splits)], rows)
    return f"{counted}\nTransfer: {transfer}.{balanced}"


def _training(trained: Trained) -> str:
    moment = _chosen(trained, "dev")
    at = "" if moment.empty else f", epoch {moment.iloc[0]['epoch']}, step {moment.iloc[0]['step']}"
    protocol = str(trained.curves["protocol"].iloc[0])
    values = dataclasses.asdict(trained.settings)
    lines = [
        f"    {name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in values.items()
        if name not in _IDLE[trained.system]
    ]
    own = trained.settings.protocol
    epoch = "" if own == protocol else f" The epoch, {own}: {PROTOCOLS[own]}."
    chosen = f"Protocol {protocol}: {PROTOCOLS[protocol]}.{epoch}"
    return f"These weights are of seed {trained.seed}{at}. {chosen}\n\n" + "\n".join(lines)


def _chosen(trained: Trained, split: str) -> pd.DataFrame:
    """Return the rows of the folder's weights."""
    curves = trained.curves
    return curves[curves["chosen"] & curves["split"].eq(split) & curves["seed"].eq(trained.seed)]


def _scores(trained: Trained) -> str:
    curves = trained.curves[trained.curves["chosen"]]
    languages = list(dict.fromkeys(curves["language"]))
    rows = [
        [
            language,
            *(_score(curves[curves["split"].eq(split) & curves["language"].eq(language)], trained.seed)
              for split in ("dev", "test")),
        ]
        for language in languages
    ]  # fmt: skip
    targets = curves[~curves["language"].eq(trained.source_language)]
    if not targets.empty:
        means = targets.groupby(["split", "seed"])["accuracy"].mean().reset_index()
        rows.append(
            ["mean of targets", *(_score(means[means["split"].eq(s)], trained.seed) for s in ("dev", "test"))]
        )
    n_seeds = curves["seed"].nunique()
    note = f"Accuracy of these weights; in brackets mean and standard deviation over {n_seeds} seeds."
    if n_seeds == 1:
        note = "Accuracy of these weights, the only seed."
    beside = f"{trained.beside}\n\n" if trained.beside else ""
    return f"{beside}{note} {_chance(trained.texts)}\n\n{table(['language', 'dev', 'test'], rows)}"


def _chance(texts: pd.DataFrame) -> str:
    """Say what always giving a language's most frequent label would score."""
    split = "test" if texts["split"].eq("test").any() else "dev"
    shares = texts[texts["split"].eq(split)].groupby("language")["label"].value_counts(normalize=True)
    most = shares.groupby("language").max()
    low, high = f"{most.min():.3f}", f"{most.max():.3f}"
    between = low if low == high else f"{low} to {high}"
    return f"Always giving a language's most frequent label is right for {between} of its {split} texts."


def _score(rows: pd.DataFrame, seed: int) -> str:
    own = rows.loc[rows["seed"].eq(seed), "accuracy"]
    if own.empty:
        return "-"
    spread = f" ({rows['accuracy'].mean():.3f} ± {rows['accuracy'].std():.3f})" if len(rows) > 1 else ""
    return f"{own.iloc[0]:.3f}{spread}"


def _events(events: pd.DataFrame) -> str:
    if events.empty:
        return "No layer was frozen during training."
    shown = [
        [str(row[name]) for name in ("seed", "epoch", "step", "layers", "reason")]
        for _, row in events.iterrows()
    ]
    return table(["seed", "epoch", "step", "layers", "reason"], shown)


def _limitations(trained: Trained) -> str:
    said = [f"Texts are cut after {trained.settings.max_length} tokens."]
    said.append("Languages that are not in the table above were not measured.")
    test = _chosen(trained, "test")
    if test.empty:
        said.append("Not scored on test texts.")
    else:
        n = int(test["n_texts"].min())
        error = max(math.sqrt(p * (1 - p) / n) for p in test["accuracy"])
        worst = test.sort_values("accuracy").iloc[0]
        said.append(f"Lowest in {escaped(str(worst['language']))}, {worst['accuracy']:.3f}.")
        said.append(
            f"A test figure rests on {n} texts or more: by chance alone it is known to ± {error:.3f}."
        )
    return "\n".join(f"- {line}" for line in said)


def _use(trained: Trained) -> str:
    ours = trained.system != "baseline"
    note = (
        "Without this project beside it, the library runs the folder's `modeling_mcbert.py`:\n\n"
        if ours
        else ""
    )
    return note + _USE.format(trust=", trust_remote_code=True" if ours else "")
