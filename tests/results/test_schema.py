import pytest

from mcbert.features.spec import POOLINGS
from mcbert.results.schema import TABLES
from mcbert.results.schema.embeddings import PUBLISHED_STS, PUBLISHED_TATOEBA
from mcbert.results.schema.runs import CONCLUSIONS, RUNS
from mcbert.results.schema.search import EFFECTS, GRIDSEARCH, SCORES
from mcbert.results.schema.texts import CORPUS, LABELS, NEIGHBOURS, REJECTED, TEXTS, VECTOR_IDS
from mcbert.results.schema.training import PUBLISHED, TABLE1
from mcbert.results.schema.tune import TUNE
from mcbert.results.schema.words import CLASSIFIERS, STAMP
from tests.results.test_column import is_accepted

ELSEWHERE = (PUBLISHED, PUBLISHED_STS, PUBLISHED_TATOEBA)


def test_every_row_of_a_run_carries_the_stamp():
    for table in set(TABLES) - {TEXTS, LABELS, VECTOR_IDS, NEIGHBOURS, *ELSEWHERE}:
        assert tuple(column.name for column in table.columns[-len(STAMP) :]) == STAMP


def test_every_table_that_a_choice_had_part_in_names_the_protocol():
    nothing_chosen = {TEXTS, REJECTED, CORPUS, EFFECTS, EFFECTS.overall, LABELS, VECTOR_IDS, NEIGHBOURS}
    nothing_chosen |= {SCORES, SCORES.overall}  # by rank in gridsearch.csv, which names both
    assert {t for t in TABLES if t.column("protocol") is None} == nothing_chosen


def test_every_table_that_random_numbers_had_part_in_names_the_seed():
    over_several = {EFFECTS, TUNE, TABLE1, CONCLUSIONS, RUNS, SCORES}
    nothing_random = {TEXTS, REJECTED, CORPUS, LABELS, VECTOR_IDS, NEIGHBOURS, *ELSEWHERE}
    overall = {table.overall for table in over_several if table.overall}
    assert {t for t in TABLES if t.column("seed") is None} == over_several | overall | nothing_random


def test_gridsearch_starts_with_what_an_analyst_looks_for():
    first = [column.name for column in GRIDSEARCH.columns[:6]]
    assert first == ["rank", "candidate_id", "layers", "n_layers", "pooling", "classifier"]


@pytest.mark.parametrize(
    ("column", "cell", "accepted"),
    [
        *(("pooling", name, True) for name in (*POOLINGS, "max+mean+cls")),
        *(("classifier", name, True) for name in (*CLASSIFIERS, "mlp", "my_forest2")),
        *(("pooling", name, False) for name in ("min", "max+", "max+min", "")),
        *(("classifier", name, False) for name in ("My forest", "9", "")),
        ("layers", "0+6", True),
    ],
)
def test_a_candidate_is_one_of_the_search(column, cell, accepted):
    assert is_accepted(GRIDSEARCH.column(column), cell) == accepted
