import pandas as pd
import pytest

from mcbert.results.conclusions.contrasts import contrasts
from tests.results import synthetic

EVERY = (*synthetic.SMALL_SUBSETS, (7,), (12,))


@pytest.fixture(scope="module")
def searched():
    return synthetic.gridsearch(EVERY, ("logistic_regression", "knn"), n_errors=0)


def by_name(rows):
    found = contrasts(rows)
    return {f"{c.claim} {c.comparison.split(',')[0].split(' (')[0]}": c for c in found}


def measured(contrast, rows, column="test_f1_micro_mean"):
    scores = rows.set_index("candidate_id")[column]
    return sum(weight * scores[name] for name, weight in contrast.weights.items())


def test_poolings_are_compared_all_else_equal(searched):
    contrast = by_name(searched)["max max pooling minus cls"]
    means = searched.groupby("pooling")["test_f1_micro_mean"].mean()  # every pooling has the same others here
    assert measured(contrast, searched) == pytest.approx(means["max"] - means["cls"])
    assert "16 choices" in contrast.comparison


def test_a_candidate_without_its_partner_does_not_count(searched):
    fewer = searched.drop(searched[searched["pooling"].eq("cls") & searched["layers"].eq("8")].index)
    pairs = by_name(fewer)["max max pooling minus cls"]
    assert "14 choices" in pairs.comparison
    assert not any(name.startswith("8-") for name in pairs.weights)


def test_max_and_mean_together_weigh_as_much_as_cls(searched):
    contrast = by_name(searched)["tokens max and mean pooling minus cls"]
    assert sum(contrast.weights.values()) == pytest.approx(0)
    assert {round(16 * weight, 9) for weight in contrast.weights.values()} == {-1, 0.5}


def test_the_best_of_each_is_chosen_on_dev_not_on_test(searched):
    rows = searched.assign(test_f1_micro_mean=1 - searched["dev_f1_micro_mean"])
    chosen = by_name(rows)["together 6+8+11 max logistic_regression minus the best single layer"]
    ours, single = chosen.weights
    assert ours == "6+8+11-max-logistic_regression"
    same = searched[(searched["n_layers"] == 1) & (searched["classifier"] == "logistic_regression")]
    assert single == same.sort_values("dev_f1_micro_mean").iloc[-1]["candidate_id"]


def test_the_middle_is_the_inner_half_of_the_single_layers(searched):
    contrast = next(c for c in contrasts(searched) if c.comparison.startswith("layers 7, 8, 11 minus 6, 12"))
    one_each = searched[searched["n_layers"] == 1].groupby("layers")["test_f1_micro_mean"].mean()
    expected = one_each[["7", "8", "11"]].mean() - one_each[["6", "12"]].mean()
    assert measured(contrast, searched) == pytest.approx(expected)
    assert "best alone on dev: layer 8" in contrast.comparison


def test_one_layer_against_all_of_them():
    rows = synthetic.gridsearch([(6,), (8,), (6, 8)], n_errors=0)
    contrast = next(c for c in contrasts(rows) if c.comparison.startswith("best single layer"))
    assert [weight for weight in contrast.weights.values()] == [1.0, -1.0]
    assert [name.split("-")[0] for name in contrast.weights][1] == "6+8"


def test_a_hidden_layer_in_the_search_is_compared_with_the_best_linear_one():
    rows = synthetic.gridsearch(classifiers=("logistic_regression", "mlp", "knn"), n_errors=0)
    (contrast,) = [c for c in contrasts(rows) if c.claim == "head"]
    assert [name.rsplit("-", 1)[1] for name in contrast.weights] == ["logistic_regression", "mlp"]


def test_what_the_search_lacks_is_said():
    rows = synthetic.gridsearch([(8,)], ("knn",), n_errors=0)
    rows = rows[rows["pooling"] == "max"]
    found = contrasts(rows)
    assert [c.weights for c in found] == [{}] * 7
    assert all(c.why for c in found)


def test_an_empty_search_has_nothing_to_compare(searched):
    assert not any(c.weights for c in contrasts(searched.iloc[:0]))
    failed = searched.assign(status="error")
    assert not any(c.weights for c in contrasts(pd.DataFrame(failed)))


def test_candidates_of_several_poolings_are_left_aside(searched):
    mixed = searched.iloc[:1].assign(candidate_id="mixed", pooling="max+mean+max", rank=0)
    found = contrasts(pd.concat([mixed, searched], ignore_index=True))
    assert not any("mixed" in c.weights for c in found)


def test_an_ensemble_takes_part_in_no_comparison(searched):
    whole = synthetic.with_ensemble(searched)
    uniform = whole.assign(pooling=whole["pooling"].where(whole["classifier"] != "ensemble", "max"))
    for rows in (whole, uniform):  # of one pooling it would pass for a candidate of it
        assert contrasts(rows) == contrasts(searched)
