import pytest

from mcbert.features.corpus.errors import (
    BadRow,
    BadRows,
    CorpusError,
    Place,
    key,
    listed,
    of_section,
    printable,
    shown,
)


def rows(*numbers, file="t.csv"):
    return [BadRow(Place(file, n, n + 1), "text", "it is empty", f"id{n}") for n in numbers]


def added(on_bad, *all_rows):
    bad = BadRows(on_bad)
    for row in all_rows:
        bad.add(row)
    return bad


def test_nothing_bad_is_nothing_said():
    BadRows().settle()
    assert BadRows("skip").frame().empty


def test_one_bad_row():
    with pytest.raises(CorpusError) as error:
        added("error", *rows(3)).settle()
    assert str(error.value) == "t.csv: row 3 (line 4): column text: it is empty"


def test_files_are_named_where_they_change():
    bad = added("error", *rows(1), *rows(1, 2, file="u.csv"))
    with pytest.raises(CorpusError) as error:
        bad.settle()
    assert str(error.value) == (
        "t.csv: row 1 (line 2): column text: it is empty; u.csv: row 1 (line 2): column text: it is empty; "
        'row 2 (line 3): column text: it is empty (3 rows; corpus.on_bad = "skip" leaves them out)'
    )


def test_skipping_never_raises_and_keeps_every_row():
    bad = added("skip", *rows(*range(1, 31)))
    bad.settle()
    assert len(bad.frame()) == bad.count == 30


def test_frame_escapes_what_would_break_a_line_and_has_no_line_where_there_is_none():
    bad = added("skip", BadRow(Place("a\nb", 1), "", "got 'x\u202e'", "i\ud800"))
    (row,) = bad.frame().to_dict("records")
    assert row["file"] == "a\\nb"
    assert row["reason"] == "got 'x\\u202e'"
    assert row["id"] == "i\\ud800"
    assert bad.frame()["line"].isna().all()


def test_messages_are_one_printable_line():
    message = str(CorpusError("a\nb\u202e\ud800\0 中 é"))
    assert message == "a\\nb\\u202e\\ud800\\x00 中 é"


def test_long_values_and_lists_are_shortened():
    assert shown("x" * 100) == "'" + "x" * 59 + "..."
    assert listed([str(k) for k in range(14)]).endswith("10, 11 and 2 more")
    assert listed(["x" * 100]) == "x" * 60 + "..."
    assert printable("plain") == "plain"


def test_a_key_is_of_the_section_that_is_read():
    assert key("leaks") == "corpus.leaks"
    with of_section("embeddings.corpus"):
        assert key("leaks") == "embeddings.corpus.leaks"
    assert key("leaks") == "corpus.leaks"


def test_an_error_ends_the_section():
    with pytest.raises(KeyError), of_section("embeddings.corpus"):
        raise KeyError
    assert key("path") == "corpus.path"
