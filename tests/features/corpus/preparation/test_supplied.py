import re

import pandas as pd
import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.preparation.transfer import supplied_texts, warn_of_copies


@pytest.fixture
def rows():
    return pd.DataFrame(
        [
            ("a", "one", "", "x", "en"),
            ("a+1", "one", "", "x", "en"),
            ("b-en", "two", "pair", "contradiction", "en"),
        ],
        columns=["id", "text", "text_pair", "label", "language"],
    )


def written(tmp_path, text, name="de.csv"):
    path = tmp_path / name
    path.write_text(text)
    return path


def test_a_row_is_found_by_its_id_or_the_one_it_was_made_from(rows, tmp_path):
    path = written(tmp_path, "id,text,text_pair\nb,zwei,Paar\na,eins,\nzzz,mehr,\n")
    found = supplied_texts(rows, path)
    assert found["text"].tolist() == ["eins", "eins", "zwei"]
    assert found["text_pair"].tolist() == ["", "", "Paar"]


def test_its_own_id_comes_first(rows, tmp_path):
    path = written(tmp_path, "id,text,text_pair\nb,zwei,Paar\nb-en,selbst,es\na+1,kopie,\na,eins,\n")
    assert supplied_texts(rows, path)["text"].tolist() == ["eins", "kopie", "selbst"]


def test_without_ids_lines_are_matched_with_their_labels_as_proof(rows, tmp_path):
    pairs = rows.assign(text_pair="p")
    path = written(
        tmp_path, 'premise\thypo\tlabel\neins\t"1\tx\nnoch\t1\tx\nzwei\t2\tcontradictory\n', "train.de.tsv"
    )
    found = supplied_texts(pairs, path)
    assert found["text"].tolist() == ["eins", "noch", "zwei"]
    assert found["text_pair"].tolist() == ['"1', "1", "2"]


def test_a_second_text_is_not_put_where_there_was_none(rows, tmp_path):
    path = written(tmp_path, "id,text,text_pair\nb,zwei,Paar\na,eins,zu viel\n")
    assert supplied_texts(rows, path)["text_pair"].tolist() == ["", "", "Paar"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("id,text\na,eins\nb,zwei\n", "column 'text_pair' is missing; present: id, text"),
        (
            "text,text_pair\neins,\n",
            "column 'label' is missing .without a column id, rows are matched line b",
        ),
        ("id,text,text_pair\na,eins,\n", "column id: no translation for 1 of 3 texts, first 'b-en'"),
        (
            "id,text,text_pair\na,eins,\nb,zwei,\n",
            "column text_pair: it is empty for 'b-en', which is a pair",
        ),
        ("id,text,text_pair\na,eins,\nb, ,Paar\n", "row 2 .*: column text: it is empty"),
        ("id,text,text_pair\na,eins,\na,zwei,\n", "row 2 .*: column id: 'a' is already in row 1"),
        ("text,text_pair,label\neins,,x\n", "1 rows without ids, accepted: 3, one for each text"),
        (
            "text,text_pair,label\neins,,x\neins,,y\nzwei,p,contradiction\n",
            "row 2: column label: got 'y', accepted: 'x' as of 'a.1', the text in its place",
        ),
    ],
)
def test_what_does_not_fit_is_named(rows, tmp_path, text, said):
    with pytest.raises(CorpusError, match=f"de.csv: {said}"):
        supplied_texts(rows, written(tmp_path, text))


def test_what_is_advised_is_what_helps(rows, tmp_path):
    (tmp_path / "de.csv").write_bytes("id,text\na,süß\n".encode("cp1252"))
    with pytest.raises(CorpusError, match=r"de.csv: row 1 .*accepted: UTF-8$"):
        supplied_texts(rows, tmp_path / "de.csv")


def test_a_spreadsheets_semicolons_are_read(rows, tmp_path):
    path = written(tmp_path, "\ufeffid;text;text_pair\nb;zwei;Paar\na;eins;\n")
    assert supplied_texts(rows, path)["text"].tolist() == ["eins", "eins", "zwei"]


def test_an_id_that_differs_in_blanks_is_shown(rows, tmp_path):
    path = written(tmp_path, "id,text,text_pair\na ,eins,x\nb ,zwei,x\n")
    with pytest.raises(CorpusError, match="3 of 3 texts, first 'a'; .*'a '"):
        supplied_texts(rows, path)
    path = written(tmp_path, "id,text,text_pair\nt1,eins,x\n")
    with pytest.raises(CorpusError, match="3 of 3 texts, first 'a'; .*'t1'$"):
        supplied_texts(rows, path)


SOURCE = pd.Series([f"text {word}" for word in "abcdefghijklmnopqr"])


@pytest.mark.parametrize(
    ("source", "texts", "said"),
    [
        (SOURCE, SOURCE, "de.csv: 18 of 18 de texts equal the source text"),
        (SOURCE, "de " + SOURCE, None),
        (SOURCE, SOURCE.where(SOURCE.index < 2, "de " + SOURCE), "2 of 18 de texts equal the source"),
        (SOURCE, SOURCE.where(SOURCE.index < 1, "de " + SOURCE), None),
        (SOURCE, SOURCE.mask(SOURCE.index >= 0, "x"), "17 of 18 de texts repeat another, .*: 'x'"),
        (SOURCE.mask(SOURCE.index >= 0, "one"), SOURCE.mask(SOURCE.index >= 0, "eins"), None),
        (pd.Series([f"{k}" for k in range(20)]), pd.Series([f"{k}" for k in range(20)]), None),
    ],
)
def test_translations_that_are_none_are_warned_of(source, texts, said, caplog):
    warn_of_copies(source, texts, "de", "de.csv")
    found = [record.getMessage() for record in caplog.records]
    assert len(found) == (said is not None)
    assert said is None or re.search(said, found[0])
