"""The search over settings: what it writes, that it goes on where it was, that test labels take no part."""

import json

import numpy as np
import pandas as pd
import pytest

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder import hardware
from mcbert.finetune.jobs import Inputs, JobError
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.settings import TuneSettings
from mcbert.finetune.tune.tune import key_of, require_row, run_training, search_settings
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.results import csv_files
from mcbert.results.schema.tune import TUNE

STAMP = {
    "run": "r",
    "config_digest": "abc",
    "encoder": "tiny",
    "versions": "mcbert 0",
    "transfer": "zero-shot",
}
BASE = FinetuneSettings(epochs=1, batch_size=8, learning_rate=1e-3, max_length=32, systems=("mcbert",))
VALUES = {"learning_rate": (1e-3, 2e-2), "freeze": ({}, {"0": (0, 1)})}


class Serial:
    """An executor that counts, and fails or stops where told."""

    def __init__(self, failing=lambda job: False, stop_after=None):
        self.ran, self.failing, self.stop_after = [], failing, stop_after

    def __call__(self, function, jobs):
        for job in jobs:
            if self.stop_after == len(self.ran):
                raise KeyboardInterrupt
            self.ran.append(job)
            yield (job, None, "out of memory") if self.failing(job) else (job, self.work(function, job), None)

    def work(self, function, job):
        return function(job)


class Made(Serial):
    """One that makes up what a training measures, the same for the same training."""

    def work(self, function, job):
        dev = pd.read_csv(job.corpus).query("split == 'dev'")
        right = np.random.default_rng(int(key_of(job), 16)).integers(0, 2, len(dev))
        accuracy = pd.Series(right).groupby(dev["language"].to_numpy()).mean()
        return {
            "status": "ok", "message": "", "accuracy": accuracy.to_dict(), "right": "".join(map(str, right)),
            "agreement": float(right.mean()) - 2, "epoch": 1, "step": 3, "seconds": 1.5,
        }  # fmt: skip


@pytest.fixture
def run(encoder, corpus, winner, tmp_path):
    def run(execute=None, *, texts=corpus, out="out", base=BASE, stamp=STAMP, **given):
        tune = TuneSettings(**({"values": VALUES, "seeds": (0, 1), "protocol": "target-dev"} | given))
        (tmp_path / out).mkdir(exist_ok=True)
        inputs = Inputs(corpus=texts, source_language="en", winner=None, encoder=encoder, out=tmp_path / out)
        search_settings(
            tune, base, inputs, winner_of=lambda _: winner, execute=execute or Made(), stamp=stamp
        )
        return csv_files.read_with_sums(TUNE, tmp_path / out / "tune.csv")

    return run


def test_every_trial_and_language_has_its_row_ranked_by_the_mean_over_targets(run, tmp_path):
    execute = Made()
    table = run(execute)
    assert len(execute.ran) == 4 * 2
    assert not any(job.save_model for job in execute.ran)
    assert sorted(zip(table["trial"], table["language"], strict=True)) == [
        (trial, language) for trial in range(4) for language in ("de", "en", "mean", "zh")
    ]
    wide = table.pivot(index="trial", columns="language", values="accuracy")
    assert wide["mean"].to_numpy() == pytest.approx(((wide["de"] + wide["zh"]) / 2).to_numpy())
    means = table[table["language"] == "mean"].set_index("trial").sort_index()
    best = means.sort_values("rank")
    assert best["accuracy"].is_monotonic_decreasing
    assert best["rank"].tolist() == [1, 2, 3, 4]
    assert means["changes"].map(json.loads).tolist() == [
        {}, {"freeze": {"0": [0, 1]}}, {"learning_rate": 0.02},
        {"learning_rate": 0.02, "freeze": {"0": [0, 1]}},
    ]  # fmt: skip
    assert means["system"].tolist() == ["mcbert", "mcbert_wf", "mcbert", "mcbert_wf"]
    assert set(table["layers"]) == {"1+3"}
    assert set(table["n_seeds"]) == {2}
    first = means.loc[0]
    assert np.isnan(first["versus_default"])
    for trial in (1, 2, 3):
        row = means.loc[trial]
        assert row["versus_default"] == pytest.approx(row["accuracy"] - first["accuracy"])
        assert row["versus_default_low"] <= row["versus_default"] <= row["versus_default_high"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "run.json", "tune.csv", "tune.jsonl", "tune_overall.csv"
    ]  # fmt: skip


def test_the_figures_are_those_of_the_trainings(run, make_job):
    table = run(Serial(), values={"epochs": (2,)}, seeds=(0,))
    found = run_training(make_job(epochs=1, weight_decay=0.01, max_length=32))
    rows = table[table["trial"] == 0].set_index("language")
    assert rows.loc["en", "accuracy"] == found["accuracy"]["en"]
    assert rows.loc["zh", "accuracy"] == found["accuracy"]["zh"]
    assert set(table["precision"]) == {found["precision"]} == {"float32"}
    assert len(found["right"]) == 3 * 6
    share = np.mean([int(one) for one in found["right"]])
    assert share == pytest.approx(np.mean(list(found["accuracy"].values())))


def test_trials_are_ranked_on_all_of_dev_when_a_sample_watches_them(make_job):
    """Under `last` the weights are the same, so their scores on all of dev are."""
    sampled, whole = (run_training(make_job(eval_texts=n, learning_rate=1e-2)) for n in (2, 0))
    assert len(sampled["right"]) == 18
    for name in ("right", "accuracy"):
        assert sampled[name] == whole[name]


def test_a_training_in_another_precision_is_another_training(make_job, monkeypatch):
    """So that a search that goes on where `auto` chooses otherwise mixes no two."""
    job = make_job()
    with monkeypatch.context() as patched:
        patched.setattr(hardware, "NARROWEST_BFLOAT16", 1)
        patched.setattr(hardware, "has_bfloat16", lambda _: True)
        wide = key_of(job)
    monkeypatch.setattr(hardware, "has_bfloat16", lambda _: False)
    assert key_of(job) != wide


def without_seconds(table):
    return table.drop(columns="seconds")


def test_a_stopped_search_goes_on_where_it_was(run):
    whole = run(out="whole")
    with pytest.raises(KeyboardInterrupt):
        run(Made(stop_after=3))
    rest = Made()
    table = run(rest)
    assert len(rest.ran) == 5
    pd.testing.assert_frame_equal(without_seconds(table), without_seconds(whole))


def test_other_values_train_only_what_is_new(run):
    run()
    again = Made()
    run(again, protocol="source-dev", seeds=(1, 0))
    assert again.ran == []
    more = Made()
    table = run(more, values={**VALUES, "learning_rate": (1e-3, 5e-3)})
    assert {job.settings.learning_rate for job in more.ran} == {5e-3}
    assert len(more.ran) == 4
    assert table["trial"].nunique() == 4


def test_a_failed_trial_is_a_row_of_its_own_and_not_ranked(run, caplog):
    table = run(Made(failing=lambda job: job.seed == 1 and job.settings.learning_rate == 2e-2))
    failed = table[table["status"] == "error"]
    assert failed["trial"].tolist() == [2, 3]
    assert set(failed["message"]) == {"out of memory"}
    assert set(failed["language"]) == {"mean"}
    assert failed[["rank", "accuracy"]].isna().all(axis=None)
    assert set(table[table["status"] == "ok"]["rank"]) == {1, 2}
    assert "2 of 4 trials failed, first out of memory" in caplog.text


def test_refused_combinations_are_rows_too(run):
    table = run(values={"freeze": ({"0": (9,)}, {}), "layers": ((1,), (7,))})
    messages = table[table["status"] == "error"].set_index("trial")["message"]
    assert "layer 9 feeds nothing" in messages.iloc[0]
    assert messages.str.contains("finetune.layers: got 7").sum() == 2


def test_nothing_that_works_is_an_error_with_the_table_there(run, tmp_path):
    with pytest.raises(JobError, match="tune: all 4 trials failed, first out of memory"):
        run(Made(failing=lambda job: True))
    assert set(csv_files.read_with_sums(TUNE, tmp_path / "out" / "tune.csv")["status"]) == {"error"}


def test_test_labels_take_no_part(run, corpus, tmp_path):
    table = pd.read_csv(corpus, keep_default_na=False)
    test = table["split"] == "test"
    table.loc[test, "label"] = np.random.default_rng(1).permutation(table.loc[test, "label"].to_numpy())
    assert (table["label"] != pd.read_csv(corpus)["label"]).any()
    table.to_csv(tmp_path / "permuted.csv", index=False)
    values = {"freeze": ({"0": (0, 1)},)}
    permuted = run(Serial(), texts=tmp_path / "permuted.csv", out="permuted", values=values, seeds=(0,))
    straight = run(Serial(), values=values, seeds=(0,))
    pd.testing.assert_frame_equal(without_seconds(permuted), without_seconds(straight))


def test_dev_labels_do(run, corpus, tmp_path):
    table = pd.read_csv(corpus, keep_default_na=False)
    dev = table["split"] == "dev"
    table.loc[dev, "label"] = table.loc[dev, "label"].map({"cancel": "refund", "refund": "cancel"})
    table.to_csv(tmp_path / "swapped.csv", index=False)
    given = {"values": {"epochs": (2,)}, "seeds": (0,)}
    swapped = run(Serial(), texts=tmp_path / "swapped.csv", out="swapped", **given)
    straight = run(Serial(), values={"epochs": (2,)}, seeds=(0,))
    both = [t.sort_values(["trial", "language"])["accuracy"].to_numpy() for t in (swapped, straight)]
    assert both[0] == pytest.approx(1 - both[1])


def test_another_corpus_in_the_same_folder_is_refused(run, corpus, tmp_path):
    run(values={"epochs": (2,)}, seeds=(0,))
    table = pd.read_csv(corpus, keep_default_na=False)
    table.iloc[:-3].to_csv(tmp_path / "other.csv", index=False)
    with pytest.raises(ValueError, match=r"tune\.jsonl: holds another search: corpus was"):
        run(texts=tmp_path / "other.csv")


def test_target_dev_needs_dev_texts_of_each_target_language(run, corpus, tmp_path):
    table = pd.read_csv(corpus, keep_default_na=False)
    table[(table["split"] != "dev") | (table["language"] != "zh")].to_csv(tmp_path / "x.csv", index=False)
    with pytest.raises(ValueError, match=r"tune\.protocol: got target-dev, .* no dev rows of 'zh'"):
        run(texts=tmp_path / "x.csv")
    table[table["language"] == "en"].to_csv(tmp_path / "en.csv", index=False)
    with pytest.raises(ValueError, match=r"tune\.protocol: got target-dev, .* the source language only"):
        run(texts=tmp_path / "en.csv")
    assert set(run(texts=tmp_path / "en.csv", protocol="source-dev", out="en")["language"]) == {"en"}


def test_agreement_needs_translated_dev_texts(run, corpus, tmp_path):
    texts = pd.read_csv(corpus, dtype=str, keep_default_na=False)
    texts.assign(id=[f"t{k}" for k in range(len(texts))]).to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(ValueError, match=r"tune\.protocol: got agreement, .*gridsearch\.parallel names no"):
        run(texts=tmp_path / "own.csv", protocol="agreement")


def test_what_saw_most_is_stamped(run):
    table = run(values={"epochs": (2,)}, seeds=(0,), protocol="source-dev")
    assert set(table["ranked_by"]) == {"source-dev"}
    assert set(table["protocol"]) == {"target-dev"}  # the winner's layers are
    baseline = run(values={"epochs": (2,)}, seeds=(0,), protocol="source-dev", system="baseline")
    assert set(baseline["protocol"]) == {"source-dev"}
    assert set(baseline["system"]) == {"baseline"}
    assert set(baseline["layers"]) == {""}


@pytest.mark.slow
def test_a_cluster_s_workers_train_what_this_process_would(run):
    values = {"values": {"learning_rate": (2e-2,)}, "seeds": (0,)}
    here = run(Serial(), out="here", **values)
    there = run(executor(ClusterSettings(backend="dask", workers=1)), out="there", **values)
    pd.testing.assert_frame_equal(here.drop(columns="seconds"), there.drop(columns="seconds"))


ROW = {"training": "a", "status": "ok", "message": "", "accuracy": {"en": 0.5, "de": 1}, "right": "01",
       "agreement": -0.25, "epoch": 1.0, "step": 3, "seconds": 2.5}  # fmt: skip


@pytest.fixture(scope="module")
def labelled():
    rows = [(f"{label}{k}", f"{label} {k}", label, "en", "train") for label in "xy" for k in range(2)]
    rows += [("3", "c", "x", "en", "dev"), ("4", "d", "y", "de", "dev")]
    frame = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"]).assign(text_pair="")
    return Corpus.of(frame, "en", "texts.csv")


def test_rows_of_trainings_are_taken(labelled):
    require_row(ROW, labelled)
    require_row({"status": "error", "message": "no luck", "right": "", "seconds": 0.0}, labelled)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("status", "done"), ("right", "0"), ("right", "012"), ("right", "0x"), ("right", 3), ("right", None),
        ("accuracy", {"fr": 1.0}), ("accuracy", {"en": "1"}), ("accuracy", {"en": float("nan")}),
        ("accuracy", {"en": True}), ("accuracy", {"en": -1}), ("accuracy", {"en": 10**400}),
        ("agreement", "1"), ("agreement", float("nan")), ("seconds", None), ("seconds", -1), ("seconds", [1]),
    ],
)  # fmt: skip
def test_other_rows_are_refused_by_the_field(labelled, field, value):
    with pytest.raises(ValueError, match=field):
        require_row(ROW | {field: value}, labelled)
