"""Every column of every CSV file, declared once; writers, readers, validator and README follow it.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.kinds import stamp
from mcbert.results.schema.comparisons import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP
from mcbert.results.schema.conclusions import CONCLUSIONS
from mcbert.results.schema.corpus import CORPUS, LABELS, REJECTED, TEXTS
from mcbert.results.schema.embeddings import (
    PUBLISHED_STS,
    PUBLISHED_TATOEBA,
    REDUCTIONS,
    SEED_COMPAT,
    STS,
    TATOEBA,
)
from mcbert.results.schema.runs import RUNS
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS
from mcbert.results.schema.training import (
    EMBEDDINGS,
    EMBEDDINGS_FREEZING,
    FINETUNE,
    FREEZING,
    PUBLISHED,
    TABLE1,
)
from mcbert.results.schema.tune import TUNE
from mcbert.results.schema.vectors import NEIGHBOURS, VECTOR_IDS
from mcbert.results.schema.words import CLASSIFIERS, MEAN, NOT_STATED, PROTOCOLS, SPLITS, SYSTEMS

__all__ = [
    "CLASSIFIERS", "CONCLUSIONS", "CONFUSION", "CORPUS", "EFFECTS", "EMBEDDINGS", "EMBEDDINGS_FREEZING",
    "FINETUNE", "FREEZING", "GRIDSEARCH", "LABELS", "MEAN", "NEIGHBOURS",
    "NOT_STATED", "PREDICTIONS", "PROTOCOLS", "PROTOCOL_CHOICES", "PUBLISHED", "PUBLISHED_STS",
    "PUBLISHED_TATOEBA", "REDUCTIONS", "REJECTED", "RUNS", "SCORES", "SEED_COMPAT", "SPLITS", "STAMP", "STS",
    "SYSTEMS", "TABLE1", "TABLES", "TATOEBA", "TEXTS", "TOP", "TUNE", "VECTOR_IDS",
]  # fmt: skip

_SEARCHED = (GRIDSEARCH, SCORES, CONFUSION, TOP, EFFECTS, PROTOCOL_CHOICES, PREDICTIONS)
_SENTENCES = (EMBEDDINGS, EMBEDDINGS_FREEZING, STS, TATOEBA, REDUCTIONS)
_MEASURED = (CORPUS, *_SEARCHED, TUNE, FINETUNE, FREEZING, TABLE1, CONCLUSIONS, *_SENTENCES)
_GIVEN = (RUNS, LABELS, VECTOR_IDS, NEIGHBOURS)
_DECLARED = (TEXTS, REJECTED, *_MEASURED, *_GIVEN, PUBLISHED, PUBLISHED_STS, PUBLISHED_TATOEBA)
TABLES = tuple(table for declared in _DECLARED for table in (declared, declared.overall) if table is not None)
"""Every declared table; behind one whose rows are summed up, that of the sums."""
STAMP = tuple(column.name for column in stamp())
"""The columns that every row of a run carries."""
