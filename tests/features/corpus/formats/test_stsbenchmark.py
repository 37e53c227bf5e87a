import gzip

import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.stsbenchmark import read_stsbenchmark

ROW = "main-news\theadlines\t2015\t{id}\t{score}\t{first}\t{second}"


def row(score="3.800", first='He said "yes.', second="Er sagte ja.", number="0001", more=""):
    return ROW.format(id=number, score=score, first=first, second=second) + more + "\n"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "sts-train.csv").write_text(row() + row("0", more="\tsource\tother source"))
    (tmp_path / "sts-dev.csv").write_text(row("5.000"))
    (tmp_path / "sts-test.csv").write_text(row("2.5").replace("\n", "\r\n"))
    return tmp_path


def test_official_files(folder):
    frame = read_stsbenchmark(folder)
    assert frame.columns.tolist() == ["id", "text", "text_pair", "score", "split"]
    assert frame["id"].tolist() == ["train-1", "train-2", "dev-1", "test-1"]
    assert frame["score"].tolist() == [3.8, 0.0, 5.0, 2.5]
    assert frame["score"].dtype == "float64"
    assert set(frame["text"]) == {'He said "yes.'}
    assert set(frame["text_pair"]) == {"Er sagte ja."}


def test_one_file_and_the_archives_own_folder(folder):
    assert read_stsbenchmark(folder / "sts-dev.csv")["split"].tolist() == ["dev"]
    inner = folder / "unpacked" / "stsbenchmark"
    inner.mkdir(parents=True)
    (folder / "sts-test.csv").rename(inner / "sts-test.csv")
    assert read_stsbenchmark(folder / "unpacked")["split"].tolist() == ["test"]


@pytest.mark.parametrize("name", ["stsbenchmark.tsv.gz", "stsbenchmark.tsv"])
def test_the_file_of_sentence_transformers(tmp_path, name):
    text = (
        "split\tgenre\tdataset\tyear\tsid\tscore\tsentence1\tsentence2\n"
        'train\tnews\tMSRvid\t2012\t0001\t1.25\t"A\tB\n'
        "test\tnews\tMSRvid\t2012\t0001\t4\tC\tD\n"
    )
    data = gzip.compress(text.encode()) if name.endswith(".gz") else text.encode()
    (tmp_path / name).write_bytes(data)
    for path in (tmp_path, tmp_path / name):
        frame = read_stsbenchmark(path)
        assert frame["id"].tolist() == ["train-1", "test-2"]
        assert frame["text"].tolist() == ['"A', "C"]
        assert frame["score"].tolist() == [1.25, 4.0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (row("5.1"), "row 2 (line 2): column score: got '5.1', accepted: a number from 0 to 5"),
        (row("-0.1"), "row 2 (line 2): column score: got '-0.1'"),
        (row("nan"), "row 2 (line 2): column score: got 'nan'"),
        (row(""), "row 2 (line 2): column score: got ''"),
        (row(first=" "), "row 2 (line 2): column sentence1: it is empty"),
        (row(second="\u200b"), "row 2 (line 2): column sentence2: it is empty; every row needs a pair"),
        ("a\tb\n", "row 2 (line 2): 2 fields, accepted: 7 as in the header"),
    ],
)
def test_bad_rows_are_named(folder, line, said):
    path = folder / "sts-dev.csv"
    path.write_text(row() + line)
    with pytest.raises(CorpusError) as error:
        read_stsbenchmark(folder)
    assert str(error.value).startswith(f"{path}: {said}")


def test_what_is_not_there(tmp_path):
    with pytest.raises(CorpusError, match=r"no sts-train\.csv"):
        read_stsbenchmark(tmp_path)
    with pytest.raises(CorpusError, match=r"sts-dev\.csv: no such file"):
        read_stsbenchmark(tmp_path / "sts-dev.csv")
    (tmp_path / "other.csv").write_text("")
    with pytest.raises(CorpusError, match=r"other\.csv: accepted: sts-train\.csv"):
        read_stsbenchmark(tmp_path / "other.csv")


@pytest.fixture
def tidy(tmp_path):
    header = "id,score,sentence1,sentence2\n"
    (tmp_path / "dev.csv").write_text(header + 'd1,3.8,"One, two.",Two.\n')
    (tmp_path / "test.csv").write_text(header + "t1,0,A.,B.\nt2,5,C.,C!\n")
    return tmp_path


def test_tidy_files(tidy):
    frame = read_stsbenchmark(tidy)
    assert frame.columns.tolist() == ["id", "text", "text_pair", "score", "split"]
    assert frame["id"].tolist() == ["d1", "t1", "t2"]
    assert frame["split"].tolist() == ["dev", "test", "test"]
    assert frame["text"].tolist() == ["One, two.", "A.", "C."]
    assert frame["score"].tolist() == [3.8, 0, 5]
    assert read_stsbenchmark(tidy / "test.csv")["id"].tolist() == ["t1", "t2"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (
            "id,score,sentence1,sentence2\nd1,5.2,A,B\n",
            r"dev\.csv: row 1 \(line 2\): column score: got '5.2'",
        ),
        (
            "id,score,sentence1,sentence2\nd1,4,A,\n",
            r"dev\.csv: row 1 \(line 2\): column sentence2: it is empty",
        ),
        ("id,score,sentence1,sentence2\nt1,4,A,B\n", r"column id: 't1' is already in .*dev\.csv, row 1"),
        ("score,sentence1,sentence2\n4,A,B\n", r"dev\.csv: column 'id' is missing"),
        ("id,score,sentence1,sentence2\nd1,4,A\n", r"dev\.csv: row 1 \(line 2\): 3 fields, accepted: 4"),
    ],
)
def test_tidy_files_with_mistakes(tidy, content, said):
    (tidy / "dev.csv").write_text(content)
    with pytest.raises(CorpusError, match=said):
        read_stsbenchmark(tidy)
