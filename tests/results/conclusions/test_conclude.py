import json
import math

import pandas as pd
import pytest

from mcbert.results import summaries
from mcbert.results.conclusions import conclude as conclusions
from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.conclusions.conclude import Measured, conclude, judge, overall
from mcbert.results.csv_files import read_with_sums
from mcbert.results.schema.runs import NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from mcbert.results.statistics import Interval, mean_interval
from tests.results import synthetic


def nothing(_):
    return None


def rows_of(name, tables, compare=nothing):
    frame = conclude(tables, "en", compare)
    return frame[frame["conclusion"] == CLAIMS[name].words].reset_index(drop=True)


@pytest.mark.parametrize(
    ("low", "high", "verdict", "why"),
    [
        (0.001, 0.1, SUPPORTED, "above 0"),
        (0.0, 0.1, NOT_SUPPORTED, "includes 0"),
        (-0.1, -0.001, NOT_SUPPORTED, "below 0"),
        (math.nan, math.nan, NOT_TESTED, "one value"),
    ],
)
def test_a_verdict_needs_an_interval_that_leaves_out_0(low, high, verdict, why):
    given, because = judge(Interval(0.0, low, high), "")
    assert given == verdict
    assert why in because


@pytest.mark.parametrize(
    ("low", "high", "verdict", "why"),
    [
        (-0.009, 0.02, SUPPORTED, "above -1 point"),
        (-0.011, 0.02, NOT_SUPPORTED, "includes -1 point"),
        (-0.03, -0.011, NOT_SUPPORTED, "below -1 point"),
    ],
)
def test_what_is_not_needed_may_lose_less_than_the_margin(low, high, verdict, why):
    given, because = judge(Interval(0.0, low, high), "", margin=CLAIMS["head"].margin)
    assert given == verdict
    assert why in because


def test_a_deeper_head_that_gains_nothing_does_not_help():
    tune = trials({"head_layers": 1})
    tune["tune"] = tune["tune"].assign(
        versus_default_low=-0.004, versus_default=0.0, versus_default_high=0.008
    )
    (row,) = rows_of("head", tune).to_dict("records")[1:]
    assert (row["verdict"], row["margin"]) == (SUPPORTED, 0.01)
    assert row["effect_low"] == -0.008


def test_a_conclusion_stands_where_every_comparison_made_supports_it():
    assert overall([SUPPORTED, NOT_TESTED]) == SUPPORTED
    assert overall([SUPPORTED, NOT_SUPPORTED]) == NOT_SUPPORTED
    assert overall([NOT_TESTED, NOT_TESTED]) == NOT_TESTED


def test_without_tables_nothing_is_tested_and_every_claim_is_named():
    frame = conclude({}, "en", nothing)
    assert set(frame["verdict"]) == {NOT_TESTED}
    claims = list(dict.fromkeys(zip(frame["number"], frame["conclusion"], strict=True)))
    assert claims == [(claim.number, claim.words) for claim in CLAIMS.values()]
    assert frame["why"].str.len().min() > 0


def test_the_decline_is_from_epoch_2_to_the_last_by_seed():
    finetune, _ = synthetic.finetune()
    row = (
        rows_of("epochs", {"finetune": finetune})
        .set_index("comparison")
        .loc["mcbert after epoch 2 minus after the last"]
    )
    dev = (
        finetune.query("system == 'mcbert' and language != 'en'")
        .groupby(["seed", "epoch"])["accuracy"]
        .mean()
    )
    wide = dev.unstack("epoch")
    assert row["effect"] == pytest.approx((wide[2] - wide[5]).mean())
    assert (row["effect_low"], row["effect_high"]) == pytest.approx(
        (mean_interval(wide[2] - wide[5]).low, mean_interval(wide[2] - wide[5]).high)
    )
    assert (row["n"], row["unit"], row["split"]) == (3, "seeds", "dev")


def test_freezing_flattens_what_freezing_makes_decline_less():
    finetune, _ = synthetic.finetune(epochs=9)
    row = rows_of("freezing", {"finetune": finetune}).iloc[0]
    assert row["verdict"] == SUPPORTED
    assert row["effect"] == pytest.approx(0.012 * 6 * 0.6, abs=0.01)


@pytest.mark.parametrize(("epochs", "seeds"), [(2, (0, 1)), (5, (0,))])
def test_no_later_epoch_or_a_single_seed_tests_nothing(epochs, seeds):
    finetune, _ = synthetic.finetune(epochs=epochs, seeds=seeds)
    assert set(rows_of("epochs", {"finetune": finetune})["verdict"]) == {NOT_TESTED}


def test_fine_tuned_systems_are_judged_by_table_1(run_dir):
    from mcbert.results.schema.training import TABLE1

    table1 = read_with_sums(TABLE1, run_dir / "table1.csv")
    own = table1.query("language == 'mean'").set_index("system")
    row = rows_of("tokens", {"table1": table1, "corpus": synthetic.corpus()}).iloc[0]
    assert row["effect"] == own.loc["mcbert", "versus_baseline"]
    assert (row["effect_low"], row["effect_high"], row["n"]) == (
        own.loc["mcbert", "versus_baseline_low"],
        own.loc["mcbert", "versus_baseline_high"],
        200,
    )
    frozen = rows_of("freezing", {"table1": table1}).iloc[1]
    assert frozen["effect"] == own.loc["mcbert_wf", "versus_mcbert"]
    assert frozen["n"] is pd.NA
    without = table1[table1["system"] != "mcbert_wf"]
    assert "lacks" in rows_of("freezing", {"table1": without}).iloc[1]["why"]


def test_contrasts_of_the_search_take_their_own_intervals():
    rows = synthetic.gridsearch([(6,), (8,), (6, 8, 11)], n_errors=0)
    asked = []

    def compare(weights):
        asked.extend(weights)
        return Measured(
            [Interval(at / 100, at / 100 - 0.001, at / 100) for at in range(1, len(weights) + 1)], 200
        )

    found = rows_of("max", {"gridsearch": rows}, compare)
    assert found["effect"].tolist() == [0.02, 0.03]  # the second and third asked for
    assert set(found["protocol"]) == {"last"}  # nothing was chosen
    assert rows_of("together", {"gridsearch": rows}, compare)["protocol"].tolist() == ["target-dev"]
    assert all(sum(weights.values()) == pytest.approx(0) for weights in asked)
    (middle,) = rows_of("middle", {"gridsearch": rows}, compare).to_dict("records")
    assert middle["verdict"] == NOT_TESTED
    assert "2 layers were tried alone" in middle["why"]


def test_without_test_predictions_the_search_tests_nothing():
    found = rows_of("max", {"gridsearch": synthetic.gridsearch()})
    assert found["why"].str.startswith("no test predictions of the search; tested by").all()


def trials(*changes):
    gains = [math.nan, -0.05, 0.02, 0.01]
    rows = [
        {
            "rank": at, "trial": at, "language": language, "status": "ok", "changes": json.dumps(values),
            "protocol": "source-dev", "versus_default": gains[at],
            "versus_default_low": gains[at] - 0.03, "versus_default_high": gains[at] + 0.01,
        }
        for at, values in enumerate(({}, *changes))
        for language in ("en", "mean")
    ]  # fmt: skip
    return {"tune": pd.DataFrame(rows), "corpus": synthetic.corpus()}


def test_dropout_is_judged_by_the_trial_without_it():
    row = rows_of("dropout", trials({"dropout": 0.0})).iloc[0]
    assert (row["effect"], row["effect_low"], row["effect_high"]) == pytest.approx((0.05, 0.04, 0.08))
    assert (row["verdict"], row["split"], row["n"]) == (SUPPORTED, "dev", 100)
    assert row["protocol"] == "source-dev"


@pytest.mark.parametrize("changes", [{"dropout": 0.3}, {"dropout": 0, "epochs": 2}, {"epochs": 2}])
def test_other_trials_do_not_test_dropout(changes):
    row = rows_of("dropout", trials(changes)).iloc[0]
    assert row["verdict"] == NOT_TESTED
    assert "no trial differs in dropout alone" in row["why"]


def test_the_best_deeper_head_is_compared():
    row = rows_of("head", trials({"head_layers": 2}, {"head_layers": 1})).iloc[1]
    assert row["effect"] == pytest.approx(0.05)
    assert '"head_layers": 2' in row["comparison"]


def test_the_whole_run_supports_what_was_put_into_it(run_dir):
    from mcbert.results import csv_files
    from mcbert.results.schema.runs import CONCLUSIONS

    found = csv_files.read(CONCLUSIONS, run_dir / "conclusions.csv")
    verdicts = {words: overall(part["verdict"].tolist()) for words, part in found.groupby("conclusion")}
    for name in ("tokens", "max", "dropout"):
        assert verdicts[CLAIMS[name].words] == SUPPORTED
    assert verdicts[CLAIMS["head"].words] == NOT_TESTED


def test_epoch_ends_have_the_mean_of_the_targets():
    finetune, _ = synthetic.finetune(seeds=(0,))
    ends = summaries.epoch_ends(finetune, "en")
    assert set(ends["language"]) == {*synthetic.LANGUAGES, "mean"}
    assert conclusions.FROM_EPOCH in set(ends["epoch"])
