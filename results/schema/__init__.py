"""Every column of every CSV file, declared once; writers, readers, validator and README follow it.

python -m results.dictionary > results/README.md
"""

from __future__ import annotations

from results.kinds import stamp
from results.schema.comparisons import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP
from results.schema.corpus import CORPUS, LABELS, REJECTED, TEXTS
from results.schema.knobs import KNOBS
from results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS, TATOEBA
from results.schema.training import FINETUNE, FREEZING, PUBLISHED, TABLE1
from results.schema.vectors import NEIGHBOURS, VECTOR_IDS
from results.schema.words import CLASSIFIERS, NOT_STATED, POOLINGS, PROTOCOLS, SPLITS, SYSTEMS

__all__ = [
    "CLASSIFIERS", "CONFUSION", "CORPUS", "EFFECTS", "FINETUNE", "FREEZING", "GRIDSEARCH", "KNOBS", "LABELS",
    "NEIGHBOURS",
    "NOT_STATED", "POOLINGS", "PREDICTIONS", "PROTOCOLS", "PROTOCOL_CHOICES", "PUBLISHED", "REJECTED",
    "SCORES", "SPLITS", "STAMP", "SYSTEMS", "TABLE1", "TABLES", "TATOEBA", "TEXTS", "TOP",
    "VECTOR_IDS",
]  # fmt: skip

_SEARCHED = (GRIDSEARCH, SCORES, CONFUSION, TOP, EFFECTS, PROTOCOL_CHOICES, PREDICTIONS)
_MEASURED = (CORPUS, *_SEARCHED, KNOBS, FINETUNE, FREEZING, TABLE1, TATOEBA)
TABLES = (TEXTS, REJECTED, *_MEASURED, LABELS, VECTOR_IDS, NEIGHBOURS, PUBLISHED)
"""Every declared table."""
STAMP = tuple(column.name for column in stamp())
"""The columns that every row of a run carries."""
