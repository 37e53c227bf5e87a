import pandas as pd
import pytest

from results import schema, summaries
from tests.results import synthetic


@pytest.fixture(scope="module")
def gridsearch():
    return synthetic.gridsearch()


def test_layer_by_pooling_takes_the_best_classifier(gridsearch):
    cells = summaries.layer_by_pooling(gridsearch, "de")
    mine = gridsearch[(gridsearch["layers"] == "8") & (gridsearch["pooling"] == "max")]
    cell = cells[(cells["layer"] == 8) & (cells["pooling"] == "max")].iloc[0]
    assert cell["f1"] == mine["dev_f1_de"].max()
    assert cell["classifier"] == mine.loc[mine["dev_f1_de"].idxmax(), "classifier"]
    assert sorted(cells["layer"].unique()) == [6, 8, 11]
    assert cells.loc[cells["best"], "f1"].tolist() == [cells["f1"].max()]


def test_failed_candidates_do_not_count(gridsearch):
    assert len(summaries.finished(gridsearch)) == len(gridsearch) - 1


def test_main_effect_of_a_layer_compares_like_with_like(gridsearch):
    effects = summaries.main_effects(gridsearch).set_index(["factor", "level"])
    score = gridsearch.set_index("candidate_id")["dev_f1_mean"]
    pairs = [
        score[f"{with_it}-{pooling}-{classifier}"] - score[f"{without}-{pooling}-{classifier}"]
        for with_it, without in (("6+8", "8"), ("6+8+11", "8+11"))
        for pooling in schema.POOLINGS
        for classifier in ("logistic_regression", "knn")
    ]
    expected = pd.Series(pairs).dropna()
    assert effects.loc[("layer", "6"), "effect"] == pytest.approx(expected.mean())
    assert effects.loc[("layer", "6"), "n"] == len(expected)


def test_main_effects_of_poolings_find_what_was_put_in():
    rows = synthetic.gridsearch(synthetic.all_subsets(range(6, 10)), schema.CLASSIFIERS, n_errors=0)
    effects = summaries.main_effects(rows).set_index(["factor", "level"])["effect"]
    assert effects["pooling"].to_dict() == pytest.approx(synthetic.POOLING_GAIN, abs=0.004)
    assert effects["pooling"].sum() == pytest.approx(0)
    assert effects["layer"]["8"] == effects["layer"].max()


def test_no_effect_without_a_comparison(gridsearch):
    alone = gridsearch[gridsearch["candidate_id"] == "8-max-knn"]
    assert summaries.main_effects(alone).empty
    assert list(summaries.main_effects(alone).columns) == ["factor", "level", "effect", "low", "high", "n"]


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
