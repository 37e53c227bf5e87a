import dataclasses
import math

import pytest

from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.predicted import of_system
from mcbert.results.report import errors, headline, misread, search_sections, sections
from mcbert.results.runs import RunTables
from tests.results import synthetic


@pytest.fixture(scope="module")
def run(run_dir):
    return RunTables.read(run_dir)


def add(name, _chart, _description):
    return name


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [(0.01, 0.2, "better than"), (-0.1, 0.1, "not significantly different"), (-0.2, -0.1, "worse than")],
)
def test_verdict(low, high, words):
    assert sections.verdict(low, high).startswith(words)


def test_headline_names_winner_and_best_system(run):
    found = headline.headline(run)
    assert found["winner"]["rank"] == 1
    assert found["best"]["system"] == "mcbert_wf"
    assert found["targets"] == ["ar", "de", "es", "fr", "ur", "zh"]
    assert [row["system"] for row in found["systems"]] == ["probe", "baseline", "mcbert", "mcbert_wf"]


def test_curves_of_a_sample_of_dev_say_so(run):
    assert sections.training(run, add)["sample"] is None
    curves = run.tables["finetune"]
    some = curves.assign(sample_of=curves["sample_of"].fillna(2490))
    tables = {**run.tables, "finetune": some}
    drawn = RunTables(run.name, tables, run.winner, run.source_language)
    assert sections.training(drawn, add)["sample"] == {"n": 100, "of": 2490}


def test_train_texts_are_counted_where_phase_one_left_some_out(run):
    n = int(run.tables["corpus"].query("split == 'train'")["n_texts"].sum())
    for taken, told in ((n, None), (n - 9, {"n": n - 9, "of": n}), (None, None)):
        winner = {**run.winner, "n_train": taken}
        told_run = RunTables(run.name, run.tables, winner, run.source_language)
        assert search_sections.search(told_run, add)["train_texts"] == told


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.01, 0.02, ["MC-BERT"]), (0.01, 0.02, []), (float("nan"), float("nan"), [])],
)
def test_headline_says_what_is_not_told_apart_from_the_highest(run, low, high, expected):
    table = run.tables["table1"]
    wf = (table["system"] == "mcbert_wf") & (table["language"] == "mean")
    table = table.assign(
        versus_mcbert_low=table["versus_mcbert_low"].mask(wf, low),
        versus_mcbert_high=table["versus_mcbert_high"].mask(wf, high),
    )
    assert headline.headline(RunTables("x", {"table1": table}, {}, "en"))["level"] == expected


def test_where_mcbert_is_highest_all_others_are_set_beside_it(run):
    table = run.tables["table1"]
    own = table[table["system"] != "mcbert_wf"]
    probe = own["system"] == "probe"
    for low, expected in ((-0.02, ["Probe (frozen)"]), (-0.2, [])):
        ends = own.assign(
            versus_mcbert_low=own["versus_mcbert_low"].mask(probe, low),
            versus_mcbert_high=own["versus_mcbert_high"].mask(probe, low + 0.04),
        )
        found = headline.headline(RunTables("x", {"table1": ends}, {}, "en"))
        assert (found["best"]["system"], found["level"]) == ("mcbert", expected)


def test_the_corpus_has_a_figure_of_its_labels_for_every_split(run):
    figures = {}
    found = sections.corpus(run, lambda name, chart, _: figures.update({name: chart}) or name)
    assert found["classes"] == [(split, f"classes-{split}") for split in ("train", "dev", "test")]
    (rows,) = figures["classes-train"].to_dict()["datasets"].values()
    assert {row["language"] for row in rows} == {"en"}
    assert sum(row["percent"] for row in rows) == pytest.approx(100)


def test_languages_near_chance_are_named(run):
    table = run.tables["confusion"]
    table = table.assign(
        n=table["n"].where(table["language"] != "ur", (table["predicted"] == "cancel order") * 15)
    )
    panels = errors.confusion(RunTables("x", {"confusion": table}, {}, "en"), add)["panels"]
    assert [panel["language"] for panel in panels if panel["near_chance"]] == ["ur"]
    assert panels[0]["language"] == "en"


def test_labels_are_of_the_model_whose_errors_are_listed(run):
    """A trained model is deployed: its matrices from its predictions, not the search's winner's."""
    deployed = dataclasses.replace(run, deploy={"system": "mcbert", "model": "models/mcbert"})
    found = errors.confusion(deployed, add)
    assert (found["name"], found["deployed"], found["file"]) == (
        "MC-BERT", True, "predictions_finetune.csv",
    )  # fmt: skip
    rows = of_system(deployed.predictions, "mcbert")
    right = (rows["label"] == rows["predicted"]).groupby(rows["language"]).mean()
    assert {panel["language"]: panel["accuracy"] for panel in found["panels"]} == pytest.approx(
        right.to_dict()
    )
    assert misread.errors(deployed)["system"] == "mcbert"


def test_the_mean_f1_of_a_label_says_over_which_languages_and_texts(run):
    table = run.tables["confusion"]
    lacking = table[(table["language"] != "ur") | (table["label"] != "refund status")]
    found = errors.confusion(RunTables("x", {"confusion": lacking}, {}, "en"), add)["label_scores"]
    row = next(row for row in found if row["label"] == "refund status")
    others = [value for language, value in row["f1"].items() if language != "en"]
    assert row["n_languages"] == len(others) == len(synthetic.TARGETS) - 1
    assert row["mean"] == pytest.approx(sum(others) / len(others))
    of_it = lacking[(lacking["label"] == "refund status") & (lacking["language"] != "en")]
    assert row["n_texts"] == of_it[(of_it["rank"] == 1) & (of_it["split"] == "test")]["n"].sum()


def test_languages_without_a_training_curve_are_named(run):
    table = run.tables["finetune"]
    only = table[(table["language"] == "en") | (table["split"] == "test")]
    found = sections.training(RunTables("x", run.tables | {"finetune": only}, {}, "en"), add)
    assert found["without_dev"] == sorted(synthetic.TARGETS)
    assert sections.training(run, add)["without_dev"] == []


def test_an_alarm_is_of_the_test_rows_where_there_are_any(run):
    top = run.tables["top"]
    ur = (top["language"] == "ur") & (top["rank"] == 1)
    failed = top.assign(score=top["score"].where(~ur, top["chance"]))

    def alarms(table):
        return headline.headline(RunTables("x", {"top": table}, {}, "en"))["alarms"]

    assert alarms(top) == []
    assert [(row["language"], row["split"], row["alarm"]) for row in alarms(failed)] == [("ur", "test", True)]
    assert [row["split"] for row in alarms(failed[failed["split"] == "dev"])] == ["dev"]


def test_absent_tables_are_none():
    empty = RunTables("x", {}, {}, "en")
    parts = [errors.confusion(empty, add), sections.training(empty, add)]
    parts += [sections.table1(empty), sections.corpus(empty, add)]
    assert parts == [None] * 4


def test_table1_keeps_measured_and_published_apart(run):
    table = sections.table1(run)
    assert table["groups"]["measured"][0]["name"] == "Probe (frozen)"
    assert len(table["groups"]["published"]) == 13
    assert len(table["citations"]) == len(set(table["citations"])) == 13
    assert table["languages"][0] == "en"


def test_absent_conclusions_are_none():
    assert sections.conclusions(RunTables("x", {}, {}, "en"), None) is None


def test_every_conclusion_has_its_verdict_and_its_comparisons(run):
    charts = {}

    def add(name, chart, _description):
        charts[name] = chart
        return name

    found = sections.conclusions(run, add)
    told = [(group["number"], group["claim"]) for group in found["groups"]]
    assert told == [(claim.number, claim.words) for claim in CLAIMS.values()]
    assert sum(found["counts"].values()) == len(CLAIMS)
    (spec,) = charts.values()
    drawn = [row for rows in spec.to_dict()["datasets"].values() for row in rows if "mark" in row]
    table = run.tables["conclusions"]
    assert len(drawn) == table["effect"].notna().sum()
    assert all(row["left"] <= row["points"] <= row["right"] for row in drawn)


def test_marks_number_the_comparisons_of_a_conclusion(run):
    table = run.tables["conclusions"]
    marks = sections.marked(table).set_index("number")["mark"]
    assert marks.loc[7] == "7"
    assert marks.loc[3].tolist() == ["3a", "3b"]
    assert marks.loc[4].tolist() == ["4a", "4b"]


def test_without_any_test_there_is_no_figure(run):
    table = run.tables["conclusions"]
    none = table[table["effect"].isna()]
    assert sections.conclusions(RunTables("x", {"conclusions": none}, {}, "en"), None)["chart"] is None


def test_trials_are_told_in_words_best_first_beside_the_settings_as_they_are(run):
    found = sections.tune(run)
    assert [trial["words"] for trial in found["trials"]] == ["as they are", "dropout 0.0"]
    assert [trial["language"] for trial in found["trials"]] == ["mean", "mean"]
    assert found["trials"][1]["source"]["accuracy"] == pytest.approx(0.84)
    assert [row["words"] for row in found["failed"]] == ["epochs 900"]
    assert sections.tune(RunTables("x", {}, {}, "en")) is None


def test_trials_that_all_failed_are_told(run):
    table = run.tables["tune"]
    failed = RunTables("x", {"tune": table[table["status"] == "error"]}, {}, "en")
    assert sections.tune(failed)["trials"] == []
    assert len(sections.tune(failed)["failed"]) == 1


@pytest.fixture(scope="module")
def ensembled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ensembled") / "run"
    return RunTables.read(synthetic.write_run(folder, synthetic.with_ensemble(synthetic.gridsearch())))


def test_a_headline_counts_an_ensemble_s_members_and_no_ensemble_among_the_candidates(run, ensembled):
    plain, found = headline.headline(run), headline.headline(ensembled)
    assert (plain["members"], found["members"]) == (0, 100)
    assert found["winner"]["classifier"] == "ensemble"
    assert [found[name] for name in ("n_candidates", "tried")] == [
        plain[name] for name in ("n_candidates", "tried")
    ]
    choices = search_sections.protocols(ensembled)
    assert [row["protocol"] for row in choices["rows"] if row["used"]] == ["ensemble"]
    assert search_sections.candidates(ensembled)["n"] == search_sections.candidates(run)["n"]


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [
        (0.001, 0.1, "beats the reference"),
        (0.0, 0.1, "does not beat the reference"),
        (-0.1, 0.1, "does not beat the reference"),
        (-0.1, -0.01, "below the reference"),
        (math.nan, math.nan, ""),
    ],
)
def test_only_an_interval_above_0_beats_the_reference(low, high, said):
    row = {"protocol": "agreement", "versus_reference_low": low, "versus_reference_high": high}
    assert sections.versus_reference(row) == said
    assert sections.versus_reference(row | {"protocol": "reference"}) == ""
    assert sections.versus_reference(None) == ""


def test_without_a_reference_nothing_is_said_of_one(run):
    choices = run.tables["protocols"]
    unknown = choices.assign(**dict.fromkeys(choices.filter(like="versus_reference"), math.nan))
    bare = dataclasses.replace(run, tables={**run.tables, "protocols": unknown})
    assert headline.headline(bare)["reference"] is None
    assert headline.headline(run)["reference"]["split"] == "test"
