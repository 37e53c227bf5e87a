"""Every column of every CSV file, declared once; writers, readers, validator and README follow it.

python -m results.dictionary > results/README.md
"""

from __future__ import annotations

from results.kinds import stamp
from results.schema.corpus import CORPUS, LABELS, REJECTED, TEXTS
from results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS, TATOEBA
from results.schema.training import FINETUNE, FREEZING, PUBLISHED, TABLE1
from results.schema.words import CLASSIFIERS, NOT_STATED, POOLINGS, PROTOCOLS, SPLITS, SYSTEMS

__all__ = [
    "CLASSIFIERS", "CONFUSION", "CORPUS", "FINETUNE", "FREEZING", "GRIDSEARCH", "LABELS", "NOT_STATED",
    "POOLINGS", "PREDICTIONS", "PROTOCOLS", "PUBLISHED", "REJECTED", "SPLITS", "STAMP", "SYSTEMS", "TABLE1",
    "TABLES", "TATOEBA", "TEXTS",
]  # fmt: skip

_MEASURED = (CORPUS, GRIDSEARCH, CONFUSION, PREDICTIONS, FINETUNE, FREEZING, TABLE1, TATOEBA)
TABLES = (TEXTS, REJECTED, *_MEASURED, LABELS, PUBLISHED)
"""Every declared table."""
STAMP = tuple(column.name for column in stamp())
"""The columns that every row of a run carries."""
