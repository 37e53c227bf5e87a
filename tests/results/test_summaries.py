import numpy as np
import pandas as pd
import pytest

from mcbert.results import summaries
from mcbert.results.summaries import near_chance
from tests.results import synthetic


@pytest.fixture(scope="module")
def gridsearch():
    return synthetic.gridsearch()


def test_layer_by_pooling_takes_the_best_classifier(gridsearch):
    cells = summaries.layer_by_pooling(gridsearch, "de")
    mine = gridsearch[(gridsearch["layers"] == "8") & (gridsearch["pooling"] == "max")]
    cell = cells[(cells["layer"] == 8) & (cells["pooling"] == "max")].iloc[0]
    assert cell["f1"] == mine["dev_f1_micro_de"].max()
    assert cell["classifier"] == mine.loc[mine["dev_f1_micro_de"].idxmax(), "classifier"]
    assert sorted(cells["layer"].unique()) == [6, 8, 11]
    assert cells.loc[cells["best"], "f1"].tolist() == [cells["f1"].max()]


def test_failed_candidates_do_not_count(gridsearch):
    assert len(summaries.finished(gridsearch)) == len(gridsearch) - 1


def effect_table(*rows):
    columns = ["factor", "level", "split", "language", "effect", "effect_low", "effect_high"]
    return pd.DataFrame(list(rows), columns=columns)


def test_an_effect_is_more_than_chance_where_its_interval_leaves_out_0():
    table = effect_table(
        ("pooling", "max", "test", "mean", 0.02, 0.01, 0.03),
        ("pooling", "mean", "test", "mean", 0.01, -0.01, 0.03),
        ("pooling", "cls", "test", "mean", -0.03, -0.04, -0.02),
        ("pooling", "max", "test", "de", 0.03, 0.01, 0.05),
    )
    rows = summaries.effects(table, "en").set_index("level")
    assert rows["sign"].to_dict() == {"max": 1, "mean": 0, "cls": -1}
    assert set(rows["language"]) == {"mean"}


def test_without_targets_the_source_language_is_shown():
    table = effect_table(("pooling", "max", "dev", "en", 0.02, 0.01, 0.03))
    assert summaries.shown_language(table, "en") == "en"
    assert summaries.effects(table, "en")["level"].tolist() == ["max"]


def test_who_differs_from_the_winner_is_told_by_language_and_split():
    columns = ["candidate_id", "split", "language", "standing"]
    top = pd.DataFrame(
        [
            ("a", "test", "de", "tied"), ("b", "test", "de", "better"), ("b", "dev", "zh", "worse"),
            ("b", "test", "mean", "worse"), ("a", "test", "mean", "winner"), ("a", "test", "zh", "winner"),
        ],
        columns=columns,
    )  # fmt: skip
    assert summaries.differing(top, "test") == {("b", "de")}
    by_id = summaries.against_winner(top, "en")
    assert {name: row["test"]["standing"] for name, row in by_id.items()} == {"a": "winner", "b": "worse"}
    assert set(by_id["b"]) == {"test"}


def test_confusion_shares_add_up_by_true_label():
    cells = summaries.confusion_of(synthetic.confusion())
    assert cells.groupby(["language", "label"])["share"].sum().to_numpy() == pytest.approx(1)
    scores = summaries.accuracies(cells)
    assert scores.loc["en", "n_texts"] == synthetic.N_TEST
    assert 0.25 <= scores.loc["en", "majority"] < scores.loc["en", "accuracy"] <= 1


def test_a_language_with_nothing_right_scores_zero():
    cells = pd.DataFrame({"language": ["de"], "label": ["a"], "predicted": ["b"], "n": [4], "share": [1.0]})
    assert summaries.accuracies(cells).loc["de", "accuracy"] == 0


def test_training_curves_average_targets_then_seeds():
    finetune, _ = synthetic.finetune()
    curves = summaries.training_curves(finetune, "en").set_index(["system", "epoch", "language"])
    mine = finetune.query("system == 'mcbert' and epoch == 4 and language != 'en'")
    by_seed = mine.groupby("seed")["accuracy"].mean()
    row = curves.loc[("mcbert", 4, "mean")]
    assert row["accuracy"] == pytest.approx(by_seed.mean())
    assert (row["low"], row["high"]) == pytest.approx((by_seed.min(), by_seed.max()))
    assert row["n_seeds"] == 3


def test_freeze_events_of_all_seeds_are_one():
    _, events = synthetic.finetune()
    (event,) = summaries.freeze_events(events).to_dict("records")
    assert (event["epoch"], event["layers"], event["n_seeds"]) == (2, "9+11", 3)


def test_corpus_counts_sum_the_labels():
    counts = summaries.corpus_counts(synthetic.corpus(), "en")
    assert counts.loc[0, ["language", "split", "n_texts", "n_distinct"]].tolist() == ["en", "train", 720, 600]
    assert counts["language"].iloc[0] == "en"
    assert list(counts["split"][:3]) == ["train", "dev", "test"]
    assert counts.loc[0, "label: refund status"] == 180


def test_a_share_is_of_what_all_labels_have_and_of_nothing_there_is_none():
    lost = summaries.corpus_counts(synthetic.corpus(), "en").set_index(["language", "split"])[
        "marks_lost_share"
    ]
    assert lost["ar", "test"] == 0.5 * 40 / (40 + 3 * 10)
    assert lost["de", "test"] == 0.0
    assert np.isnan(lost["zh", "test"])


def test_label_shares_add_up_and_name_labels_without_texts():
    corpus = synthetic.corpus()
    corpus = corpus[~((corpus["language"] == "zh") & (corpus["label"] == "refund status"))]
    shares = summaries.label_shares(corpus, "en")
    assert shares["split"].unique().tolist() == ["train", "dev", "test"]
    assert shares["language"].iloc[0] == "en"
    assert (shares.groupby(["split", "language"])["share"].sum() - 1).abs().max() < 1e-12
    zh = shares[(shares["language"] == "zh") & (shares["split"] == "test")].set_index("label")
    assert zh["n_texts"].to_dict() == {
        name: 0 if name == "refund status" else 50 for name in synthetic.LABELS
    }


def top(*rows, rank=1):
    columns = ["split", "language", "score", "chance"]
    return pd.DataFrame(list(rows), columns=columns).assign(rank=rank)


SOURCE = ("test", "en", 0.80, 0.30)


@pytest.mark.parametrize(("score", "named"), [(0.10, True), (0.33, True), (0.331, False), (0.9, False)])
def test_within_three_points_of_the_most_frequent_label(score, named):
    found = near_chance(top(SOURCE, ("test", "ur", score, 0.30)), "en")
    assert found["language"].tolist() == (["ur"] if named else [])
    assert found["alarm"].all()


@pytest.mark.parametrize(("source", "alarm"), [(0.40, True), (0.39, False), (0.30, False)])
def test_alarm_only_where_the_source_language_is_fine(source, alarm):
    found = near_chance(top(("test", "en", source, 0.30), ("test", "ur", 0.3, 0.30)), "en")
    assert found.set_index("language").loc["ur", "alarm"] == alarm


def test_each_split_is_judged_by_its_own_source_score():
    rows = [SOURCE, ("dev", "en", 0.3, 0.3), ("dev", "ur", 0.3, 0.3), ("test", "ur", 0.3, 0.3)]
    found = near_chance(top(*rows), "en")
    assert found[found["alarm"]]["split"].tolist() == ["test"]
    assert sorted(zip(found["split"], found["language"], strict=True)) == [
        *(("dev", "en"), ("dev", "ur"), ("test", "ur"))
    ]


def test_the_mean_and_other_candidates_do_not_count():
    frame = pd.concat([top(SOURCE, ("test", "mean", 0.3, 0.3)), top(("test", "ur", 0.3, 0.3), rank=2)])
    assert near_chance(frame, "en").empty


def test_standings_are_counted_without_the_winner():
    standings = ["tied", "better", "worse", "tied", "worse"]
    rows = pd.DataFrame({"rank": range(1, 6), "standing": standings})
    assert summaries.standings(rows) == {"better": 1, "tied": 1, "worse": 2}
    assert summaries.told(summaries.standings(rows)) == "1 better, 1 tied, 2 worse"


def test_an_ensemble_is_the_winner_and_none_of_the_candidates(gridsearch):
    whole = synthetic.with_ensemble(gridsearch)
    assert summaries.finished(whole)["classifier"].iloc[0] == "ensemble"
    assert "ensemble" not in set(summaries.searched(whole)["classifier"])
    assert len(summaries.searched(whole)) == len(summaries.finished(gridsearch))
    pd.testing.assert_frame_equal(summaries.by_n_layers(whole), summaries.by_n_layers(gridsearch))
    for language in ("mean", "de"):
        pd.testing.assert_frame_equal(
            summaries.layer_by_pooling(whole, language), summaries.layer_by_pooling(gridsearch, language)
        )
    one_layer = whole.assign(n_layers=whole["n_layers"].where(whole["classifier"] != "ensemble", 1))
    assert "ensemble" not in set(summaries.layer_by_pooling(one_layer, "mean")["classifier"])
