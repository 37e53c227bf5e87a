import dataclasses
import json
import logging
import pickle

import pandas as pd
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.encoder import hardware
from mcbert.finetune import systems
from mcbert.finetune.jobs import torch_threads
from mcbert.finetune.model import MCBertForSequenceClassification
from mcbert.finetune.rows import protocol_of
from mcbert.finetune.systems import set_up, train_system
from mcbert.finetune.training import data


def result(job):
    return json.loads(job.result.read_text(encoding="utf-8"))


def scores(job, **changed):
    """Rows without what may differ between two runs."""
    train_system(job)
    rows = pd.DataFrame(result(job)["finetune"])
    return rows.drop(columns=list(changed))


def test_a_job_travels_to_a_worker(make_job):
    job = make_job("mcbert_wf", freeze={1: (3,)})
    assert pickle.loads(pickle.dumps((train_system, job)))[1] == job


def test_class_weights_reach_the_training(make_job):
    assert set_up(make_job(), ("train", "dev")).data.weights is None
    weights = set_up(make_job(class_weight="balanced"), ("train", "dev")).data.weights
    assert weights.tolist() == [1.0, 1.0]  # as many texts of one label as of the other


def test_two_runs_are_equal(make_job, tmp_path):
    first = make_job("mcbert_wf", freeze={1: (3,)}, out=tmp_path / "a")
    second = make_job("mcbert_wf", freeze={1: (3,)}, out=tmp_path / "b")
    torch.manual_seed(99)  # whatever the process drew before
    # to the bit on any CPU: the same machine, code, batches and number of threads (finetune.threads) twice
    assert scores(first).equals(scores(second))
    assert result(first)["predictions"] == result(second)["predictions"]


def test_another_seed_is_another_training(make_job, tmp_path):
    one, two = (scores(make_job(seed=k, out=tmp_path / str(k))) for k in (0, 1))
    assert not one["loss"].equals(two["loss"])


def test_freezing_changes_nothing_before_its_event_and_something_after(make_job, tmp_path):
    plain = scores(make_job("mcbert", out=tmp_path / "a"), system=True)
    frozen = scores(make_job("mcbert_wf", freeze={2: (1, 3)}, out=tmp_path / "b"), system=True)
    dev = plain["split"] == "dev"
    until = dev & (plain["epoch"] <= 2)
    assert until.sum() == 9
    assert plain[until].equals(frozen[until])
    after = dev & (plain["epoch"] == 3)
    assert set(frozen.loc[after, "frozen_layers"]) == {"1+3"}
    assert (plain.loc[after, "loss"] != frozen.loc[after, "loss"]).all()


@pytest.mark.parametrize("system", ["baseline", "mcbert"])
def test_rows_are_dev_of_every_epoch_and_test_of_the_chosen_one(make_job, system):
    job = make_job(system, protocol="source-dev")
    rows = scores(job)
    assert list(rows.query("split == 'dev'")["epoch"]) == [e for e in range(4) for _ in range(3)]
    dev, test = rows.query("split == 'dev' and chosen"), rows.query("split == 'test'")
    assert set(test["epoch"]) == set(dev["epoch"])
    assert len(set(test["epoch"])) == 1
    assert test["chosen"].all()
    assert list(test["language"]) == ["en", "de", "zh"]
    (training,) = result(job)["trainings"]
    assert training["layers"] == ("" if system == "baseline" else "1+3")
    assert training["epoch"] == test["epoch"].iloc[0]
    assert rows.loc[rows["epoch"] == 0, "train_loss"].isna().all()


@pytest.mark.parametrize("chosen", ["float32", "bfloat16"])
def test_rows_say_what_auto_chose(make_job, monkeypatch, chosen):
    monkeypatch.setattr(hardware, "compute_dtype", lambda wanted, *_: {"auto": chosen}[wanted])
    job = make_job(epochs=1)
    train_system(job)
    (row,) = result(job)["trainings"]
    assert (row["precision"], row["epoch"]) == (chosen, 1)


def test_losses_are_written_with_the_digits_that_mean_something(make_job):
    rows = scores(make_job(epochs=1))
    for name in ("loss", "train_loss"):
        assert rows[name].round(6).equals(rows[name])


def test_it_learns_what_the_words_say(make_job):
    rows = scores(make_job(epochs=12, learning_rate=3e-3, dropout=0.0))
    english = rows.query("language == 'en' and split == 'dev'").set_index("epoch")["loss"]
    assert english[12] < 0.7 * english[0]


def test_predictions_agree_with_the_accuracies(make_job, corpus):
    job = make_job(protocol="target-dev", learning_rate=1e-2)
    rows = scores(job)
    predictions = pd.DataFrame(result(job)["predictions"])
    right = predictions.assign(right=predictions["label"] == predictions["predicted"])
    measured = right.groupby(["split", "language"])["right"].mean()
    for row in rows[rows["chosen"]].itertuples():
        assert measured[row.split, row.language] == pytest.approx(row.accuracy)
    table = Corpus.read(corpus).table
    assert list(predictions["id"]) == [
        i for s in ("dev", "test") for i in table.loc[table["split"] == s, "id"]
    ]


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_sample_of_dev_is_scored_in_training_and_all_of_it_by_the_weights_kept(
    make_job, tmp_path, precision
):
    """Under `last` no score decides anything, so that the training is the same with a sample and without."""
    sampled, whole = (
        make_job(eval_texts=n, learning_rate=1e-2, precision=precision, out=tmp_path / str(n)) for n in (2, 0)
    )
    rows, plain = scores(sampled), scores(whole)
    dev, test = rows["split"] == "dev", rows["split"] == "test"
    assert set(rows.loc[dev, "n_texts"]) == {2}
    assert set(rows.loc[dev, "sample_of"]) == {6}
    assert set(rows.loc[test, "n_texts"]) == {6}
    assert rows.loc[test, "sample_of"].isna().all()
    assert plain["sample_of"].isna().all()
    assert rows[test].drop(columns="sample_of").equals(plain[test].drop(columns="sample_of"))
    assert rows["train_loss"].equals(plain["train_loss"])
    found, expected = (pd.DataFrame(result(job)["predictions"]) for job in (sampled, whole))
    pd.testing.assert_frame_equal(found, expected, rtol=0, atol=1e-5)  # probabilities to their last digits


def test_the_epoch_kept_is_the_best_of_the_sample(make_job):
    job = make_job(eval_texts=2, protocol="target-dev", learning_rate=1e-2, epochs=4)
    rows = scores(job)
    targets = (
        rows.query("split == 'dev' and language != 'en' and epoch > 0").groupby("epoch")["accuracy"].mean()
    )
    assert set(rows.loc[rows["chosen"], "epoch"]) == {targets.idxmax()}


def test_test_texts_run_once_and_dev_texts_as_far_as_they_are_drawn(make_job, monkeypatch):
    ran = []

    def counted(compute):
        def run(model, tokenizer, tokens, **given):
            ran.append(len(tokens))
            return compute(model, tokenizer, tokens, **given)

        return run

    for module in (data, systems):
        monkeypatch.setattr(module, "compute_logits", counted(module.compute_logits))
    train_system(make_job(eval_texts=2, epochs=2))
    assert ran == [
        6,
        6,
        6,
        18,
        18,
    ]  # before training and after each epoch; then test and dev, three languages


def test_an_interrupted_training_resumes_on_the_same_sample(make_job, tmp_path, monkeypatch):
    settings = {"eval_texts": 2, "protocol": "target-dev", "learning_rate": 1e-2}
    whole = scores(make_job(out=tmp_path / "whole", **settings))
    job, calls, compute = make_job(out=tmp_path / "stopped", **settings), [], data.compute_logits

    def stop_after_epoch_1(*given, **options):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return compute(*given, **options)

    monkeypatch.setattr(data, "compute_logits", stop_after_epoch_1)
    with pytest.raises(KeyboardInterrupt):
        train_system(job)
    assert list(job.checkpoints.iterdir())
    assert scores(job).equals(whole)


def test_texts_are_tokenised_once_for_all_trainings_of_a_process(make_job, monkeypatch, tmp_path):
    systems._tokenised_once.cache_clear()
    read, tokenise = [], systems.tokenise
    monkeypatch.setattr(systems, "tokenise", lambda *given: read.append(len(given[1])) or tokenise(*given))
    for seed in (0, 1):
        for system in ("baseline", "mcbert"):
            train_system(make_job(system, seed=seed, epochs=1, out=tmp_path / f"{system}{seed}"))
    assert read == [24, 18, 18]


def test_a_saved_model_predicts_what_the_job_wrote(make_job, tmp_path, corpus):
    job = make_job(protocol="source-dev", learning_rate=1e-2)
    object.__setattr__(job, "save_model", True)
    train_system(job)
    folder = tmp_path / "models" / "mcbert"
    assert sorted(p.name for p in folder.parent.iterdir()) == ["mcbert"]
    assert (folder / "model.safetensors").is_file()
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    assert isinstance(model, MCBertForSequenceClassification)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text_of = Corpus.read(corpus).table.set_index("id")["text"]
    for row in result(job)["predictions"]:
        logits = model(**tokenizer(text_of[row["id"]], return_tensors="pt")).logits
        assert model.config.id2label[int(logits.argmax())] == row["predicted"]


def test_freeze_events_are_rows(make_job):
    job = make_job("mcbert_wf", seed=4, freeze={0: (0,), 2: (3, 1)})
    train_system(job)
    found = [
        (r["system"], r["seed"], r["epoch"], r["step"], r["layers"], r["reason"])
        for r in result(job)["freezing"]
    ]
    assert found == [
        ("mcbert_wf", 4, 0, 0, "0", "schedule: after epoch 0"),
        ("mcbert_wf", 4, 2, 6, "1+3", "schedule: after epoch 2"),
    ]


def test_nothing_but_the_results_is_left(make_job, tmp_path):
    train_system(make_job())
    assert sorted(p.name for p in tmp_path.iterdir() if p.is_dir() and any(p.iterdir())) == [
        "jobs",
        "tensorboard",
    ]
    assert [p.name for p in (tmp_path / "jobs").iterdir()] == ["mcbert-0.json"]


def test_a_job_says_so_in_one_line(make_job, caplog):
    with caplog.at_level(logging.INFO):
        train_system(make_job())
    assert len([r for r in caplog.records if r.levelno >= logging.WARNING]) == 0
    assert "finetune: mcbert-0:" in caplog.text


def test_threads_are_as_asked_inside_and_as_before_outside():
    before = torch.get_num_threads()
    with torch_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before


def test_a_job_prints_nothing_not_even_while_saving(make_job, capfd):
    job = make_job("baseline")
    object.__setattr__(job, "save_model", True)
    capfd.readouterr()
    train_system(job)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


@pytest.mark.parametrize(
    ("system", "epoch_by", "layers_by", "stamped"),
    [
        ("baseline", "last", "target-dev", "last"),
        ("mcbert", "last", "target-dev", "target-dev"),
        ("mcbert_wf", "source-dev", "last", "source-dev"),
        ("mcbert", "target-dev", "source-dev", "target-dev"),
        ("mcbert", "last", "last", "last"),
    ],
)
def test_results_are_stamped_with_the_choice_that_saw_most(make_job, system, epoch_by, layers_by, stamped):
    job = make_job(system, protocol=epoch_by)
    architecture = dataclasses.replace(job.architecture, protocol=layers_by)
    assert protocol_of(dataclasses.replace(job, architecture=architecture)) == stamped
