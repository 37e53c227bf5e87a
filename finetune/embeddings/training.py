"""Train sentence embeddings: the layers to train, a training per seed, the tables of their scores.

    python -m mcbert embeddings --config demo

Reads pairs of sentences; writes ``embeddings.csv``, ``embeddings_trainings.csv``,
``embeddings_freezing.csv``, TensorBoard logs and, of the first seed, ``models/embeddings``, and the
same for sentence-transformers as ``models/embeddings-st``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.execution import Execute, Track, untracked
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.errors import CorpusError
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import n_layers, quiet, require_layers
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.features.spec import FeatureSpec, layers_text
from mcbert.files.objects import AGAIN, read_object
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.pairs import (
    Codes,
    Pairs,
    classification_of_pairs,
    ranking_of_pairs,
    score_pairs,
    score_triplets,
    tokenised_pairs,
)
from mcbert.finetune.embeddings.sentence_transformer import save_sentence_transformer
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.embeddings.siamese import SiameseEncoder
from mcbert.finetune.evaluation import Score
from mcbert.finetune.export.cards import describe_embeddings, with_reading
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.freezing.rules import Schedule, plan_freezing
from mcbert.finetune.jobs import (
    Inputs,
    finish,
    require_readable,
    run_jobs,
    torch_threads,
    write_rows,
)
from mcbert.finetune.rows import freeze_rows, score_rows, training_row
from mcbert.finetune.texts import DevTexts, read_texts, require_protocol
from mcbert.finetune.training import ranks
from mcbert.finetune.training.data import TrainingData
from mcbert.finetune.training.fit import fit, within_memory
from mcbert.finetune.winner import Architecture
from mcbert.results.schema.training import EMBEDDINGS, EMBEDDINGS_FREEZING, EMBEDDINGS_TRAININGS
from mcbert.results.schema.words import MEAN

log = logging.getLogger(__name__)

MODEL = "embeddings"
SENTENCE_TRANSFORMER = "embeddings-st"
ENTAILMENT, CONTRADICTION = "entailment", "contradiction"

Scores = Callable[[PreTrainedModel, Pairs], Mapping[str, Score]]


def best_layer(rows: pd.DataFrame, settings: EmbeddingsSettings) -> dict[str, Any]:
    """Return the layer and pooling of the least mean error, among those that the settings leave open.

    Parameters
    ----------
    rows : DataFrame
        Columns of tatoeba.csv.

    Returns
    -------
    dict
        layers, pooling, error_rate; of equals the lower layer, then the first pooling by name.

    Raises
    ------
    ValueError
        No such layer and pooling was searched.
    """
    found = rows[rows["language"].ne(MEAN) & rows["direction"].eq("both") & rows["score"].eq("cosine")]
    means = found.groupby(["layers", "pooling"], as_index=False)["error_rate"].mean()
    means = means[means["layers"] != "0"]  # nothing that learns
    for name, wanted in (("layers", layers_text(settings.layers)), ("pooling", settings.pooling)):
        means = means[means[name] == wanted] if wanted else means
    if means.empty:
        raise ValueError(
            f"embeddings.layers: got {list(settings.layers)} and pooling {settings.pooling!r}, of which the "
            "cache has none to search; accepted: both, or a layer and a pooling of extract"
        )
    order = means.assign(layer=means["layers"].astype(int)).sort_values(["error_rate", "layer", "pooling"])
    row = order.iloc[0]
    log.info("embeddings: layer %d, %s: %.3f of dev translations not found, the least of %d",
             row["layer"], row["pooling"], row["error_rate"], len(order))  # fmt: skip
    return {
        "layers": [int(row["layer"])],
        "pooling": str(row["pooling"]),
        "error_rate": float(row["error_rate"]),
    }


def read_architecture(settings: EmbeddingsSettings, path: Path) -> Architecture:
    """Return the layers and pooling to train: the settings', or else those that a file holds.

    Parameters
    ----------
    path : Path
        ``layers.json``, which holds what `best_layer` returns.

    Raises
    ------
    ValueError
        The file is damaged.
    """
    if not settings.searches:
        features = FeatureSpec.of(sorted(settings.layers), settings.pooling)
        return Architecture(features=features, probe_protocol=None)
    found = read_object(path, {"layers": list, "pooling": str})
    try:
        features = FeatureSpec.of(found["layers"], found["pooling"])
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); {AGAIN}") from error
    return Architecture(
        features=features,
        probe_protocol=None,
        protocol="target-dev",  # the sentences are of the target languages, if without labels
    )


def train_embeddings(
    settings: EmbeddingsSettings,
    inputs: Inputs,
    architecture: Architecture,
    *,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = untracked,
) -> None:
    """Run a training per seed and write the tables, as `finetune.stage.finetune` does; it raises the same.

    Parameters
    ----------
    settings : EmbeddingsSettings
        How to train.
    inputs : Inputs
        Its corpus is one of pairs, and there is no winner.
    architecture : Architecture
        Layers and pooling of the vectors.
    execute, stamp, track
        As for `finetune.stage.finetune`.
    """
    began = time.monotonic()
    require_trainable(settings, inputs.corpus)
    require_layers(architecture.layers, n_layers(inputs.encoder), "embeddings.layers")
    freeze = plan_embeddings_freezing(settings, max(architecture.layers))
    require_readable(settings, inputs.encoder, architecture.features)
    jobs = [
        EmbeddingsJob(
            system="embeddings",
            seed=seed,
            settings=settings,
            architecture=architecture,
            freeze=freeze,
            corpus=inputs.corpus,
            source_language=inputs.source_language,
            encoder=inputs.encoder,
            prompt=inputs.prompt,
            out=inputs.out,
            stamp=dict(stamp),
            save_model=seed == settings.seeds[0],
        )
        for seed in settings.seeds
    ]
    n_trained = run_jobs(jobs, run_embeddings_job, execute=execute, track=track)
    tables = (
        (EMBEDDINGS, "embeddings"),
        (EMBEDDINGS_TRAININGS, "trainings"),
        (EMBEDDINGS_FREEZING, "freezing"),
    )
    for table, key in tables:
        write_rows(jobs, key, table, inputs.out / table.file_name)
    log.info("embeddings: %d trainings in %.1f s -> %s", n_trained, time.monotonic() - began, inputs.out)


def plan_embeddings_freezing(settings: EmbeddingsSettings, deepest_layer: int) -> Schedule:
    """Return the layers that the settings' rule may freeze, by epoch or turn; none where they name neither.

    Raises
    ------
    ValueError
        Layers that feed nothing, a rule without layers, nothing left to train.
    """
    if settings.freeze_lower >= deepest_layer > 0 and settings.freeze_lower:
        raise ValueError(
            f"embeddings.freeze_lower: got {settings.freeze_lower}, but the vectors are of layers up to "
            f"{deepest_layer}: nothing would learn; accepted: 0 to {deepest_layer - 1}"
        )
    if settings.freeze_rule == "schedule" and not settings.freeze:
        return {}
    return plan_freezing(
        settings, deepest_layer, asked_by=f'embeddings.freeze_rule is "{settings.freeze_rule}"'
    )


def require_trainable(settings: EmbeddingsSettings, path: Path) -> None:
    """Raise where a table of pairs does not suit the objective or the protocol.

    Raises
    ------
    CorpusError
        As from `require_pairs`.
    ValueError
        The protocol looks at dev texts that are not there.
    """
    corpus = read_texts(path, settings.corpus.source_language)
    require_pairs(corpus, str(path), ranks=settings.objective == "ranking")
    freezes = settings.freeze_rule != "schedule" or bool(settings.freeze)
    require_protocol(settings, DevTexts.of_corpus(corpus), freezes=freezes)


def require_pairs(corpus: Corpus, name: str, *, ranks: bool) -> None:
    """Raise where rows are no pairs or, for ranking, nothing is entailed, or in dev nothing to choose from.

    Raises
    ------
    CorpusError
        Naming the file, and row or column.
    """
    table = corpus.table
    alone = np.flatnonzero(table["text_pair"].str.strip().eq(""))
    if len(alone):
        raise CorpusError(
            f"{name}: column text_pair: {len(alone)} rows without a second sentence, first "
            f"{table['id'].iloc[int(alone[0])]!r}; accepted: pairs of premise and hypothesis"
        )
    if not len(corpus.rows(split="dev")):
        raise CorpusError(f"{name}: column split: no dev rows; the training is watched on them")
    if not ranks:
        return
    if ENTAILMENT not in corpus.labels:
        raise CorpusError(
            f"{name}: column label: got {', '.join(corpus.labels)}; embeddings.objective ranking needs "
            f"{ENTAILMENT!r}"
        )
    dev = table[table["split"] == "dev"]
    for language, rows in dev.groupby("language", sort=False):
        premises = [set(rows.loc[rows["label"] == label, "text"]) for label in (ENTAILMENT, CONTRADICTION)]
        if not set.intersection(*premises):
            raise CorpusError(
                f"{name}: no dev premise in {language!r} has both an {ENTAILMENT} and a {CONTRADICTION}, by "
                "which embeddings.objective ranking is scored; accepted: such premises, or softmax"
            )


def run_embeddings_job(job: EmbeddingsJob) -> str:
    """Train, choose the epoch, score test pairs once where there are any, save, write the result.

    Returns
    -------
    str
        Path of the result file.
    """
    began = time.monotonic()
    with quiet(), torch_threads(job.settings.threads):
        corpus = read_texts(job.corpus, job.source_language)
        tokenizer = load_tokenizer(job.encoder, prompt=job.prompt)
        transformers.set_seed(job.seed)
        model = _build(job, corpus)
        length = job.settings.max_length
        train, dev, test = (
            tokenised_pairs(corpus, split, tokenizer, max_length=length) for split in ("train", "dev", "test")
        )
        task, score = _task_of(job, corpus, tokenizer, (train, dev))
        training = fit(
            model,
            task,
            settings=job.settings,
            seed=job.seed,
            monitor=job.monitor,
            out=job.output(),
            head_parameters=_head_parameters(model),
        )
        with within_memory(lambda: "the test pairs", job.settings.section):
            scores = score(model, test) if test.ids else {}
        if ranks.rank():
            return str(job.result)  # the first process writes it
        if job.save_model:
            _save(job, model, tokenizer, describe_embeddings(job, corpus, training))
    content = {
        "stamp": dict(job.stamp),
        "embeddings": [_renamed(row, job) for row in score_rows(job, training, scores)],
        "trainings": [_renamed(training_row(job, training), job)],
        "freezing": [_renamed(row, job) for row in freeze_rows(job, training)],
    }
    return finish(job, content, training, began)


def _build(job: EmbeddingsJob, corpus: Corpus) -> SiameseEncoder:
    """Build the model; its head, where it has one, is drawn from torch's random numbers."""
    return SiameseEncoder.from_encoder(
        job.encoder,
        job.architecture.layers,
        pooling=job.architecture.pooling,
        dropout=job.settings.dropout,
        labels=corpus.labels,
        objective=job.settings.objective,
        scale=job.settings.scale,
    )


def _head_parameters(model: PreTrainedModel) -> frozenset[str]:
    """Return the names of the parameters of the head, which are newly initialised."""
    return frozenset(name for name, _ in model.named_parameters() if not name.startswith("encoder."))


def _task_of(
    job: EmbeddingsJob, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, pairs: tuple[Pairs, Pairs]
) -> tuple[TrainingData, Scores]:
    """Return the task of the objective over train and dev pairs, and how other pairs are scored as dev is."""
    if job.settings.objective == "softmax":
        task = classification_of_pairs(tokenizer, *pairs)
        return task, lambda model, others: score_pairs(model, tokenizer, others).scores
    codes = {label: code for code, label in enumerate(corpus.labels)}
    ranked = Codes(codes[ENTAILMENT], codes.get(CONTRADICTION))
    task = ranking_of_pairs(tokenizer, *pairs, ranked)
    return task, lambda model, others: score_triplets(model, tokenizer, others, ranked).scores


def _save(job: EmbeddingsJob, model: SiameseEncoder, tokenizer: PreTrainedTokenizerBase, card: str) -> None:
    """Save the encoder as a model of this project, and as a folder of sentence-transformers."""
    alone, length = model.alone(), job.settings.max_length
    models = job.out / "models"
    try:
        save_sentence_transformer(
            alone, tokenizer, models / SENTENCE_TRANSFORMER, max_length=length, card=card
        )
    except EncoderError as error:  # the other folder does not depend on sentence-transformers
        log.warning("embeddings: %s is not written: %s", models / SENTENCE_TRANSFORMER, error)
    own = {"README.md": with_reading(card, prompt=job.prompt).encode()}
    save_model(alone, tokenizer, models / MODEL, max_length=length, extra=own)


def _renamed(row: Mapping[str, object], job: EmbeddingsJob) -> dict[str, object]:
    """Return a row of phase two's tables as one of the tables of the same kind for embeddings."""
    renamed = {("n_pairs" if name == "n_texts" else name): value for name, value in row.items()}
    kept = {name: value for name, value in renamed.items() if name not in ("system", "start", "sample_of")}
    return {"objective": job.settings.objective} | kept
