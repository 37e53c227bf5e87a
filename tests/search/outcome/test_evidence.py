"""The files that set a search's choice against chance, from a whole small search on disk."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import accuracy_score, f1_score

from mcbert.results import csv_files
from mcbert.results.schema.search import EFFECTS, GRIDSEARCH, PROTOCOL_CHOICES, SCORES, TOP
from mcbert.results.summaries import standings, told
from mcbert.search import data
from mcbert.search.data import Examples
from mcbert.search.gridsearch import gridsearch
from mcbert.search.outcome.comparisons import effects
from mcbert.search.outcome.intervals import Sample, intervals
from mcbert.search.outcome.predictions import Predictions
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs
from mcbert.search.space import Space

SETTINGS = GridsearchSettings(
    layers=(1, 2, 3),
    poolings=("max", "cls"),
    classifiers=("ridge", "knn"),
    protocol="target-dev",
    ensemble=0,
    top=4,
)
STRONG = {"n_train": 200, "hidden_size": 24, "n_eval": 60}  # enough to learn well from
EVIDENCE = (SCORES, TOP, EFFECTS, PROTOCOL_CHOICES)
FILES = [name for table in EVIDENCE for name in table.file_names]


@pytest.fixture
def search(make_search, serial, stamp):
    def run(settings=SETTINGS, relabel=None, **sizes):
        made = make_search(name=f"made{len(sizes)}{relabel is not None}", **sizes)
        if relabel is not None:
            known = Examples.read(made.examples)
            y, split, language = relabel(known)
            fields = {"labels": known.labels, "source_language": "en", "ids": known.ids.tolist()}
            data.write_examples(made.examples, y, language=language.tolist(), split=split.tolist(), **fields)
        out = made.store.parent / "out"
        out.mkdir()
        gridsearch(
            settings, Inputs(store=made.store, examples=made.examples), out=out, execute=serial, stamp=stamp
        )
        return out

    return run


@pytest.fixture
def read():
    return lambda out, table: csv_files.read_with_sums(table, out / table.file_name)


def test_scores_are_scikit_learns_on_the_stored_predictions(search, read):
    out = search(n_classes=4)
    scores = read(out, SCORES)
    predictions = Predictions.load(out / "predictions.npz")
    assert len(scores) == len(predictions.candidates) * 2 * (3 + 1)
    by_key = scores.set_index(["rank", "split", "language"])
    codes = range(len(predictions.labels))
    for at in range(len(predictions.candidates)):
        for split, language in (("dev", "en"), ("test", "de")):
            rows = (predictions.split == split) & (predictions.language == language)
            y, predicted = predictions.y[rows], predictions.codes[at, predictions.text[rows]]
            row = by_key.loc[(at + 1, split, language)]
            assert row["f1_micro"] == accuracy_score(y, predicted)
            macro = f1_score(y, predicted, average="macro", labels=codes, zero_division=0)
            assert row["f1_macro"] == pytest.approx(macro)
    wide = read(out, GRIDSEARCH).set_index("candidate_id")
    for _, row in wide.iterrows():
        assert by_key.loc[(row["rank"], "test", "mean"), "f1_micro"] == row["test_f1_micro_mean"]
        assert by_key.loc[(row["rank"], "dev", "zh"), "f1_micro"] == row["dev_f1_micro_zh"]
    assert by_key.loc[(1, "dev", "mean"), "n_texts"] == 30


def test_everything_can_be_computed_again_from_the_files(search, read):
    out = search()
    predictions, wide = Predictions.load(out / "predictions.npz"), read(out, GRIDSEARCH)
    assert list(predictions.candidates) == wide["candidate_id"].tolist()
    by_id = {candidate.id: candidate for candidate in Space(SETTINGS)}
    found = effects([by_id[name] for name in predictions.candidates])
    sample = Sample.of(predictions, "test")
    sizes = read(out, EFFECTS).set_index(["factor", "level", "split", "language"])
    again = intervals(sample, np.stack([effect.weights for effect in found]))
    for effect, by_language in zip(found, again, strict=True):
        row = sizes.loc[(effect.factor, effect.level, "test", "mean")]
        interval = by_language["mean"]
        assert (row["effect"], row["effect_low"], row["effect_high"]) == pytest.approx(
            (interval.difference, interval.low, interval.high)
        )
        assert row["effect"] == pytest.approx(effect.weights @ wide["test_f1_micro_mean"].to_numpy())


def test_top_and_protocols_agree_with_the_table(search, read):
    out = search()
    wide = read(out, GRIDSEARCH).set_index("candidate_id")
    top = read(out, TOP)
    assert sorted(top["rank"].unique()) == [1, 2, 3, 4]
    for row in top.to_dict("records"):
        column = f"{row['split']}_f1_micro_{row['language']}"
        assert row["score"] == pytest.approx(wide.loc[row["candidate_id"], column])
        assert row["score_low"] <= row["score"] <= row["score_high"]
        winner = wide[wide["rank"] == 1].iloc[0]
        assert row["versus_winner"] == pytest.approx(row["score"] - winner[column])
    choices = read(out, PROTOCOL_CHOICES)
    by_protocol = json.loads((out / "winner.json").read_text())["by_protocol"]
    assert set(choices["protocol"]) == {"source-dev", "target-dev", "last", "random"}
    assert set(choices.loc[choices["used"], "protocol"]) == {"target-dev"}
    for row in choices[choices["protocol"] != "random"].to_dict("records"):
        assert row["candidate_id"] == by_protocol[row["protocol"]]["candidate_id"]
        column = f"{row['split']}_f1_micro_{row['language']}"
        assert row["score"] == pytest.approx(wide.loc[row["candidate_id"], column])
    random = choices[(choices["protocol"] == "random") & (choices["language"] == "mean")].set_index("split")
    assert random.loc["test", "score"] == pytest.approx(wide["test_f1_micro_mean"].mean())


def permuted(known):
    y = known.y.copy()
    test = known.split == "test"
    y[test] = np.random.default_rng(1).permutation(y[test])
    return y, known.split, known.language


def test_test_labels_choose_nothing(search, read):
    plain, other = search(), search(relabel=permuted)
    one, two = read(plain, GRIDSEARCH), read(other, GRIDSEARCH)
    assert not np.allclose(one["test_f1_micro_mean"], two["test_f1_micro_mean"])
    chosen = ["rank", "candidate_id", "score", "dev_f1_micro_mean"]
    pd.testing.assert_frame_equal(one[chosen], two[chosen])
    for table, keys in (
        (TOP, ["candidate_id", "rank"]),
        (PROTOCOL_CHOICES, ["protocol", "used"]),
    ):
        before, after = read(plain, table), read(other, table)
        assert not before[before["split"] == "test"].equals(after[after["split"] == "test"])
        kept = [*keys, "candidate_id", "split", "language"]
        pd.testing.assert_frame_equal(before[kept], after[kept])
    winners = [json.loads((out / "winner.json").read_text()) for out in (plain, other)]
    picks = [{name: c and c["candidate_id"] for name, c in w["by_protocol"].items()} for w in winners]
    assert picks[0] == picks[1]
    assert winners[0]["candidate_id"] == winners[1]["candidate_id"]


def without(split):
    def relabel(known):
        changed = np.where(known.split == split, data.SKIPPED, known.split)
        return known.y, changed, known.language

    return relabel


def test_without_test_texts_the_tables_hold_dev_rows(search, read):
    out = search(relabel=without("test"))
    assert csv_files.validate(out) == []
    for table in (SCORES, TOP, EFFECTS, PROTOCOL_CHOICES):
        assert set(read(out, table)["split"]) == {"dev"}


def test_without_dev_texts_only_last_has_chosen(search, read):
    settings = GridsearchSettings(layers=(1, 2), poolings=("max",), classifiers=("ridge",), protocol="last")
    out = search(settings, relabel=without("dev"))
    assert csv_files.validate(out) == []
    choices = read(out, PROTOCOL_CHOICES)
    assert set(choices["protocol"]) == {"last", "random"}
    assert choices["versus_oracle"].isna().all()
    assert set(read(out, TOP)["split"]) == {"test"}


def test_a_single_candidate_has_no_effects_and_an_old_table_goes(search, read, make_search, serial, stamp):
    settings = GridsearchSettings(layers=(1,), poolings=("max",), classifiers=("ridge",))
    made = make_search(name="single")
    out = made.store.parent
    for name in EFFECTS.file_names:
        (out / name).write_text("of an earlier search\n")
    gridsearch(
        settings, Inputs(store=made.store, examples=made.examples), out=out, execute=serial, stamp=stamp
    )
    assert not any((out / name).exists() for name in EFFECTS.file_names)
    assert set(read(out, TOP)["rank"]) == {1}
    assert read(out, TOP)["standing"].eq("winner").all()


def test_an_alarm_where_a_language_is_near_chance_and_the_source_is_fine(search, caplog):
    def scramble(known):
        y = known.y.copy()
        zh = known.language == "zh"
        y[zh] = (y[zh] + 1) % 3  # every right answer is wrong now
        return y, known.split, known.language

    search(replace(SETTINGS, protocol="source-dev"), relabel=scramble, **STRONG)
    alarms = [r.getMessage() for r in caplog.records if "near chance" in r.getMessage()]
    assert any("zh is near chance though the source language is fine: the winner's test" in a for a in alarms)
    assert not any("en is near chance" in alarm or "de is near chance" in alarm for alarm in alarms)


def test_no_alarm_where_all_is_fine(search, caplog):
    search(**STRONG)
    assert "near chance" not in caplog.text


def test_the_files_are_the_same_bytes_whatever_the_order_of_the_tasks(make_search, serial, stamp, tmp_path):
    made = make_search(name="same")

    def backwards(function, tasks):
        return serial(function, list(tasks)[::-1])

    for name, execute in (("a", serial), ("b", backwards)):
        (tmp_path / name).mkdir()
        where = {"inputs": Inputs(store=made.store, examples=made.examples), "out": tmp_path / name}
        gridsearch(SETTINGS, **where, execute=execute, stamp=stamp)
    for file in (*FILES, "predictions.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_the_log_counts_who_is_better_tied_and_worse(search, caplog):
    caplog.set_level("INFO")
    out = search()
    rows = csv_files.read_with_sums(TOP, out / "top.csv").query("language == 'mean' and rank > 1")
    n = rows["candidate_id"].nunique()
    said = "; ".join(f"on {split} {told(standings(part))}" for split, part in rows.groupby("split"))
    for part in rows.groupby("split"):
        assert sum(standings(part[1]).values()) == n
    assert f"gridsearch: the next {n} beside the winner: {said}" in caplog.text
