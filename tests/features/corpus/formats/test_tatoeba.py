import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.parallel import CODES, read_tatoeba


@pytest.fixture
def folder(tmp_path):
    for code, texts in (("cmn", ["你好。", '"是"', "NA"]), ("swh", ["Habari", "Ndiyo", "Hapana"])):
        (tmp_path / f"tatoeba.{code}-eng.{code}").write_text("\n".join(texts) + "\n")
        (tmp_path / f"tatoeba.{code}-eng.eng").write_text("Hello.\nYes\nNo\n")
    return tmp_path


def test_pairs_in_order(folder):
    frame = read_tatoeba(folder, ["zh", "swh"])
    assert frame.columns.tolist() == ["id", "language", "text", "text_pair"]
    assert frame["id"].tolist() == ["zh-1", "zh-2", "zh-3", "swh-1", "swh-2", "swh-3"]
    assert frame["text"].tolist() == ["你好。", '"是"', "NA", "Habari", "Ndiyo", "Hapana"]
    assert frame["text_pair"].tolist() == ["Hello.", "Yes", "No"] * 2


def test_laser_keeps_them_in_v1(folder):
    (folder / "data" / "v1").mkdir(parents=True)
    for path in folder.glob("tatoeba.*"):
        path.rename(folder / "data" / "v1" / path.name)
    assert len(read_tatoeba(folder / "data", ["sw"])) == 3


def test_windows_line_ends_and_no_last_one(folder):
    path = folder / "tatoeba.cmn-eng.cmn"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n")[:-2])
    assert read_tatoeba(folder, ["cmn"])["text"].tolist() == ["你好。", '"是"', "NA"]


def test_codes_are_two_letters_to_three():
    assert {len(k) for k in CODES} == {2}
    assert {len(v) for v in CODES.values()} == {3}
    assert CODES["de"] == "deu"


def test_a_language_that_is_not_there(folder):
    said = r"tatoeba\.deu-eng\.deu: no such file; languages present: cmn, swh; the sets are LASER's"
    with pytest.raises(CorpusError, match=said):
        read_tatoeba(folder, ["zh", "de"])
    with pytest.raises(CorpusError, match="languages present: none"):
        read_tatoeba(folder / "nowhere", ["de"])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"a\nb\n", r"2 lines, but tatoeba\.cmn-eng\.eng has 3"),
        (b"a\n\xe2\x80\x8b\nc\n", r"row 2 \(line 2\): it is empty"),
        (b"a\n\xff\nc\n", r"row 2 \(line 2\): byte 0xff at offset 2 is not utf-8"),
    ],
)
def test_files_that_do_not_fit_are_named(folder, data, said):
    (folder / "tatoeba.cmn-eng.cmn").write_bytes(data)
    with pytest.raises(CorpusError, match=rf"tatoeba\.cmn-eng\.cmn: {said}"):
        read_tatoeba(folder, ["zh"])
