import pandas as pd
import pytest

from mcbert.results import chance
from mcbert.results.chance import near_chance


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
    assert chance.standings(rows) == {"better": 1, "tied": 1, "worse": 2}
    assert chance.told(chance.standings(rows)) == "1 better, 1 tied, 2 worse"
