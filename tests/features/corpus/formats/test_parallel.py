import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.parallel import is_table, languages_in, pair_files, read_pairs
from mcbert.home import HOME

RAW = 'id,text,label\na1,Where is it?,x\na2,Thank you.,y\na3,"No, thanks",x\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "raw.csv").write_text(RAW)
    (tmp_path / "translations").mkdir()
    (tmp_path / "translations/de.csv").write_text('id,text\na2,Danke.\na1,Wo ist es?\na3,"Nein, danke"\n')
    (tmp_path / "translations/fr.csv").write_text("id,text\na1,Où est-ce ?\na2,Merci.\n")
    return tmp_path


@pytest.fixture
def laser(tmp_path):
    for end, lines in (("deu", "Hallo\nJa\n"), ("eng", "Hello\nYes\n")):
        (tmp_path / f"tatoeba.deu-eng.{end}").write_text(lines)
    return tmp_path


def test_translations_beside_their_english(folder):
    frame = read_pairs(folder, ["de", "fr"])
    assert frame.columns.tolist() == ["id", "language", "text", "text_pair", "unit", "split"]
    assert frame["id"].tolist() == ["de-a2", "de-a1", "de-a3", "fr-a1", "fr-a2"]
    assert frame["text_pair"].tolist()[:3] == ["Thank you.", "Where is it?", "No, thanks"]
    assert frame["unit"].tolist() == ["a2", "a1", "a3", "a1", "a2"]
    assert set(frame["split"]) <= {"dev", "test"}
    assert frame.groupby("unit")["split"].nunique().max() == 1


def test_splits_of_the_file_are_kept_and_train_is_left_out(folder):
    splits = zip(RAW.splitlines(), ("split", "train", "dev", "test"), strict=True)
    (folder / "raw.csv").write_text("".join(f"{line},{split}\n" for line, split in splits))
    frame = read_pairs(folder, ["de"])
    assert dict(zip(frame["unit"], frame["split"], strict=True)) == {"a2": "dev", "a3": "test"}


def test_a_split_does_not_change_with_what_else_is_there(folder):
    before = read_pairs(folder, ["de"]).set_index("unit")["split"]
    more = "".join(f"b{k},Text {k},x\n" for k in range(300))
    (folder / "raw.csv").write_text(RAW + more)
    rows = "".join(f"b{k},Satz {k}\n" for k in range(300))
    (folder / "translations/de.csv").write_text("id,text\na1,x\na2,y\na3,z\n" + rows)
    after = read_pairs(folder, ["de"]).set_index("unit")["split"]
    assert before.to_dict() == after[["a1", "a2", "a3"]].to_dict()
    assert 70 < after.eq("dev").sum() < 130


def test_the_shipped_intents():
    folder = HOME / "samples/intents"
    assert languages_in(folder) == ["ar", "de", "es", "fr", "ur", "zh"]
    frame = read_pairs(folder, ["de", "zh"])
    assert len(frame) == 2 * 422
    assert 110 < frame["split"].eq("dev").sum() / 2 < 170


def test_lasers_layout_is_all_test(laser):
    assert not is_table(laser)
    assert languages_in(laser) == ["deu"]
    frame = read_pairs(laser, ["de"])
    assert frame["unit"].tolist() == frame["id"].tolist() == ["de-1", "de-2"]
    assert set(frame["split"]) == {"test"}


def test_which_files_are_read(folder):
    names = [path.relative_to(folder).as_posix() for path in pair_files(folder, ["de"])]
    assert names == ["raw.csv", "translations/de.csv"]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("translations/de.csv", None, r"translations/de\.csv: no such file; languages present: fr"),
        ("raw.csv", None, r"raw\.csv: no such file"),
        (
            "translations/de.csv",
            "id,text\na1,x\nzz,y\n",
            r"de\.csv: row 2 \(line 3\): column id: got 'zz', which",
        ),
        (
            "translations/de.csv",
            "id,text\na1,x\na2, \n",
            r"de\.csv: row 2 \(line 3\): column text: it is empty",
        ),
        (
            "translations/de.csv",
            "id,text\na1,x\na1,y\n",
            r"row 2 \(line 3\): column id: 'a1' is already in row 1",
        ),
        ("translations/de.csv", "id,text\n", r"de\.csv: the file has a header and no rows"),
        ("raw.csv", "id,text\na1,x,y\n", r"raw\.csv: row 1 \(line 2\): 3 fields, accepted: 2"),
        ("raw.csv", "id,text,split\na1,x,valid\n", r"raw\.csv: row 1 \(line 2\): column split: got 'valid'"),
    ],
)
def test_files_that_do_not_fit_are_named(folder, name, content, said):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content)
    with pytest.raises(CorpusError, match=said):
        read_pairs(folder, ["de"])
