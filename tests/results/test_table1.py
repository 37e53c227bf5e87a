from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcbert.results import csv_files, table1
from mcbert.results.predicted import accuracies, unit
from mcbert.results.schema.training import PUBLISHED, TABLE1
from tests.results import synthetic
from tests.results.bootstrap import paired_bootstrap

PROTOCOLS = {"probe": "target-dev", "baseline": "last", "mcbert": "last", "mcbert_wf": "last"}


@pytest.fixture(scope="module")
def predictions():
    return synthetic.predictions()


@pytest.fixture(scope="module")
def rows(predictions):
    return table1.build(predictions, synthetic.STAMP, protocols=PROTOCOLS)


def pick(rows, system, language):
    (row,) = rows[(rows["system"] == system) & (rows["language"] == language)].to_dict("records")
    return row


def test_accuracy_and_sd_are_over_seeds(predictions, rows):
    mine = predictions[(predictions["system"] == "mcbert") & (predictions["language"] == "ur")]
    by_seed = (mine["label"] == mine["predicted"]).groupby(mine["seed"]).mean()
    row = pick(rows, "mcbert", "ur")
    assert row["accuracy"] == pytest.approx(by_seed.mean())
    assert row["sd"] == pytest.approx(by_seed.std(ddof=1))
    assert row["n_seeds"] == 3
    assert np.isnan(pick(rows, "probe", "ur")["sd"])


def test_mean_leaves_the_source_language_out(rows):
    target = [pick(rows, "mcbert_wf", language)["accuracy"] for language in synthetic.TARGETS]
    assert pick(rows, "mcbert_wf", "mean")["accuracy"] == pytest.approx(np.mean(target))


@pytest.mark.parametrize("system", PROTOCOLS)
def test_the_accuracy_of_every_system_has_its_interval(predictions, rows, system):
    """The one that the report shows, of each language and of the mean over the targets."""
    test = predictions[predictions["split"] == "test"]
    units = [unit(name, language) for name, language in zip(test["id"], test["language"], strict=True)]
    shown = accuracies(test.assign(unit=units), "en")[system]
    assert set(shown) == {"en", *synthetic.TARGETS, "mean"}
    for language, one in shown.items():
        row = pick(rows, system, language)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx((one.low, one.high))
        assert row["accuracy_low"] <= row["accuracy"] <= row["accuracy_high"]


def test_difference_is_to_the_baseline_with_the_paired_bootstrap(predictions, rows):
    test = predictions[predictions["language"] == "de"]
    right = (test["label"] == test["predicted"]).astype(float)
    a, b = (
        right[test["system"] == system].to_numpy().reshape(-1, synthetic.N_TEST).T
        for system in ("mcbert", "baseline")
    )
    row = pick(rows, "mcbert", "de")
    assert row["versus_baseline"] == pytest.approx(
        row["accuracy"] - pick(rows, "baseline", "de")["accuracy"], abs=1e-12
    )
    interval = paired_bootstrap(a, b, n_resamples=4000, seed=9)
    assert (row["versus_baseline_low"], row["versus_baseline_high"]) == pytest.approx(
        (interval.low, interval.high), abs=0.02
    )


def test_translations_of_a_text_are_resampled_together(predictions):
    """Every language a copy of German: the mean over them is no surer than German alone."""
    german = predictions[predictions["language"] == "de"]
    copies = [
        german.assign(language=language, id=german["id"].str.removesuffix("-de") + f"-{language}")
        for language in ("de", "es", "fr", "zh")
    ]
    rows = table1.build(pd.concat(copies), synthetic.STAMP, protocols=PROTOCOLS)
    one, mean = pick(rows, "mcbert", "de"), pick(rows, "mcbert", "mean")
    assert (mean["versus_baseline_low"], mean["versus_baseline_high"]) == pytest.approx(
        (one["versus_baseline_low"], one["versus_baseline_high"])
    )


def test_the_baseline_has_no_difference_to_itself(rows):
    assert np.isnan(pick(rows, "baseline", "mean")["versus_baseline"])


@pytest.mark.parametrize("language", ["en", *synthetic.TARGETS, "mean"])
def test_what_freezing_adds_is_paired_in_every_language(predictions, rows, language):
    """As if mcbert were the baseline: the same texts are resampled."""
    names = {"mcbert": "baseline", "baseline": "mcbert"}
    swapped = predictions.assign(system=predictions["system"].replace(names))
    expected = pick(table1.build(swapped, synthetic.STAMP, protocols=PROTOCOLS), "mcbert_wf", language)
    row = pick(rows, "mcbert_wf", language)
    assert row["versus_mcbert"] == pytest.approx(row["accuracy"] - pick(rows, "mcbert", language)["accuracy"])
    for mine, theirs in (
        ("versus_mcbert", "versus_baseline"),
        ("versus_mcbert_low", "versus_baseline_low"),
        ("versus_mcbert_high", "versus_baseline_high"),
    ):
        assert row[mine] == expected[theirs]
    assert row["versus_mcbert_low"] < row["versus_mcbert"] < row["versus_mcbert_high"]
    assert row["versus_baseline_low"] < row["versus_baseline"] < row["versus_baseline_high"]
    for system in ("baseline", "mcbert"):
        own = pick(rows, system, language)
        assert np.isnan([own[f"versus_mcbert{end}"] for end in ("", "_low", "_high")]).all()


def test_without_a_baseline_nothing_is_compared(predictions):
    only = predictions[predictions["system"] != "baseline"]
    rows = table1.build(only, synthetic.STAMP, protocols=PROTOCOLS)
    assert rows["versus_baseline_low"].isna().all()
    assert not np.isnan(pick(rows, "mcbert_wf", "mean")["versus_mcbert_low"])
    assert set(rows["system"]) == {"probe", "mcbert", "mcbert_wf"}


def test_published_rows_stand_apart_with_their_source(rows):
    assert set(rows["system"]) == set(PROTOCOLS)
    rows = table1.published("en")
    row = pick(rows, "M-BERT, zero-shot", "zh")
    assert (row["accuracy"], row["casing"]) == (0.638, "uncased")
    assert row["citation"] == (
        "google-research/bert, multilingual.md, Results table, row 6; the baseline that the MC-BERT paper "
        "compares with; https://github.com/google-research/bert/blob/master/multilingual.md"
    )
    assert pick(rows, "MC-BERT-WF, zero-shot", "mean")["accuracy"] == pytest.approx(
        np.mean([0.666, 0.744, 0.718, 0.643, 0.59])
    )


def test_written_and_read_back_alike(rows, tmp_path):
    csv_files.write_with_sums(TABLE1, rows, tmp_path / "table1.csv")
    back = csv_files.read_with_sums(TABLE1, tmp_path / "table1.csv")
    assert csv_files.validate(tmp_path) == []
    parted = rows.sort_values("language", key=lambda names: names == "mean", kind="stable")
    for name in ("language", "accuracy"):
        np.testing.assert_array_equal(back[name], parted[name])


def test_published_figures_are_the_ones_of_the_sources():
    frame = table1.read_published()
    assert csv_files.validate(Path(table1.__file__).parent / "published" / "xnli.csv") == []
    assert frame["citation"].str.len().min() > 20
    assert frame.groupby("system")["language"].apply(set).map(len).eq(6).all()
    figures = frame.pivot(index="system", columns="language", values="accuracy")
    languages = ["en", "zh", "es", "de", "ar", "ur"]
    assert figures.loc["M-BERT, zero-shot", languages].tolist() == [0.814, 0.638, 0.743, 0.705, 0.621, 0.583]
    assert figures.loc["MC-BERT, zero-shot", languages].tolist() == [0.818, 0.653, 0.747, 0.706, 0.624, 0.578]
    assert figures.loc["MC-BERT-WF, zero-shot", languages].tolist() == [
        0.821,
        0.666,
        0.744,
        0.718,
        0.643,
        0.59,
    ]
    assert list(frame.columns) == [column.name for column in PUBLISHED.columns]


def test_other_texts_than_the_baselines_are_refused(predictions):
    lost = predictions.drop(predictions[predictions["system"] == "mcbert"].index[0])
    lost = lost[~((lost["system"] == "mcbert") & (lost["id"] == "t5-de"))]
    with pytest.raises(ValueError, match="mcbert and baseline .*different texts"):
        table1.build(lost, synthetic.STAMP, protocols=PROTOCOLS)
    without = lost[lost["system"] != "baseline"]
    with pytest.raises(ValueError, match="probe and mcbert .*different texts"):
        table1.build(without, synthetic.STAMP, protocols=PROTOCOLS)


def test_a_system_without_protocol_and_no_test_rows_are_refused(predictions):
    with pytest.raises(ValueError, match="protocols: no entry for 'mcbert'"):
        table1.build(predictions, synthetic.STAMP, protocols={"probe": "last", "baseline": "last"})
    with pytest.raises(ValueError, match="no row of split test"):
        table1.build(predictions.assign(split="dev"), synthetic.STAMP, protocols=PROTOCOLS)
