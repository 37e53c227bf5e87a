import dataclasses
import json
import logging
import re

import numpy as np
import pandas as pd
import pytest
import torch

from mcbert.features.spec import FeatureSpec
from mcbert.finetune.export.saved import load_model
from mcbert.finetune.jobs import Inputs, JobError
from mcbert.finetune.predict import label_texts
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.stage import casing, finetune, plan
from mcbert.finetune.systems import train_system
from mcbert.finetune.winner import Architecture
from mcbert.pipeline.cluster import serial
from mcbert.results import csv_files
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1

STAMP = {
    "run": "r",
    "config_digest": "abc",
    "encoder": "tiny",
    "versions": "mcbert 0",
    "transfer": "zero-shot",
}
FAST = FinetuneSettings(
    seeds=(0, 1), epochs=2, batch_size=8, learning_rate=1e-3, max_length=32, freeze={1: (3,)}
)


class Serial:
    """An executor that notes what it ran and fails where told."""

    def __init__(self, failing=()):
        self.ran, self.failing = [], failing

    def __call__(self, function, jobs):
        for job in jobs:
            self.ran.append(job.name)
            if job.name in self.failing:
                yield job, None, "out of memory"
            else:
                yield job, function(job), None


@pytest.fixture
def run(encoder, corpus, winner, tmp_path):
    def run(settings=FAST, execute=None, stamp=STAMP, track=None, **changed):
        given = {"corpus": corpus, "source_language": "en", "winner": winner, "encoder": encoder} | changed
        inputs = Inputs(out=tmp_path / "out", **given)
        shown = {} if track is None else {"track": track}
        finetune(settings, inputs, execute=execute or Serial(), stamp=stamp, **shown)
        return tmp_path / "out"

    return run


def test_untouched_settings_train_what_needs_no_layers_to_freeze(run, caplog):
    caplog.set_level(logging.INFO, logger="mcbert.finetune.stage")
    out = run(dataclasses.replace(FAST, freeze={}, epochs=1, seeds=(0,)))
    assert set(csv_files.read(FINETUNE, out / "finetune.csv")["system"]) == {"baseline", "mcbert"}
    assert [m for m in caplog.messages if m.startswith("finetune: mcbert_wf is left out: finetune.freeze")]


def test_every_system_and_seed_is_in_the_tables(run):
    out = run()
    curves = csv_files.read(FINETUNE, out / "finetune.csv")
    assert set(zip(curves["system"], curves["seed"], strict=True)) == {
        (system, seed) for system in ("baseline", "mcbert", "mcbert_wf") for seed in (0, 1)
    }
    assert len(curves) == 6 * (3 * 3 + 3)
    assert set(curves["config_digest"]) == {"abc"}
    events = csv_files.read(FREEZING, out / "freezing.csv")
    assert list(zip(events["system"], events["seed"], events["layers"], strict=True)) == [
        ("mcbert_wf", 0, "3"), ("mcbert_wf", 1, "3"),
    ]  # fmt: skip
    assert not (out / "checkpoints").exists()
    predictions = csv_files.read(PREDICTIONS, out / "predictions_finetune.csv")
    assert len(predictions) == 6 * 3 * 12
    table = csv_files.read_with_sums(TABLE1, out / "table1.csv")
    assert set(table["system"]) == {"baseline", "mcbert", "mcbert_wf"}
    for told in (table, predictions):
        assert told.groupby("system")["protocol"].unique().map(list).to_dict() == {
            "baseline": ["last"],
            "mcbert": ["target-dev"],
            "mcbert_wf": ["target-dev"],
        }
    assert set(table["casing"]) == {"uncased"}
    right = predictions.query("system == 'mcbert' and split == 'test' and language == 'de'")
    cell = table.query("system == 'mcbert' and language == 'de'").iloc[0]
    assert cell["accuracy"] == pytest.approx((right["label"] == right["predicted"]).mean())
    assert sorted(p.name for p in (out / "models").iterdir()) == ["baseline", "mcbert", "mcbert_wf"]
    assert sorted(p.name for p in (out / "tensorboard").iterdir())[:2] == ["baseline-0", "baseline-1"]
    assert not any((out / "checkpoints").glob("*"))


def test_predictions_are_what_predict_says_of_the_same_texts(run, corpus):
    out = run()
    predictions = csv_files.read(PREDICTIONS, out / "predictions_finetune.csv")
    texts = csv_files.read(TEXTS, corpus).set_index("id")
    assert predictions["text"].tolist() == texts.loc[predictions["id"], "text"].tolist()
    assert predictions["probability"].between(1 / len(set(texts["label"])) - 1e-6, 1).all()
    for system, rows in predictions[predictions["seed"] == 0].groupby("system"):
        pairs = list(zip(rows["text"], rows["text_pair"], strict=True))
        said, _ = label_texts(load_model(str(out / "models" / str(system))), pairs)
        assert said["label"].tolist() == rows["predicted"].tolist()
        np.testing.assert_allclose(said["probability"], rows["probability"], atol=1e-4)


def test_results_of_trainings_before_probabilities_still_make_the_tables(run):
    settings = dataclasses.replace(FAST, systems=("baseline",), seeds=(0,), freeze={})
    out = run(settings)
    (path,) = (out / "jobs").iterdir()
    job = json.loads(path.read_text(encoding="utf-8"))
    for row in job["predictions"]:
        del row["probability"]
    path.write_text(json.dumps(job), encoding="utf-8")
    run(settings)
    predictions = csv_files.read(PREDICTIONS, out / "predictions_finetune.csv")
    assert predictions["probability"].isna().all()
    assert (predictions["text"] != "").all()


def test_the_probe_of_phase_one_joins_table_1(run, tmp_path):
    settings = dataclasses.replace(FAST, systems=("baseline",), seeds=(0,), freeze={})
    out = run(settings)
    mine = csv_files.read(PREDICTIONS, out / "predictions_finetune.csv")
    csv_files.write(
        PREDICTIONS, mine.assign(system="probe", predicted=mine["label"]), out / "predictions_gridsearch.csv"
    )
    run(settings)
    table = csv_files.read_with_sums(TABLE1, out / "table1.csv").query("system == 'probe'")
    assert set(table["protocol"]) == {"target-dev"}  # the winner's own
    assert (table["accuracy"] == 1.0).all()


def test_no_event_gives_an_empty_table_with_its_header(run):
    out = run(dataclasses.replace(FAST, systems=("mcbert",), seeds=(0,), freeze={}))
    assert (
        (out / "freezing.csv")
        .read_text(encoding="utf-8")
        .startswith("system,seed,epoch,step,layers,reason,protocol")
    )
    assert len(csv_files.read(FREEZING, out / "freezing.csv")) == 0


def test_a_failed_job_is_named_and_the_rest_is_kept_for_the_next_run(run, tmp_path):
    with pytest.raises(JobError, match=r"1 of 6 trainings failed, first mcbert-1: out of memory"):
        run(execute=Serial(failing=("mcbert-1",)))
    assert not (tmp_path / "out" / "finetune.csv").exists()
    again = Serial()
    out = run(execute=again)
    assert again.ran == ["mcbert-1"]
    first = (out / "finetune.csv").read_bytes()
    run(execute=again)
    assert again.ran == ["mcbert-1"]
    assert (out / "finetune.csv").read_bytes() == first


def test_results_of_another_configuration_are_refused_and_kept(run, tmp_path):
    settings = dataclasses.replace(FAST, systems=("baseline",), seeds=(0,), freeze={})
    out = run(settings)
    before = (out / "finetune.csv").read_bytes()
    with pytest.raises(ValueError, match=r"baseline-0\.json: .* abc, accepted: xyz"):
        run(settings, stamp=STAMP | {"config_digest": "xyz"})
    assert (out / "finetune.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"freeze": {}, "systems": ("mcbert_wf",)}, r"freeze: got nothing, but finetune\.systems"),
        ({"freeze": {1: (4,)}}, r"epoch 1: layer 4 feeds nothing, the deepest layer used is 3"),
        ({"freeze": {1: (4,)}, "ignore_unused_frozen": True}, "every layer is deeper than 3"),
        ({"layers": (5,)}, r"finetune\.layers: got 5; accepted: 0 \(embeddings\) to 4"),
        ({"max_length": 33}, r"finetune\.max_length: got 33, accepted: at most 32"),
    ],
)
def test_settings_that_do_not_fit_are_errors_before_any_training(run, changes, message):
    execute = Serial()
    with pytest.raises(ValueError, match=message):
        run(dataclasses.replace(FAST, **changes), execute=execute)
    assert execute.ran == []


def test_unused_layers_are_left_out_when_told_so(run):
    changes = {"freeze": {1: (3, 4)}, "ignore_unused_frozen": True, "systems": ("mcbert_wf",), "seeds": (0,)}
    out = run(dataclasses.replace(FAST, **changes))
    assert list(csv_files.read(FREEZING, out / "freezing.csv")["layers"]) == ["3"]


def test_a_winner_of_other_labels(run, winner):
    content = json.loads(winner.read_text(encoding="utf-8")) | {"labels": ["refund", "cancel"]}
    winner.write_text(json.dumps(content), encoding="utf-8")
    with pytest.raises(ValueError, match=r"winner\.json: labels: got"):
        run()


def test_target_dev_needs_dev_rows_of_each_target_language(run, corpus, tmp_path):
    table = pd.read_csv(corpus, keep_default_na=False)
    path = tmp_path / "short.csv"
    settings = dataclasses.replace(FAST, protocol="target-dev")
    table[~((table["language"] == "zh") & (table["split"] == "dev"))].to_csv(path, index=False)
    with pytest.raises(ValueError, match=r"finetune\.protocol: got target-dev, .*'zh'"):
        run(settings, corpus=path)
    table[table["language"] == "en"].to_csv(path, index=False)
    with pytest.raises(ValueError, match="the source language only"):
        run(settings, corpus=path)


def test_a_corpus_without_test_rows_has_curves_but_no_table_1(run, corpus, tmp_path, caplog):
    table = pd.read_csv(corpus, keep_default_na=False)
    path = tmp_path / "short.csv"
    table[table["split"] != "test"].to_csv(path, index=False)
    out = run(dataclasses.replace(FAST, systems=("mcbert",), seeds=(0,), freeze={}), corpus=path)
    assert set(csv_files.read(FINETUNE, out / "finetune.csv")["split"]) == {"dev"}
    assert not (out / "table1.csv").exists()
    assert "no test rows" in caplog.text


def test_the_plan_is_seed_by_seed_and_only_wf_freezes(tmp_path, caplog):
    inputs = Inputs(corpus=tmp_path, source_language="en", winner=None, encoder=tmp_path, out=tmp_path)
    architecture = Architecture(features=FeatureSpec.of((1, 3), "max"), probe_protocol=None)
    jobs = plan(FAST, architecture, inputs, stamp=STAMP)
    assert [job.name for job in jobs][:4] == ["baseline-0", "mcbert-0", "mcbert_wf-0", "baseline-1"]
    assert {job.system: job.freeze for job in jobs} == {"baseline": {}, "mcbert": {}, "mcbert_wf": {1: (3,)}}
    assert {job.seed for job in jobs if job.save_model} == {0}
    with caplog.at_level(logging.INFO):
        settings = dataclasses.replace(FAST, systems=("mcbert",))
        plan(settings, architecture, inputs, stamp=STAMP)
    assert "finetune.freeze has no effect" in caplog.text


def test_progress_is_shown_over_the_jobs(run):
    seen = []

    def track(items, total, description):
        seen.append((total, description))
        return items

    run(dataclasses.replace(FAST, systems=("mcbert",), seeds=(0,), freeze={}), track=track)
    assert seen == [(1, "finetune (trainings)")]


def test_casing_is_the_tokenizers_own(encoder):
    assert casing(encoder) == "uncased"


def test_the_unit_of_work_is_what_the_executor_gets(run):
    functions = []

    def execute(function, jobs):
        functions.append(function)
        return ((job, function(job), None) for job in jobs)

    run(dataclasses.replace(FAST, systems=("mcbert",), seeds=(0,), freeze={}), execute=execute)
    assert functions == [train_system]


@pytest.mark.parametrize("watch", ["source-dev", "target-dev"])
def test_a_rule_that_watches_target_dev_stamps_everything_of_its_system_as_an_oracle(run, watch):
    """Layers and pooling are named and the last weights are taken: only the moment to freeze was chosen."""
    rule = {"freeze": {}, "freeze_rule": "plateau", "freeze_groups": ((3,),), "freeze_watch": watch}
    named = {"layers": (1, 3), "pooling": "max", "systems": ("mcbert", "mcbert_wf"), "seeds": (0,)}
    # at such a rate no score changes: the first one is not beaten
    settings = dataclasses.replace(FAST, learning_rate=1e-6, **rule, **named)
    out = run(settings, winner=None)
    events = csv_files.read(FREEZING, out / "freezing.csv")
    assert events[["system", "protocol", "epoch"]].to_numpy().tolist() == [["mcbert_wf", watch, 1]]
    assert events.loc[0, "reason"].startswith(f"plateau: {watch} 0.")
    for table in (FINETUNE, TABLE1):
        rows = csv_files.read(table, out / table.file_name)
        rows = rows[rows["system"].isin(named["systems"])]
        stamped = rows.groupby("system")["protocol"].unique().map(list).to_dict()
        assert stamped == {"mcbert": ["last"], "mcbert_wf": [watch]}
    assert f"Protocol {watch}" in (out / "models" / "mcbert_wf" / "README.md").read_text(encoding="utf-8")


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


ONE = dataclasses.replace(FAST, systems=("mcbert",), seeds=(0,), freeze={})


@pytest.fixture
def finished(run):
    """A run of one training, and what its files hold."""
    out = run(ONE)
    return out, contents(out)


def of_winner(**values):
    def change(winner, _):
        winner.write_text(json.dumps(json.loads(winner.read_text()) | values), encoding="utf-8")

    return change


def without(split, language):
    def change(_, corpus):
        table = pd.read_csv(corpus, keep_default_na=False)
        table[~((table["language"] == language) & (table["split"] == split))].to_csv(corpus, index=False)

    return change


def test_what_does_not_fit_names_given_and_accepted_and_overwrites_nothing(
    run, finished, winner, corpus, tmp_path
):
    out, before = finished
    execute, good = Serial(), winner.read_bytes()
    watching = {"freeze_rule": "plateau", "freeze_groups": ((1,),), "systems": ("mcbert_wf",)}
    for change, settings, message in (
        (of_winner(encoder="other"), {}, r"winner\.json: encoder: got 'other', accepted: 'tiny', the one"),
        (of_winner(layers=[1, 7]), {}, r"winner\.json: layers: got 7; accepted: 0 \(embeddings\) to 4"),
        (None, {"layers": (9,)}, r"finetune\.layers: got 9; accepted: 0 \(embeddings\) to 4"),
        (of_winner(labels=["refund", "cancel"]), {},
         r"winner\.json: labels: got \['refund', 'cancel'\], accepted: .* \['cancel', 'refund'\]"),
        (without("dev", "zh"), {"protocol": "target-dev"},
         r"finetune\.protocol: got target-dev, .* no dev rows of 'zh'; accepted: last, source-dev"),
        (without("dev", "zh"), watching | {"freeze_watch": "target-dev"},
         r"finetune\.freeze_watch: got target-dev, .* no dev rows of 'zh'; accepted: source-dev"),
    ):  # fmt: skip
        winner.write_bytes(good)
        copied = tmp_path / "copied.csv"
        copied.write_bytes(corpus.read_bytes())
        if change:
            change(winner, copied)
        with pytest.raises(ValueError, match=message) as caught:
            run(dataclasses.replace(ONE, seeds=(0, 1), **settings), execute=execute, corpus=copied)
        assert "\n" not in str(caught.value)
        assert execute.ran == []
        assert contents(out) == before


def failing_loss(monkeypatch, at, failure):
    """Make the loss of the `at`-th step of a training what `failure` gives."""
    original, calls = torch.nn.functional.cross_entropy, []

    def loss(*args, **kwargs):
        calls.append(1)
        found = original(*args, **kwargs)
        return failure(found) if len(calls) == at else found

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", loss)


def out_of_memory(_):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")


LEARNING = r"the training loss is nan; lower finetune\.learning_rate"
MEMORY = (
    r"out of memory; lower finetune\.max_length or finetune\.batch_size, or raise "
    r"finetune\.gradient_accumulation, which computes the same step in more parts$"
)


@pytest.mark.parametrize(
    ("failure", "said"), [(lambda loss: loss * float("nan"), LEARNING), (out_of_memory, MEMORY)]
)
def test_a_training_that_fails_keeps_finished_results_and_its_checkpoint_and_goes_on_from_it(
    run, finished, monkeypatch, failure, said
):
    out, before = finished
    two = dataclasses.replace(ONE, seeds=(0, 1))
    with monkeypatch.context() as patched:
        failing_loss(patched, 5, failure)
        with pytest.raises(JobError, match=r"1 of 1 trainings failed, first mcbert-1: ") as caught:
            run(two, execute=serial)
    where = r"finetune: step 5, texts (train\d+ ?){8}, last good checkpoint .*/mcbert-1/step-3: "
    assert re.search(where + said, str(caught.value))
    left = contents(out)
    assert {path: left[path] for path in before} == before
    (checkpoint,) = (out / "checkpoints" / "mcbert-1").iterdir()
    assert checkpoint.name == "step-3"
    kept = contents(checkpoint)
    with pytest.raises(JobError, match=r"settings\.batch_size: got 4, accepted: 8"):
        run(dataclasses.replace(two, batch_size=4), execute=serial)
    assert contents(checkpoint) == kept
    run(two, execute=serial)
    assert set(csv_files.read(FINETUNE, out / "finetune.csv")["seed"]) == {0, 1}
    assert not (out / "checkpoints").exists()
