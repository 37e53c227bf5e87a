import pytest

from mcbert.files.objects import parse, read_object, short


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "Expecting value"),
        (b"[1]", "list, accepted: an object"),
        (b"\xff{}", "can't decode byte"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a": ' * 100_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 5000 + b"}", "Exceeds the limit"),
        (b'{"b": 1}', "'a' is missing"),
        (b'{"a": "1"}', "'a' is \"1\""),
        (b'{"a": true}', "'a' is true"),
        (b'{"a": null}', "'a' is null"),
    ],
)
def test_what_is_no_such_object_is_one_line_that_names_the_file(content, said, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=said) as refused:
        read_object(path, {"a": int})
    assert str(refused.value).startswith(f"{path}: damaged (")
    assert str(refused.value).endswith("; move it away to have it made again")
    assert "\n" not in str(refused.value)


def test_an_object_with_its_keys(tmp_path):
    (tmp_path / "a.json").write_text('{"a": 1, "b": null}')
    assert read_object(tmp_path / "a.json", {"a": int, "b": (str, type(None))}) == {"a": 1, "b": None}
    assert read_object(tmp_path / "a.json", ["a"]) == {"a": 1, "b": None}
    assert parse("[1]") == [1]


def test_a_large_file_and_a_link_are_refused(tmp_path):
    (tmp_path / "a.json").write_text('{"a": "' + "x" * 1000 + '"}')
    with pytest.raises(OSError, match="more than 100 bytes"):
        read_object(tmp_path / "a.json", most=100)
    (tmp_path / "b.json").symlink_to(tmp_path / "a.json")
    with pytest.raises(OSError, match="it is a link"):
        read_object(tmp_path / "b.json")


def test_values_are_shortened():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert short({"a": "b"}) == '{"a": "b"}'
    assert short("x" * 100) == '"' + "x" * 36 + "..."
    assert short(deep) == "a list"
