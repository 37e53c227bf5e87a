import os
import re
import time
import tomllib

import pytest

from mcbert.home import PRESETS
from mcbert.pipeline.cli import main
from mcbert.pipeline.toml import MOST_PARTS, parse_toml


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.toml")), ids=lambda path: path.stem)
def test_presets_are_read_as_python_reads_them(path):
    text = path.read_text(encoding="utf-8")
    assert parse_toml(text) == tomllib.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        f'a = "{"b." * 1000}"',
        f"a = '{'9' * 5000}'",
        f"a.{'.'.join('b' * (MOST_PARTS - 1))} = 1",
        f"a = [{', '.join(['0.5'] * 500)}]",
        f'a = """\n{"One sentence. " * 50}\n{"." * 100}\n"""',
        f"# {'a.' * 1000}\na = 1",
        "a = [[[[[[1]]]]]]",
    ],
)
def test_long_texts_and_lists_are_read(text):
    assert parse_toml(text) == tomllib.loads(text)


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[encoder]\n{'a.' * 100_000}b = 1", r"line 2: a\.a\..*: a key of more than 16 parts"),
        (f"[{'a.' * 100_000}b]", "line 1: .*: a key of more than 16 parts"),
        (f"[encoder]\nx = {{ {' a . ' * 100_000}b = 1 }}", "line 2: x: a key of more than 16 parts"),
        ("\"a\"." * 100_000 + "b = 1", "line 1: .*: a key of more than 16 parts"),
        (f"[finetune]\nepochs = {'9' * 5000}", "line 2: epochs: a number of more than 4,300 digits"),
        (f"[finetune]\nseeds = [1, -{'9' * 5000}]", "line 2: seeds: a number of more than 4,300 digits"),
        (f"[finetune]\nseeds = {'[' * 100_000}", "line 2: lists or tables nested more than 32 deep"),
        (f"a = {'{b = ' * 1000}1", "line 1: lists or tables nested more than 32 deep"),
        (f"[finetune]\nepochs = {10**40}", "finetune.epochs: got 10.*, accepted: a number of at most 64"),
        (f"[finetune]\nseeds = [{1 << 63}]", "finetune.seeds: got 9.*, accepted: .* at most 64"),
        (f"[finetune]\nlearning_rate = 0x{'f' * 9000}", "learning_rate: got a int, accepted: .* 64"),
        (f"[encoder]\npath = {'9' * 4000}", "encoder.path: got 999.*, accepted: a number of at most 64 bits"),
        ("x" * (1 << 21), "more than 1,048,576 bytes"),
    ],
)  # fmt: skip
def test_what_no_setting_has_is_one_line_at_once(text, said, tmp_path, capsys):
    path = tmp_path / "odd.toml"
    path.write_text(text if "encoder" in text else f'encoder.path = "e"\n{text}' if "[f" in text else text)
    said = said.replace("line 2", "line 3") if "[f" in text and "line" in said else said
    began = time.monotonic()
    assert main(["show", "--config", str(path)]) == 2
    assert time.monotonic() - began < 10
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"mcbert: error: {path}: ")
    assert len(line) < 400
    assert re.search(said, line), line


@pytest.mark.timeout(30)
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("finetune.epochs=" + "9" * 5000, "finetune.epochs: got '999.*, accepted: a whole number"),
        (f"finetune.epochs={10**40}", "finetune.epochs: got 1000.*, accepted: a number of at most 64 bits"),
        ("finetune.seeds=" + "[" * 50_000, r"finetune.seeds: got '\[\[.*, accepted: a list"),
        ("a." * 50_000 + "b=1", "accepted: a key of at most 16 parts"),
        ("corpus.columns.a.a.a.a=1", "corpus.columns.a: got .*, accepted: text"),
        ("corpus.columns={" + "a." * 50_000 + "b=1}", "corpus.columns: got '{a.*, accepted: a table"),
        ("x" * 50_000, "accepted: section.key=value"),
    ],
)
def test_overrides_have_bounds_too(override, said, capsys):
    assert main(["show", override]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert len(line) < 400
    assert re.search(said, line), line


@pytest.mark.timeout(20)
def test_a_named_pipe_is_no_configuration(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe.toml")
    assert main(["show", "--config", str(tmp_path / "pipe.toml")]) == 2
    assert "pipe.toml" in capsys.readouterr().err
