from results.schema import GRIDSEARCH, LABELS, PUBLISHED, STAMP, TABLES, TEXTS


def test_every_row_of_a_run_carries_the_stamp():
    for table in set(TABLES) - {TEXTS, LABELS, PUBLISHED}:
        assert tuple(column.name for column in table.columns[-len(STAMP) :]) == STAMP


def test_gridsearch_starts_with_what_an_analyst_looks_for():
    first = [column.name for column in GRIDSEARCH.columns[:6]]
    assert first == ["rank", "candidate_id", "layers", "n_layers", "pooling", "classifier"]


def test_default_space_is_the_papers():
    assert (
        len(GRIDSEARCH.column("pooling").allowed) * len(GRIDSEARCH.column("classifier").allowed) * 255 == 3825
    )
