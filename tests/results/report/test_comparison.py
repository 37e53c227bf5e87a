import json
import re
import shutil

import numpy as np
import pandas as pd
import pytest

import mcbert
from mcbert.results import csv_files
from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.leaderboard import leaderboard
from mcbert.results.report import comparison, run_charts
from mcbert.results.report.figures import draw
from mcbert.results.runs import KINDS, RunTables
from mcbert.results.schema.search import GRIDSEARCH, PREDICTIONS
from mcbert.results.schema.texts import TEXTS
from mcbert.results.schema.training import TABLE1
from mcbert.results.schema.words import SYSTEMS
from tests.results.report.test_numbers import untitled
from tests.results.test_runs import texts


@pytest.fixture(scope="module")
def runs(run_dir, tmp_path_factory):
    root = tmp_path_factory.mktemp("several")
    for name in ("first", "second"):
        shutil.copytree(run_dir, root / name)
        csv_files.write(TEXTS, texts(), root / name / "texts.csv")
    path = root / "second" / "predictions_finetune.csv"
    rows = csv_files.read(PREDICTIONS, path)
    wrong = rows["system"].eq("mcbert") & rows["language"].ne("en") & rows["id"].str.contains("t1")
    csv_files.write(PREDICTIONS, rows.assign(predicted=rows["predicted"].mask(wrong, "none")), path)
    return [root / "first", root / "second"]


@pytest.fixture(scope="module")
def html(runs):
    path = runs[0].parent / "comparison.html"
    return comparison.build(runs, leaderboard(runs), path).read_text(encoding="utf-8")


def group_of(folders):
    """Return the only group of some runs."""
    loaded = [RunTables.read(folder) for folder in folders]
    (group,) = comparison.groups_of(folders, loaded, leaderboard(folders))
    return group


def page_of(folders, path):
    return comparison.build(folders, leaderboard(folders), path).read_text(encoding="utf-8")


def section(html, id_):
    return html.split(f'<section id="{id_}">')[1].split("</section>")[0]


def copied(folder, path, **inputs):
    """Copy a run, with other inputs of its gridsearch."""
    shutil.copytree(folder, path)
    record = {"inputs": inputs, "outputs": {}}
    (path / "stages" / "gridsearch.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def test_systems_are_paired_over_the_same_texts_by_language(runs):
    found = pd.DataFrame(comparison.differences(group_of(runs))).set_index(["comparison", "language"])
    mean = found.xs("mean", level="language")
    assert mean.loc["mcbert", "high"] < 0
    assert mean.loc["mcbert_wf", "difference"] == mean.loc["probe", "difference"] == 0
    assert set(found["run"]) == {"second"}
    own = {folder.name: mcbert.read_results("predictions", folder) for folder in runs}
    right = {}
    for name, frame in own.items():
        rows = frame.query("system == 'mcbert' and language == 'de' and split == 'test'")
        right[name] = (rows["label"] == rows["predicted"]).mean()
    de = found.loc[("mcbert", "de")]
    assert de["difference"] == pytest.approx(right["second"] - right["first"])
    assert de["low"] <= de["difference"] <= de["high"]
    assert found.loc[("mcbert", "en"), "verdict"] == "not significantly different"


def test_models_to_deploy_of_unlike_systems_are_paired(runs, tmp_path):
    other = shutil.copytree(runs[1], tmp_path / "other")
    for folder, system in ((tmp_path / "one", "mcbert_wf"), (other, "mcbert")):
        if not folder.exists():
            shutil.copytree(runs[0], folder)
        record = {"model": f"models/{system}", "system": system, "there": True, "protocol": "source-dev"}
        record |= {"metric": "f1_micro", "score": 0.5, "compared": []}
        (folder / "deploy.json").write_text(json.dumps(record), encoding="utf-8")
    found = comparison.differences(group_of([tmp_path / "one", other]))
    assert found[0]["name"] == "MC-BERT against MC-BERT-WF (each to deploy)"
    assert {row["comparison"] for row in found} == {"deployed", "probe", "baseline", "mcbert", "mcbert_wf"}


def test_the_page_says_which_differences_are_significant(html):
    told = section(html, "group-1").split("Differences to first")[1].split("</table>")[0]
    assert told.count("<td>worse</td>") == 1
    assert told.count("<td>not significantly different</td>") == 3
    assert "The runs differ in" not in html


def test_every_figure_stands_there_as_numbers_too(html):
    assert html.count('<details class="numbers">') == html.count("data-spec=") == 8
    wf = html.split('aria-label="Test accuracy by language of MC-BERT-WF as numbers"')[1].split("</table>")[0]
    assert wf.count("<tr>") == 1 + 1 + 7


def test_all_panels_share_a_range_that_the_caption_states(html):
    specs = json.loads(html.split('id="specs">')[1].split("</script>")[0])
    domains = {
        kind: {tuple(found) for found in re.findall(r'"domain": \[(-?[0-9]+), ([0-9]+)\]', json.dumps(part))}
        for kind in ("system", "difference")
        for part in [[spec for name, spec in specs.items() if name.startswith(kind)]]
    }
    (accuracy,), (difference,) = domains["system"], domains["difference"]
    assert f"All panels run from {accuracy[0]} to {accuracy[1]}%" in html
    assert difference[0] == f"-{difference[1]}"
    assert f"to {difference[1]} points" in html


def test_a_range_does_not_turn_a_point_into_a_collapse():
    low, high = run_charts.accuracy_range([71.2, 72.0, float("nan")])
    assert high - low >= 20
    assert low <= 71.2 < 72.0 <= high
    assert run_charts.accuracy_range([99.0, 100.0]) == (80, 100)
    assert run_charts.difference_range([float("nan")]) == (-5, 5)


def test_verdicts_stand_side_by_side(html, runs):
    loaded = [RunTables.read(folder) for folder in runs]
    rows = comparison.conclusions(loaded)
    tested = [claim.words for claim in CLAIMS.values() if claim.words != "A deeper head does not help."]
    assert [row["claim"] for row in rows] == tested
    assert rows[1]["verdicts"] == {"first": "supported", "second": "supported"}
    assert html.count('class="verdict supported"') >= 2


def test_every_figure_lies_beside_the_page(html, runs):
    drawn = sorted(path.name for path in (runs[0].parent / "comparison-figures").iterdir())
    shown = sorted(set(re.findall(r'"((?:system|difference)-1-\w+)":', html)))
    assert drawn == sorted(f"{name}.{kind}" for name in shown for kind in ("png", "svg"))
    assert len(shown) == 8


def test_headings_of_the_schema_s_columns_say_what_it_declares(html):
    known = {"first", "second", "system", "difference", "verdict", "languages"}
    assert untitled(html) == known
    assert html.count('scope="row" title="runs*.csv, ') >= 8


def test_a_quantity_has_one_name_and_the_candidates_are_counted(html):
    told = section(html, "group-1").split("</table>")[0]
    assert told.count(", test</th>") == 4
    assert told.count("Probe (frozen), test") == 1
    assert "inner, test" not in html
    row = told.split("candidates tried</th>")[1].split("</tr>")[0]
    assert row == "<td>35</td><td>35</td>"


def test_what_differs_in_settings_comes_first(runs, tmp_path):
    both = [
        copied(runs[0], tmp_path / "narrow", gridsearch={"layers": [6, 8], "top": 20}),
        copied(runs[1], tmp_path / "wide", gridsearch={"layers": [6, 8, 11], "top": 20}),
    ]
    html = page_of(both, tmp_path / "c.html")
    assert html.index('id="settings"') < html.index('id="group-1"')
    told = section(html, "settings").replace("\u200b", "")
    row = '<th scope="row">gridsearch.layers</th><td>6, 8</td><td>6, 8, 11</td>'
    assert row in told
    assert "gridsearch.top" not in told


def test_runs_of_other_test_texts_stand_in_groups_of_their_own(runs, tmp_path):
    other = shutil.copytree(runs[1], tmp_path / "other")
    csv_files.write(TEXTS, texts(label="b"), other / "texts.csv")
    html = page_of([runs[0], other, runs[1]], tmp_path / "c.html")
    assert "The runs were not all tested on the same texts" in html
    first, second = section(html, "group-1"), section(html, "group-2")
    assert "Tested on the same texts: first, second" in first
    assert '<th scope="col">other</th>' not in first
    assert "Differences to first" in first
    assert "No other run was tested on these texts" in second
    assert 'data-spec="difference-2' not in second


def test_runs_whose_test_texts_are_not_known_are_not_paired(runs, tmp_path):
    both = [shutil.copytree(folder, tmp_path / folder.name) for folder in runs]
    for folder in both:
        for path in (folder / "texts.csv", *folder.glob("predictions_*.csv")):
            path.unlink()
    html = page_of(both, tmp_path / "c.html")
    assert "Test texts not known: first, second" in html
    assert "nothing is paired" in html


def test_what_is_unlike_within_a_group_is_said(runs, tmp_path):
    other = shutil.copytree(runs[1], tmp_path / "other")
    table = csv_files.read_with_sums(TABLE1, other / "table1.csv")
    csv_files.write_with_sums(
        TABLE1, table.replace({"protocol": {"last": "source-dev"}}), other / "table1.csv"
    )
    assert f"The runs differ in {KINDS['protocol']}." in page_of([runs[0], other], tmp_path / "c.html")


@pytest.mark.parametrize(
    ("gone", "systems"),
    [
        ("gridsearch top effects protocols", ["probe", "baseline", "mcbert", "mcbert_wf"]),
        ("finetune freezing table1 table1_overall predictions_finetune tune conclusions", ["probe"]),
    ],
)
def test_a_run_without_search_or_without_finetune_has_a_place(runs, tmp_path, gone, systems):
    part = shutil.copytree(runs[1], tmp_path / "part")
    for name in gone.split():
        (part / f"{name}.csv").unlink(missing_ok=True)
    for folders in ([runs[0], part], [part, runs[0]]):
        html = page_of(folders, tmp_path / "c.html")
        assert "could not be made" not in html
        own = section(html, "group-1").split("Test accuracy by language")[0]
        assert [name for name in SYSTEMS if f'data-spec="difference-1-{name}"' in own] == systems


def test_eight_runs_of_many_languages_make_a_small_page(run_dir, tmp_path):
    languages = ["en", *(f"x{k:03}" for k in range(204))]
    rows = csv_files.read(PREDICTIONS, run_dir / "predictions_gridsearch.csv").query("language == 'en'")
    many = pd.concat(
        [
            rows.assign(language=name, id=rows["id"] if name == "en" else rows["id"] + f"-{name}")
            for name in languages
        ],
        ignore_index=True,
    )
    scored = pd.DataFrame({"language": languages, "accuracy": np.linspace(0.3, 0.9, 205)})
    folders = []
    for k in range(8):
        folder = tmp_path / f"run-{k}"
        folder.mkdir()
        wrong = np.random.default_rng(k).random(len(many)) < 0.02 * k
        changed = many.assign(predicted=many["predicted"].mask(pd.Series(wrong), "none"))
        csv_files.write(PREDICTIONS, changed, folder / "predictions_gridsearch.csv")
        one = csv_files.read(GRIDSEARCH, run_dir / "gridsearch.csv").iloc[:1]
        one = one[[name for name in one.columns if "_f1_micro_" not in name or name.endswith("_mean")]]
        f1 = {
            f"{s}_f1_micro_{row.language}": [row.accuracy]
            for s in ("dev", "test")
            for row in scored.itertuples()
        }
        csv_files.write(GRIDSEARCH, one.join(pd.DataFrame(f1)), folder / "gridsearch.csv")
        folders.append(folder)
    html = page_of(folders, tmp_path / "c.html")
    assert "could not be made" not in html
    assert len(html.encode()) < 5_000_000
    assert "204 languages" in html
    specs = json.loads(html.split('id="specs">')[1].split("</script>")[0])
    assert set(specs) == {"system-1-probe", "difference-1-probe"}
    assert all(draw(spec).startswith("<svg") for spec in specs.values())


def test_a_section_that_fails_says_so_in_its_place(runs, tmp_path, monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("no <pairs>")

    monkeypatch.setattr(comparison, "differences", fails)
    html = page_of(runs, tmp_path / "c.html")
    assert "This section could not be made (RuntimeError: no &lt;pairs&gt;)" in section(html, "group-1")
    assert 'data-spec="system-1-probe"' in html
    assert "paired-1 could not be made" in caplog.text


def test_runs_of_a_search_alone_show_the_probe(runs, tmp_path):
    both = []
    for folder in runs:
        (tmp_path / folder.name).mkdir()
        shutil.copy(folder / "gridsearch.csv", tmp_path / folder.name)
        both.append(tmp_path / folder.name)
    html = page_of(both, tmp_path / "c.html")
    assert 'data-spec="system-1-probe"' in html
    assert "Test texts not known" in html


def test_one_run_is_refused(runs):
    with pytest.raises(ValueError, match="got 1 to compare, accepted: two or more"):
        comparison.build(runs[:1], leaderboard(runs[:1]), runs[0] / "c.html")
