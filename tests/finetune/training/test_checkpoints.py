"""Checkpoints are whole or absent; the newest that verifies is taken, of the same training only."""

import hashlib
import json

import pytest
import torch

from mcbert.finetune.training import checkpoints

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


def linked(path):
    """Put a link in the place of a file or folder, which leads to it."""
    path.rename(path.parent.parent / f"moved-{path.name}")
    path.symlink_to(path.parent.parent / f"moved-{path.name}")


def signed(path, **values):
    """Change a manifest as who knows how its digest is made."""
    record = json.loads((path / "manifest.json").read_text()) | values
    del record["digest"]
    digest = hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
    (path / "manifest.json").write_text(json.dumps(record | {"digest": digest}))


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda path: (path / "model").write_bytes(b"Weights"), "model: changed"),
        (lambda path: (path / "model").unlink(), "model: missing"),
        (lambda path: (path / "manifest.json").unlink(), "manifest.json: No such file or directory"),
        (lambda path: (path / "manifest.json").write_text("{"), "manifest.json: JSONDecodeError"),
        (lambda path: (path / "manifest.json").write_text("[]"), "manifest.json: TypeError"),
        (lambda path: (path / "manifest.json").write_text("[" * 100_000), "manifest.json: ValueError"),
        (lambda path: linked(path / "manifest.json"), "manifest.json: it is a link, which is not followed"),
        (lambda path: linked(path / "model"), "model: it is a link, which is not followed"),
        (linked, "a link, which is not followed"),
        (lambda path: (path / "more").symlink_to("/dev/zero"), "more: it is a link, which is not followed"),
        (lambda path: signed(path, files=3), "manifest.json: not of a checkpoint"),
        (lambda path: signed(path, files={"../step-2/model": "x"}), "manifest.json: not of a checkpoint"),
        (lambda path: signed(path, files={"model": 3}), "manifest.json: not of a checkpoint"),
        (lambda path: signed(path, arguments=[]), "manifest.json: not of a checkpoint"),
        (
            lambda path: (path / "manifest.json").write_text(
                (path / "manifest.json").read_text().replace('"seed": 0', '"seed": 1')
            ),
            "manifest.json: changed",
        ),
    ],
)
def test_a_damaged_one_is_passed_over_with_its_reason_and_written_again(tmp_path, caplog, damage, reason):
    folder = tmp_path / "run/mcbert-0"
    write(folder, 2)
    damage(write(folder, 4))
    assert checkpoints.newest(folder, ARGUMENTS) == folder / "step-2"
    assert f"step-4: damaged ({reason}), not used" in caplog.text
    if (folder / "step-4").is_symlink():
        (folder / "step-4").unlink()
    write(folder, 4, b"again")
    assert (checkpoints.newest(folder, ARGUMENTS) / "model").read_bytes() == b"again"


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
        ({"seed": 1}, "seed: got 1, accepted: 0; set it back to resume, or remove"),
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


STATE = {"callback": {}, "schedule": {}, "groups": [], "random": [], "scaler": None}


def test_the_state_is_read_as_it_was_written(tmp_path):
    (tmp_path / "state.json").write_text(json.dumps(STATE))
    assert checkpoints.read_state(tmp_path / "state.json") == STATE


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("{", "Expecting property name"),
        ("[" * 100_000, "nested too deeply"),
        (json.dumps(STATE | {"groups": {}}), "'groups' is {}"),
        (json.dumps(STATE | {"scaler": 3}), "'scaler' is 3"),
        ('{"callback": {}}', "'schedule' is missing"),
    ],
)
def test_a_state_that_is_none_is_one_line(tmp_path, content, said):
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(ValueError, match=f"state.json: damaged .*{said}.*; remove {tmp_path} to") as caught:
        checkpoints.read_state(tmp_path / "state.json")
    assert "\n" not in str(caught.value)


def test_what_does_not_fit_the_training_is_one_line(tmp_path):
    said = r"not a checkpoint of this training \(KeyError: 'x'\); remove"
    with pytest.raises(ValueError, match=said), checkpoints.restoring(tmp_path):
        raise KeyError("x")
    (tmp_path / "state.json").touch()
    with pytest.raises(ValueError, match="state.json: damaged"), checkpoints.restoring(tmp_path):
        checkpoints.read_state(tmp_path / "state.json")
    with pytest.raises(torch.OutOfMemoryError), checkpoints.restoring(tmp_path):
        raise torch.OutOfMemoryError
