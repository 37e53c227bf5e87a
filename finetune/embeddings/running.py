"""Run one training of sentence embeddings, from pairs to its result file: an executor's unit of work.

python -m pytest tests/finetune/embeddings/test_running.py
"""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping

import transformers
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from mcbert.features.corpus import Corpus
from mcbert.features.encoder.files import EncoderError
from mcbert.features.encoder.loading import quiet
from mcbert.features.encoder.tokens import load_tokenizer
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.model import SiameseEncoder
from mcbert.finetune.embeddings.pairs import (
    Codes,
    Pairs,
    classification_of_pairs,
    ranking_of_pairs,
    read_pairs,
    score_pairs,
    score_triplets,
)
from mcbert.finetune.embeddings.sentence_transformer import save_sentence_transformer
from mcbert.finetune.evaluation import Score
from mcbert.finetune.export.cards import describe_embeddings, with_reading
from mcbert.finetune.export.saved import save_model
from mcbert.finetune.jobs import finish, torch_threads
from mcbert.finetune.rows import freeze_rows, score_rows
from mcbert.finetune.texts import read_texts
from mcbert.finetune.training import ranks
from mcbert.finetune.training.data import TrainingData
from mcbert.finetune.training.fit import fit, within_memory

log = logging.getLogger(__name__)

MODEL = "embeddings"
LIBRARY_MODEL = "embeddings-st"
ENTAILMENT, CONTRADICTION = "entailment", "contradiction"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Learning:
    """How pairs become a task, and how they are scored."""

    task: TrainingData
    """Train and dev."""

    score: Callable[[PreTrainedModel, Pairs], Mapping[str, Score]]
    """Scores other pairs as dev is."""


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
        model = build(job, corpus)
        length = job.settings.max_length
        train, dev, test = (
            read_pairs(corpus, split, tokenizer, max_length=length) for split in ("train", "dev", "test")
        )
        learning = learn_from(job, corpus, tokenizer, (train, dev))
        training = fit(
            model,
            learning.task,
            settings=job.settings,
            seed=job.seed,
            monitor=job.monitor,
            out=job.output(),
            head_parameters=head_parameters(model),
        )
        with within_memory(lambda: "the test pairs", job.settings.section):
            scores = learning.score(model, test) if test.ids else {}
        if ranks.rank():
            return str(job.result)  # the first process writes it
        if job.save_model:
            save(job, model, tokenizer, describe_embeddings(job, corpus, training))
    content = {
        "stamp": dict(job.stamp),
        "embeddings": [as_embeddings(row, job) for row in score_rows(job, training, scores)],
        "freezing": [as_embeddings(row, job) for row in freeze_rows(job, training)],
    }
    return finish(job, content, training, began)


def build(job: EmbeddingsJob, corpus: Corpus) -> SiameseEncoder:
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


def head_parameters(model: PreTrainedModel) -> frozenset[str]:
    """Return the names of the parameters of the head."""
    return frozenset(name for name, _ in model.named_parameters() if not name.startswith("encoder."))


def learn_from(
    job: EmbeddingsJob, corpus: Corpus, tokenizer: PreTrainedTokenizerBase, pairs: tuple[Pairs, Pairs]
) -> Learning:
    """Return the task of the objective over train and dev pairs."""
    if job.settings.objective == "softmax":
        return Learning(
            task=classification_of_pairs(tokenizer, *pairs),
            score=lambda model, others: score_pairs(model, tokenizer, others)[0],
        )
    codes = {label: code for code, label in enumerate(corpus.labels)}
    ranked = Codes(codes[ENTAILMENT], codes.get(CONTRADICTION))
    return Learning(
        task=ranking_of_pairs(tokenizer, *pairs, ranked),
        score=lambda model, others: score_triplets(model, tokenizer, others, ranked)[0],
    )


def save(job: EmbeddingsJob, model: SiameseEncoder, tokenizer: PreTrainedTokenizerBase, card: str) -> None:
    """Save the encoder as a model of this project, and as a folder of sentence-transformers."""
    alone, length = model.alone(), job.settings.max_length
    models = job.out / "models"
    try:
        save_sentence_transformer(alone, tokenizer, models / LIBRARY_MODEL, max_length=length, card=card)
    except EncoderError as error:  # the other folder needs no library
        log.warning("embeddings: %s is not written: %s", models / LIBRARY_MODEL, error)
    own = {"README.md": with_reading(card, prompt=job.prompt).encode()}
    save_model(alone, tokenizer, models / MODEL, max_length=length, extra=own)


def as_embeddings(row: Mapping[str, object], job: EmbeddingsJob) -> dict[str, object]:
    """Return a row of finetune.csv or freezing.csv as one of embeddings.csv or embeddings_freezing.csv."""
    renamed = {("n_pairs" if name == "n_texts" else name): value for name, value in row.items()}
    kept = {name: value for name, value in renamed.items() if name not in ("system", "start")}
    return {"objective": job.settings.objective} | kept
