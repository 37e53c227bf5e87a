import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.results.column import neutralise, restore
from mcbert.results.schema import TABLES
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.training import FINETUNE, TRAININGS


def is_accepted(column, cell):
    try:
        column.decode(cell)
    except ValueError as error:
        assert column.name in str(error)
        return False
    return True


LIVE = "=+-@\t\r\n\0\uff1d\uff0b\uff0d\uff20"


@given(st.text())
def test_restore_undoes_neutralise(text):
    assert restore(neutralise(text)) == text


@given(st.text(alphabet=f"{LIVE}'a1 "))
def test_restore_undoes_neutralise_among_special_characters(text):
    assert restore(neutralise(text)) == text


@given(st.text(alphabet=f"{LIVE}'a1", min_size=1))
def test_no_neutralised_cell_is_run_as_a_formula(text):
    assert neutralise(text)[0] not in LIVE


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        *(
            ("=1+1", "'=1+1"),
            ("@home", "'@home"),
            ("'=x", "''=x"),
            ("\uff1d1", "'\uff1d1"),
            ("\n=1", "'\n=1"),
        ),
        *(("'tis", "'tis"), ("6+8", "6+8"), ("", ""), (" a", " a"), ("\uff08a", "\uff08a")),
    ],
)
def test_only_formula_like_texts_change(text, cell):
    assert neutralise(text) == cell


@pytest.mark.parametrize(
    ("table", "name", "cell", "accepted"),
    [
        (GRIDSEARCH, "layers", "6+8+11", True),
        (GRIDSEARCH, "layers", "6,8", False),
        (GRIDSEARCH, "layers", "", False),
        (TRAININGS, "layers", "", True),
        (GRIDSEARCH, "pooling", "median", False),
        (GRIDSEARCH, "rank", "0", False),
        (GRIDSEARCH, "rank", "", True),
        (GRIDSEARCH, "seed", "1.0", False),
        (GRIDSEARCH, "dev_f1_micro_zh", "1e-05", True),
        (GRIDSEARCH, "dev_f1_micro_zh", "1.01", False),
        (GRIDSEARCH, "dev_f1_micro_zh", "nan", False),
        (GRIDSEARCH, "score", "inf", False),
        (GRIDSEARCH, "score", "1_000", False),
        (FINETUNE, "chosen", "TRUE", True),
        (FINETUNE, "chosen", "yes", False),
    ],
)
def test_a_cell_is_decoded_or_refused(table, name, cell, accepted):
    assert is_accepted(table.column(name), cell) is accepted


@pytest.mark.parametrize(
    ("name", "cell", "value"),
    [
        *(("layers", "6+8", "6+8"), ("message", "'=1", "=1"), ("message", "", "")),
        *(("rank", "7", 7), ("rank", "", None), ("score", "1e-05", 1e-05), ("score", "", None)),
    ],
)
def test_a_value_is_written_as_it_is_read(name, cell, value):
    column = GRIDSEARCH.column(name)
    assert column.decode(cell) == value
    assert column.encode(value) == cell
    assert column.accepts(value)


@pytest.mark.parametrize(("value", "accepted"), [(0, False), (1, True), (10**18, False), (None, True)])
def test_a_value_is_checked_by_its_column_before_it_is_written(value, accepted):
    assert GRIDSEARCH.column("rank").accepts(value) is accepted


def test_the_mean_is_its_own_column_not_a_language():
    assert GRIDSEARCH.column("dev_f1_micro_mean").name == "dev_f1_micro_mean"
    assert GRIDSEARCH.column("dev_f1_micro_pt-BR").name == "dev_f1_micro_{language}"
    assert GRIDSEARCH.column("dev_f1_micro_") is None


def test_a_pattern_needs_at_least_one_language():
    names = [column.name for column in GRIDSEARCH.columns if not column.is_pattern]
    assert [column.name for column in GRIDSEARCH.missing(names)] == [
        "dev_f1_micro_{language}",
        "test_f1_micro_{language}",
    ]
    assert [
        column.name for column in GRIDSEARCH.missing([*names, "dev_f1_micro_de", "test_f1_micro_de"])
    ] == []


def test_order_puts_the_languages_of_a_pattern_together():
    assert GRIDSEARCH.order(
        ["test_f1_micro_de", "rank", "dev_f1_micro_zh", "test_f1_micro_zh", "dev_f1_micro_de"]
    ) == [
        "rank",
        "dev_f1_micro_zh",
        "dev_f1_micro_de",
        "test_f1_micro_de",
        "test_f1_micro_zh",
    ]


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.file_name)
def test_declarations_are_sound(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert set(table.key) <= set(names)
    assert all(column.meaning and "|" not in column.meaning for column in table.columns)
    assert not any(column.allowed and column.dtype != "string" for column in table.columns)
