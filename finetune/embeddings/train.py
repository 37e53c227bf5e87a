"""Train sentence embeddings: a training per seed, then the tables of what they measured.

    python -m mcbert embeddings --config demo

Reads pairs of sentences; writes ``embeddings.csv``, ``embeddings_freezing.csv``, TensorBoard logs and, of the
first seed, ``models/embeddings``, and the same for sentence-transformers as ``models/embeddings-st``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping

import numpy as np

from mcbert.features.corpus import Corpus, CorpusError
from mcbert.features.encoder.blocks import n_layers, require_layers
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.embeddings.running import CONTRADICTION, ENTAILMENT, run_embeddings_job
from mcbert.finetune.embeddings.settings import EmbeddingsSettings
from mcbert.finetune.freezing.rules import Schedule, plan_freezing
from mcbert.finetune.jobs import Execute, Inputs, Track, require_readable, run_jobs, write_rows
from mcbert.finetune.texts import DevTexts, read_texts, require_protocol
from mcbert.finetune.winner import Architecture
from mcbert.results.schema import EMBEDDINGS, EMBEDDINGS_FREEZING

log = logging.getLogger(__name__)


def train_embeddings(
    settings: EmbeddingsSettings,
    inputs: Inputs,
    architecture: Architecture,
    *,
    execute: Execute,
    stamp: Mapping[str, object],
    track: Track = lambda items, _total, _description: items,
) -> None:
    """Run the stage as `finetune.stage.finetune` does its own; it takes and raises the same.

    Parameters
    ----------
    inputs : Inputs
        Its corpus is one of pairs, and there is no winner.
    architecture : Architecture
        Layers and pooling of the vectors.
    """
    began = time.monotonic()
    corpus = read_texts(inputs.corpus, inputs.source_language)
    require_layers(architecture.layers, n_layers(inputs.encoder), "embeddings.layers")
    freeze = plan_embeddings_freezing(settings, max(architecture.layers))
    require_pairs(corpus, str(inputs.corpus), ranks=settings.objective == "ranking")
    require_protocol(settings, DevTexts.of_corpus(corpus), freezes=bool(freeze))
    require_readable(settings, inputs.encoder, architecture.pooling)
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
    for table, key in ((EMBEDDINGS, "embeddings"), (EMBEDDINGS_FREEZING, "freezing")):
        write_rows(jobs, key, table, inputs.out / table.file_name)
    log.info("embeddings: %d trainings in %.1f s -> %s", n_trained, time.monotonic() - began, inputs.out)


def plan_embeddings_freezing(settings: EmbeddingsSettings, deepest_layer: int) -> Schedule:
    """Return what the settings' rule may freeze, by epoch or turn; nothing where they name neither.

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


def require_pairs(corpus: Corpus, name: str, *, ranks: bool) -> None:
    """Raise when rows are no pairs or, for ranking, nothing is entailed, or in dev nothing to choose from.

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
