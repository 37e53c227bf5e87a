"""Checkpoints are whole or absent; the newest that verifies is taken, of the same training only."""

import json

import pytest

from finetune.training import checkpoints

ARGUMENTS = {"settings": {"epochs": 3, "freeze": {2: (9, 11)}}, "seed": 0}


def write(folder, step, content=b"weights", arguments=ARGUMENTS):
    return checkpoints.write(folder, step, arguments, lambda path: (path / "model").write_bytes(content))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_the_newest_by_step_is_taken_and_two_are_kept(tmp_path):
    assert checkpoints.newest(tmp_path, ARGUMENTS) is None
    for step in (2, 4, 10):
        write(tmp_path, step, str(step).encode())
    assert names(tmp_path) == ["step-10", "step-4"]  # not by name, not by time
    found = checkpoints.newest(tmp_path, ARGUMENTS)
    assert found == tmp_path / "step-10"
    assert (found / "model").read_bytes() == b"10"
    assert checkpoints.step_of(found) == 10


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "model").write_bytes(b"Weights"), "model: changed"),
        (lambda path: (path / "model").unlink(), "model: missing"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: FileNotFoundError"),
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json: JSONDecodeError"),
        (lambda path: (path / "manifest.json").write_text("[]"), "manifest.json: TypeError"),
        (
            lambda path: (path / "manifest.json").write_text(
                (path / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
            ),
            "manifest.json: changed",
        ),
    ],
)
def test_a_damaged_one_is_passed_over_with_its_reason_and_written_again(tmp_path, caplog, damage, reason):
    write(tmp_path, 2)
    damage(write(tmp_path, 4))
    assert checkpoints.newest(tmp_path, ARGUMENTS) == tmp_path / "step-2"
    assert f"step-4: damaged ({reason}), not used" in caplog.text
    write(tmp_path, 4, b"again")
    assert (checkpoints.newest(tmp_path, ARGUMENTS) / "model").read_bytes() == b"again"


def test_what_a_kill_left_unfinished_is_never_taken_and_removed(tmp_path):
    write(tmp_path, 2)

    def dies(path):
        (path / "model").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoints.write(tmp_path, 4, ARGUMENTS, dies)
    assert names(tmp_path) == [".unfinished-4", "step-2"]
    assert checkpoints.newest(tmp_path, ARGUMENTS) == tmp_path / "step-2"
    assert names(tmp_path) == ["step-2"]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 1}, "seed: got 1, accepted: 0; set it back to go on, or remove"),
        ({"settings": {"epochs": 4, "freeze": {2: [9, 11]}}}, "settings.epochs: got 4, accepted: 3"),
        ({"settings": {"epochs": 3, "freeze": {}}}, r"settings.freeze.2: got None, accepted: \[9, 11\]"),
        ({"corpus": "abc"}, "corpus: got 'abc', accepted: None"),
    ],
)
def test_changed_arguments_are_refused_by_name_and_the_checkpoint_stays(tmp_path, changed, message):
    path = write(tmp_path, 2)
    with pytest.raises(ValueError, match=message):
        checkpoints.newest(tmp_path, ARGUMENTS | changed)
    assert json.loads((path / "manifest.json").read_text())["step"] == 2
    assert checkpoints.newest(tmp_path, ARGUMENTS) == path
