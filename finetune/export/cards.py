"""Model cards, the README.md of a model's folder: metadata for the hub, text from a template of each kind.

    python -m pytest tests/finetune/export/test_cards.py

No figure is in a card that is not in the tables of its run. What a template interpolates is escaped, so that
text from data (labels, names, paths) stays text; only a `Markdown` goes in as it is.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import jinja2
import pandas as pd
from huggingface_hub import CardData, EvalResult, ModelCard, ModelCardData

from mcbert import files
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.calibration import Calibration
from mcbert.results import csv_files
from mcbert.results.schema.training import FINETUNE, FREEZING
from mcbert.results.schema.words import ENSEMBLE
from mcbert.results.summaries import dev_sample

if TYPE_CHECKING:  # who reads or writes a folder of vectors needs no trainer
    from mcbert.finetune.embeddings.job import EmbeddingsJob
    from mcbert.finetune.jobs import FinetuneJob
    from mcbert.finetune.training.callback import Training

Way = Literal["linear", "pairwise", "estimator"]

PROTOCOLS = {
    "last": "the last epoch is taken and nothing is chosen by scores",
    "agreement": "chosen by dev texts of the source language and by how far its texts and their "
    "translations are labelled alike; no label of a target language was read",
    "source-dev": "chosen by dev texts of the source language alone",
    "target-dev": "chosen by dev texts of the target languages: an oracle, which true zero-shot use lacks",
}
_SEARCHED = PROTOCOLS | {
    "last": "no score chooses, a single layer comes first, the deepest before the others"
}
_FORMULAS: dict[Way, str] = {
    "linear": "softmax(logits); the logits are the classifier's scores divided by T",
    "pairwise": "softmax(logits); the logits are the votes divided by T",
    "estimator": "softmax(scores / T); the scores are decision_function, or the logarithm of predict_proba",
}
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
_SHOWN_MEMBERS = 5
_LICENCE = re.compile(r"\A---\n(?:(?!---\n).*\n)*?license: *([\w.-]+)\n(?:.*\n)*?---\n")


class Markdown(str):
    """Text that is Markdown already."""


def escaped(text: str) -> Markdown:
    """Return text that Markdown shows as it is, in a line and in a cell of a table."""
    return Markdown(re.sub(r"([\\`*_{}\[\]<>#|~&])", r"\\\1", " ".join(text.split())))


_TEMPLATES = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).with_name("templates")),
    undefined=jinja2.StrictUndefined,
    finalize=lambda value: value if isinstance(value, Markdown) else escaped(str(value)),
    autoescape=False,  # which is for HTML; `finalize` escapes for Markdown
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


def rendered(template: str, metadata: CardData | None = None, **values: Any) -> str:
    """Return a template's text, after the metadata as YAML between lines of its own."""
    body = _TEMPLATES.get_template(template).render(**values)
    body = re.sub(r"\n{3,}", "\n\n", body).strip() + "\n"
    return body if metadata is None else f"---\n{metadata.to_yaml()}\n---\n\n{body}"


def with_reading(card: str, *, pairs: bool | None = None, prompt: str = "") -> str:
    """Return a card that ends with what the model reads: pairs or single texts where known, its prompt."""
    quoted = Markdown(json.dumps(prompt, ensure_ascii=False)) if prompt else None
    return f"{card.rstrip()}\n\n{rendered('reading.md', pairs=pairs, prompt=quoted)}".rstrip() + "\n"


def is_of_hub(folder: Path) -> bool:
    """Tell whether an encoder's folder is one of the hub's cache, so that its name is one of the hub."""
    return any(part.startswith("models--") for part in folder.parts)


def licence(encoder: str, folder: Path) -> Markdown:
    """Return a sentence on the encoder's licence, as far as its folder tells.

    Parameters
    ----------
    encoder : str
        Its name, as stamped on results.
    folder : Path
        Where it lies.
    """
    card, name = folder / "README.md", escaped(encoder)
    found = _LICENCE.match(card.read_text(encoding="utf-8", errors="replace")) if card.is_file() else None
    if found:
        said = f"Encoder: {name}, licence {escaped(found[1])} by its card."
    elif is_of_hub(folder):
        said = f"Encoder: {name}, under the licence of its card, https://huggingface.co/{quote(encoder)}."
    else:
        said = f"Encoder: {name}, whose folder names no licence."
    return Markdown(f"{said} The licence of the training texts is not known to the run that wrote this card.")


def classifier_metadata(
    name: str, languages: Sequence[str], base_model: str, metric: str, scores: Mapping[str, float]
) -> ModelCardData:
    """Return what the hub reads of a classifier's card.

    Parameters
    ----------
    base_model : str
        The encoder's name on the hub; empty where it has none.
    metric : str
        By the hub's name, such as accuracy.
    scores : mapping of str to float
        By language, on test texts.
    """
    return ModelCardData(
        library_name="transformers",
        pipeline_tag="text-classification",
        language=list(languages),
        tags=["cross-lingual", "mcbert"],
        metrics=[metric],
        base_model=base_model or None,
        model_name=name if scores else None,
        eval_results=[
            EvalResult(
                task_type="text-classification",
                dataset_type="test",
                dataset_name=f"test texts of the run, {language}",
                dataset_config=language,
                metric_type=metric,
                metric_value=round(float(score), 6),
            )
            for language, score in scores.items()
        ]
        or None,
    )


def settings_block(settings: Any, leave_out: Iterable[str]) -> Markdown:
    """Return settings as a block of code, a line each."""
    return Markdown(
        "\n".join(
            f"    {name} = {json.dumps(value, ensure_ascii=False)}"
            for name, value in dataclasses.asdict(settings).items()
            if name not in {*leave_out}
        )
    )


def write_cards(jobs: Sequence[FinetuneJob], corpus: Corpus, beside: Mapping[str, str]) -> None:
    """Put a card into the folder of each model that jobs saved, from the tables in the run's folder.

    Parameters
    ----------
    beside : mapping of str to str
        By system, how its model compares with the search's classifier; Markdown.
    """
    curves, events = (csv_files.read(one, jobs[0].out / one.file_name) for one in (FINETUNE, FREEZING))
    for job in jobs:
        folder = job.out / "models" / job.system
        if not job.save_model or not folder.is_dir():
            continue
        calibration = json.loads(job.result.read_text(encoding="utf-8")).get("calibration")
        card = describe_training(
            job,
            corpus,
            curves[curves["system"].eq(job.system)],
            events[events["system"].eq(job.system)],
            calibration=Calibration.of(calibration) if calibration else None,
            beside=beside.get(job.system, ""),
        )
        files.write_text(
            folder / "README.md", with_reading(card, pairs=corpus.train_pairs, prompt=job.prompt)
        )


def describe_training(
    job: FinetuneJob,
    corpus: Corpus,
    curves: pd.DataFrame,
    events: pd.DataFrame,
    *,
    calibration: Calibration | None = None,
    beside: str = "",
) -> str:
    """Return the card of a fine-tuned model.

    Parameters
    ----------
    job : FinetuneJob
        The training whose weights the folder holds.
    curves, events : DataFrame
        finetune.csv and freezing.csv of all seeds of its system.
    calibration : Calibration or None
        Of the folder's probabilities; None where there were no texts for it.
    beside : str
        How the weights compare with the search's classifier on dev, Markdown; empty without a search.
    """
    own = curves[curves["chosen"] & curves["seed"].eq(job.seed)]
    test, dev = own[own["split"].eq("test")], own[own["split"].eq("dev")]
    encoder, depth, texts = str(job.stamp["encoder"]), job.settings.head_layers, corpus.table
    train = texts[texts["split"].eq("train")]
    languages = list(dict.fromkeys(texts["language"]))
    base_model = encoder if is_of_hub(job.encoder) else ""
    scores = dict(zip(test["language"], test["accuracy"], strict=True))
    return rendered(
        "trained.md",
        classifier_metadata(job.system, languages, base_model, "accuracy", scores),
        job=job,
        encoder=encoder,
        labels=corpus.labels,
        licence=licence(encoder, job.encoder),
        beside=Markdown(beside),
        features=None if job.system == "baseline" else job.architecture.features,
        head=f"a head of {depth} hidden layers" if depth else "a linear head",
        made=", ".join(f"{name}{job.stamp[key]}" for name, key in _MADE if job.stamp.get(key)),
        counts=texts.groupby(["language", "split"], sort=False).size().unstack(fill_value=0),
        n_copies=int(train.duplicated(["language", "text", "text_pair"]).sum()),
        moment="" if dev.empty else f", epoch {dev['epoch'].iloc[0]}, step {dev['step'].iloc[0]}",
        protocol=str(curves["protocol"].iloc[0]),
        protocols=PROTOCOLS,
        settings=settings_block(job.settings, _IDLE[job.system]),
        n_seeds=int(curves["seed"].nunique()),
        scores=_scores(curves[curves["chosen"]], job),
        sample=dev_sample(dev),
        events=events.to_dict("records"),
        worst=None if test.empty else _worst(test),
        **_chance(texts),
        formula=Markdown("softmax(logits); the logits are the head's scores divided by T"),
        calibration=calibration,
    )


def _scores(curves: pd.DataFrame, job: FinetuneJob) -> list[list[str]]:
    """Return language, dev and test of each row of the table of scores."""
    shown = {language: curves[curves["language"].eq(language)] for language in curves["language"].unique()}
    targets = curves[~curves["language"].eq(job.source_language)]
    if not targets.empty:
        shown["mean of targets"] = targets.groupby(["split", "seed"])["accuracy"].mean().reset_index()
    return [
        [name, *(_score(some[some["split"].eq(split)], job.seed) for split in ("dev", "test"))]
        for name, some in shown.items()
    ]


def _score(rows: pd.DataFrame, seed: int) -> str:
    own = rows.loc[rows["seed"].eq(seed), "accuracy"]
    if own.empty:
        return "-"
    spread = f" ({rows['accuracy'].mean():.3f} ± {rows['accuracy'].std():.3f})" if len(rows) > 1 else ""
    return f"{own.iloc[0]:.3f}{spread}"


def _chance(texts: pd.DataFrame) -> dict[str, str]:
    """Return the accuracy of always giving a language's most frequent label, and the split that it is of."""
    split = "test" if texts["split"].eq("test").any() else "dev"
    shares = texts[texts["split"].eq(split)].groupby("language")["label"].value_counts(normalize=True)
    most = shares.groupby("language").max()
    low, high = f"{most.min():.3f}", f"{most.max():.3f}"
    return {"chance": low if low == high else f"{low} to {high}", "chance_split": split}


def _worst(test: pd.DataFrame) -> dict[str, str | int]:
    worst, n = test.sort_values("accuracy").iloc[0], int(test["n_texts"].min())
    error = max(math.sqrt(p * (1 - p) / n) for p in test["accuracy"])
    return {
        "language": str(worst["language"]),
        "accuracy": f"{worst['accuracy']:.3f}",
        "n_texts": n,
        "error": f"{error:.3f}",
    }


def describe_searched(
    record: Mapping[str, Any], way: Way, encoder: Path, calibration: Calibration | None
) -> str:
    """Return the card of an exported candidate of the search.

    Parameters
    ----------
    record : mapping
        What winner.json holds, of this candidate.
    way : {"linear", "pairwise", "estimator"}
        How labels are decided.
    encoder : Path
        The encoder's folder, whose card may name its licence.
    calibration : Calibration or None
        Of the probabilities; None where there were no texts for it.
    """
    test = (record.get("scores") or {}).get("test_f1_micro") or {}
    languages = [record["source_language"], *record["target_languages"]]
    test = {language: test[language] for language in languages if language in test}
    base_model = record["encoder"] if is_of_hub(encoder) else ""
    return rendered(
        "searched.md",
        classifier_metadata(record["candidate_id"], languages, base_model, "f1", test),
        record=record,
        features=FeatureSpec.of(record["layers"], record["pooling"]),
        params=json.dumps(record["params"]),
        members=_members(record),
        way=way,
        rank=record.get("rank", 1),
        choice=_SEARCHED[record["protocol"]],
        scores=test,
        licence=licence(record["encoder"], encoder),
        formula=Markdown(_FORMULAS[way]),
        calibration=calibration,
    )


def _members(record: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return of an ensemble how many members it has, how many distinct, and the commonest; else None."""
    if record["classifier"] != ENSEMBLE:
        return None
    drawn: Mapping[str, int] = record.get("members", {})
    first = sorted(drawn.items(), key=lambda item: (-item[1], item[0]))[:_SHOWN_MEMBERS]
    shown = [f"{name} ({times} times)" if times > 1 else name for name, times in first]
    return {"n": record["params"]["members"], "distinct": len(drawn), "first": shown}


def describe_embeddings(job: EmbeddingsJob, corpus: Corpus, training: Training) -> str:
    """Return the card of trained sentence embeddings; the folder's writer adds the use."""
    encoder = str(job.stamp["encoder"])
    base_model = encoder if is_of_hub(job.encoder) else None
    return rendered(
        "embeddings.md",
        ModelCardData(language=list(corpus.languages), base_model=base_model),
        job=job,
        corpus=corpus,
        encoder=encoder,
        n_pairs=len(corpus.rows(split="train")),
        chosen=training.history[training.chosen],
        frozen=training.history[-1].frozen,
        settings=settings_block(job.settings, ("corpus", "parallel", "seeds")),
        licence=licence(encoder, job.encoder),
    )


def describe_sentence_transformer(
    card: str, layers: Sequence[int], poolings: Sequence[str], *, dimension: int, max_length: int
) -> str:
    """Return the card of a folder of sentence-transformers.

    Parameters
    ----------
    card : str
        What the model is, its training and scores; metadata of its own is kept beside that of
        sentence-transformers.
    layers, poolings : sequences
        What the vectors consist of.
    dimension : int
        Length of a vector.
    max_length : int
        Tokens kept of a text.
    """
    own = ModelCard(card if card.startswith("---\n") else f"---\n{{}}\n---\n{card}")
    own.data["library_name"] = "sentence-transformers"
    own.data["pipeline_tag"] = "sentence-similarity"
    own.data["tags"] = ["sentence-transformers", "sentence-similarity", "feature-extraction"]
    return rendered(
        "sentence_transformer.md",
        own.data,
        body=Markdown(own.text.strip()),
        parts=[f"layer {k} by {one}" for k, one in zip(layers, poolings, strict=True)],
        dimension=dimension,
        max_length=max_length,
    )
