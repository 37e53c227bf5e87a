import gzip

import pytest

from mcbert.features.corpus.errors import CorpusError
from mcbert.features.corpus.formats.lines import Lines, is_encodable, reading


def written(tmp_path, data, name="a.txt"):
    path = tmp_path / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ["a.txt", "a.txt.gz"])
def test_lines_keep_their_ends_and_lose_the_byte_order_mark(tmp_path, name):
    data = "\ufeffa\r\nb\rc\nd\u2028\x85\x0be\ufeff".encode()
    path = written(tmp_path, gzip.compress(data) if name.endswith(".gz") else data, name)
    assert list(Lines(path)) == ["a\r\n", "b\r", "c\n", "d\u2028\x85\x0be\ufeff"]


def test_undecodable_lines_are_counted_and_located(tmp_path):
    lines = Lines(written(tmp_path, b"a\n\xc3\xa9\r\n\xffb\rc\xc3\nd"))
    assert len(list(lines)) == 5
    assert lines.undecodable == {3, 4}
    assert lines.undecodable_in(1, 2) == ""
    assert lines.undecodable_in(3, 3).startswith("byte 0xff at offset 6 is not utf-8; corpus.encoding")
    assert lines.undecodable_in(4, 5).startswith("byte 0xc3 at offset 10 is not utf-8")


@pytest.mark.parametrize(
    ("encoding", "bad"), [("shift_jis", b"\x81\x20"), ("gb18030", b"\x81\x20"), ("ascii", b"\xe9")]
)
def test_other_encodings_are_located_by_line_too(tmp_path, encoding, bad):
    lines = Lines(written(tmp_path, b"ok\nx" + bad + b"\nok\n"), encoding)
    assert len(list(lines)) == 3
    assert lines.undecodable_in(2, 2).startswith(f"byte {bad[0]:#04x} at offset 4 is not {encoding}")


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_where_a_bad_byte_leaves_no_line_the_file_is_refused(tmp_path, encoding):
    data = ("abc\n" * 40_000).encode(encoding) + b"\x00"
    with pytest.raises(CorpusError, match=rf"a\.txt: byte 0x00 at offset {len(data) - 1} .*{encoding}"):
        list(Lines(written(tmp_path, data), encoding))


def test_long_lines_and_many_blocks(tmp_path):
    text = "\u00e9\u4e2d\U0001f600" * 300_000
    assert list(Lines(written(tmp_path, f"{text}\n{text}".encode()))) == [text + "\n", text]


def test_what_the_file_system_says_is_one_line(tmp_path):
    with pytest.raises(CorpusError, match="x: no such file"), reading("x"):
        raise FileNotFoundError(2, "gone")
    with pytest.raises(CorpusError, match="x: it is a folder"), reading("x"):
        raise IsADirectoryError(21, "folder")
    with pytest.raises(CorpusError, match="x: it cannot be read: Input/output error"), reading("x"):
        raise OSError(5, "Input/output error")


def test_surrogates():
    assert is_encodable("a\U0001f600\0")
    assert not is_encodable("a\ud83d")
