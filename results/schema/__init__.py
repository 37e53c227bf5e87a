"""Every column of every CSV file, declared once; writers, readers, validator and README follow it.

A module for each family of tables; `words` has what they share.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.schema import embeddings, runs, search, texts, training, tune

_SEARCHED = (
    search.GRIDSEARCH,
    search.SCORES,
    search.CONFUSION,
    search.TOP,
    search.EFFECTS,
    search.PROTOCOL_CHOICES,
    search.PREDICTIONS,
)
_TRAINED = (training.FINETUNE, training.TRAININGS, training.FREEZING, training.TABLE1, runs.CONCLUSIONS)
_SENTENCES = (
    training.EMBEDDINGS,
    training.EMBEDDINGS_TRAININGS,
    training.EMBEDDINGS_FREEZING,
    embeddings.STS,
    embeddings.TATOEBA,
    embeddings.REDUCTIONS,
)
_GIVEN = (runs.RUNS, texts.LABELS, texts.VECTOR_IDS, texts.NEIGHBOURS)
_PUBLISHED = (training.PUBLISHED, embeddings.PUBLISHED_STS, embeddings.PUBLISHED_TATOEBA)
_DECLARED = (
    texts.TEXTS,
    texts.REJECTED,
    texts.CORPUS,
    *_SEARCHED,
    tune.TUNE,
    *_TRAINED,
    *_SENTENCES,
    *_GIVEN,
    *_PUBLISHED,
)
TABLES = tuple(table for declared in _DECLARED for table in (declared, declared.overall) if table is not None)
"""Every declared table; behind one whose rows are summed up, that of the sums."""
