import json
import re
import shutil
from html.parser import HTMLParser

import pandas as pd
import pytest

from mcbert.results import csv_files
from mcbert.results.report import report
from mcbert.results.report.numbers import percent, points
from mcbert.results.runs import source_language, stages
from mcbert.results.schema.embeddings import STS, TATOEBA
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PROTOCOL_CHOICES, TOP
from mcbert.results.schema.texts import CORPUS
from mcbert.results.schema.training import FREEZING, TABLE1
from tests.results import synthetic
from tests.results.report.test_embeddings import sts_rows, tatoeba_rows


class Page(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags, self.outside = [], []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        links = [value for name, value in attrs if name in ("src", "href", "srcset", "action")]
        self.outside += [value for value in links if not value.startswith("#")]


@pytest.fixture(scope="module")
def html(run_dir):
    return report.build(run_dir)[0].read_text(encoding="utf-8")


def test_one_file_that_loads_nothing(html):
    page = Page(html)
    assert page.outside == []
    assert not {"link", "iframe", "img", "base"} & set(page.tags)
    policy = re.search('http-equiv="Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert html.count("window.vegaEmbed=") == 1


def test_headline_says_what_won_by_how_much(html, run_dir):
    headline = re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", "", html.split('class="headline"')[1].split("</section>")[0])
    )
    rows = csv_files.read_with_sums(TABLE1, run_dir / "table1.csv").query("language == 'mean'")
    best = rows.set_index("system").loc["mcbert_wf"]
    lead = headline.partition(". ")[0]
    assert f"{percent(best['accuracy'])}%" in lead
    for name in ("versus_baseline", "versus_baseline_low", "versus_baseline_high"):
        assert points(best[name]) in lead
    assert "MC-BERT-WF" in lead
    assert "target-dev (an oracle" in headline


def test_a_model_passed_over_for_a_lead_by_chance_is_told(run_dir, tmp_path):
    def page(trained):
        folder = tmp_path / str(trained)
        shutil.copytree(run_dir, folder)
        compared = [
            {"system": system, "model": f"models/{system}", "score": score, "there": True}
            for system, score in (("probe", 0.7), ("mcbert", trained))
        ]
        record = {**compared[0], "protocol": "source-dev", "metric": "f1_micro", "compared": compared}
        (folder / "deploy.json").write_text(json.dumps(record), encoding="utf-8")
        return report.build(folder)[0].read_text(encoding="utf-8")

    assert "by no more than chance" in page(0.72)
    assert "by no more than chance" not in page(0.68)


@pytest.mark.parametrize(
    ("targets", "said"),
    [(["de"], "test accuracy in de"), (["de", "zh"], "mean test accuracy over the 2 target languages")],
)
def test_a_mean_over_one_language_is_not_called_one(targets, said):
    macros = report.environment().get_template("macros.html").module
    assert str(macros.over(targets, "test accuracy")) == said


@pytest.mark.parametrize(("system", "said"), [("mcbert", True), ("mcbert_wf", False)])
def test_a_highest_system_that_is_not_the_one_to_deploy_is_explained(run_dir, tmp_path, system, said):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    chosen = {"system": system, "model": f"models/{system}", "score": 0.7, "there": True}
    record = {**chosen, "protocol": "source-dev", "metric": "f1_micro", "compared": [chosen]}
    (folder / "deploy.json").write_text(json.dumps(record), encoding="utf-8")
    page = report.build(folder)[0].read_text(encoding="utf-8")
    assert ("MC-BERT-WF is the highest on test, which chooses nothing." in page) is said


def test_sections_stand_in_their_order_and_every_table_has_a_caption(html):
    found = re.findall(r'<section (?:id="(\w+)"|class="(headline)")', html)
    assert [name or headline for name, headline in found] == [
        "headline", "systems", "languages", "misread", "confusion", "training", "tune", "search",
        "candidates", "protocols", "corpus", "paper", "provenance",
    ]  # fmt: skip
    page = Page(html)
    assert page.tags.count("table") == page.tags.count("caption") == 15
    assert page.tags.count("h1") == 1
    linked = set(re.findall(r'<a href="#(\w+)"', html))
    assert linked == {name for name, _ in found if name}


def test_an_alarm_stands_in_the_headline(run_dir, tmp_path):
    csv_files.write(GRIDSEARCH, synthetic.gridsearch(), tmp_path / "gridsearch.csv")
    top = csv_files.read_with_sums(TOP, run_dir / "top.csv")
    ur = (top["rank"] == 1) & (top["language"] == "ur")
    csv_files.write_with_sums(
        TOP, top.assign(score=top["score"].where(~ur, top["chance"])), tmp_path / "top.csv"
    )
    headline = report.build(tmp_path)[0].read_text(encoding="utf-8").split("</section>")[0]
    assert headline.count('role="alert"') == 1
    assert "Near chance: ur" in headline
    assert "the transfer to ur failed" in headline


def test_table_1_says_what_freezing_adds(html, run_dir):
    rows = (
        csv_files.read_with_sums(TABLE1, run_dir / "table1.csv")
        .query("language == 'mean'")
        .set_index("system")
    )
    body = html.split('aria-label="Table 1"')[1].split("</table>")[0]
    assert body.count("against MC-BERT") == 2  # of the probe and of MC-BERT-WF
    (own,) = [row for row in body.split("</tr>") if "MC-BERT-WF<" in row and "against MC-BERT" in row]
    wf = rows.loc["mcbert_wf"]
    ends = [points(wf[f"versus_mcbert{end}"]) for end in ("", "_low", "_high")]
    said = own.split("against MC-BERT")[1]
    assert re.findall(r"[+\u2212]?\d+\.\d", said) == ends


def test_table_1_tells_published_rows_by_shape_and_words_not_by_colour_alone(html):
    body = html.split('aria-label="Table 1"')[1].split("</table>")[0]
    for source in ("measured", "published"):
        rows = body.split(f'<tbody class="{source}">')[1].split("</tbody>")[0]
        assert rows.count('<th scope="row">') == rows.count(f'class="shape {source}"') > 0
        assert rows.count('<th scope="row">') == rows.count(f'class="visually-hidden"> ({source})<')
    drawn = re.findall(r"\.shape\.(\w+) \{[^}]*?(border-radius|transform)", html)
    assert dict(drawn) == {"measured": "border-radius", "published": "transform"}


def test_ties_and_prices_are_in_the_tables(html):
    best = html.split('<table id="candidates-table"')[1].split("</table>")[0]
    assert best.count(">winner<") == 2  # dev and test
    assert best.count(">tied<") > 0
    assert best.count(">tied<") + best.count(">better<") + best.count(">worse<") == 2 * 19
    page = " ".join(html.split())
    counts = r"\d+ (is|are) better than the winner, \d+ tied with it and \d+ worse"
    assert re.search(rf"Of the next 19 candidates, on test {counts}\.", page)
    told = r"\d+ better, \d+ tied, \d+ worse \(19 compared\)"
    assert re.search(rf"Beside the winner, .*?: on dev {told}; on test {told}\.", page)
    price = html.split('aria-label="Choices by protocol"')[1].split("</table>")[0]
    assert "mean over all candidates" in price
    assert re.search(r'<th scope="row">last</th><td colspan="\d+" class="muted">no choice: ', price)


def test_provenance_lists_every_file_with_its_checksum(html, run_dir):
    for path in run_dir.glob("*.csv"):
        assert path.name in html
        assert report.files.sha256(path) in html


def test_provenance_tells_machine_versions_durations_and_settings(html):
    origin = re.sub(r"<[^>]+>", "", html.split('<section id="provenance">')[1])
    for told in (
        "Linux",
        "numpy 2.0",
        "gridsearch 12 s",
        "Settings and inputs of gridsearch",
        "&#34;layers&#34;",
    ):
        assert told in origin


def test_stages_stand_in_the_order_of_the_method_whenever_their_records_were_copied(tmp_path):
    (tmp_path / "stages").mkdir()
    for name in ("report", "finetune", "export-6-max-lda", "extract", "of-its-own", "gridsearch", "prepare"):
        (tmp_path / "stages" / f"{name}.json").write_text("{}")
    found = [stage["name"] for stage in stages(tmp_path)]
    assert found[:5] == ["prepare", "extract", "gridsearch", "export-6-max-lda", "finetune"]
    assert set(found[5:]) == {"of-its-own", "report"}


def test_the_same_run_gives_the_same_bytes_whether_named_by_path_or_text(html, run_dir):
    assert report.build(str(run_dir))[0].read_text(encoding="utf-8") == html


def sections_of(html):
    return set(re.findall(r'<section id="(\w+)"', html))


def test_stages_that_were_not_run_are_one_line_and_no_sections(tmp_path):
    csv_files.write(CORPUS, synthetic.corpus(), tmp_path / "corpus.csv")
    html = report.build(tmp_path)[0].read_text(encoding="utf-8")
    assert sections_of(html) == {"corpus", "provenance"}
    told = re.sub(r"<[^>]+>", "", html.split("Not run: ")[1].split("</p>")[0])
    assert [part.strip(" .)") for part in re.split(r"[(,]", told)] == [
        "fine-tuning", "mcbert finetune", "settings", "mcbert tune", "search", "mcbert gridsearch",
        "sentence embeddings", "mcbert embeddings",
    ]  # fmt: skip
    assert re.findall('data-spec="([^"]*)"', html) == ["classes-train", "classes-dev", "classes-test"]


def test_a_search_alone_has_a_page_of_its_own(tmp_path):
    whole = synthetic.write_run(tmp_path / "whole")
    folder = tmp_path / "search"
    folder.mkdir()
    for name in ("gridsearch", "top", "top_overall", "effects", "effects_overall", "protocols", "confusion",
                 "protocols_overall", "corpus", "predictions_gridsearch"):  # fmt: skip
        (folder / f"{name}.csv").write_bytes((whole / f"{name}.csv").read_bytes())
    html = report.build(folder)[0].read_text(encoding="utf-8")
    assert sections_of(html) == {
        "systems", "languages", "misread", "confusion", "search", "candidates", "protocols", "corpus",
        "provenance",
    }  # fmt: skip
    table = html.split('aria-label="Systems by language"')[1].split("</table>")[0]
    rows = re.findall(r'<th scope="row">([^<]+)', table)
    assert [row.strip() for row in rows] == ["Probe (frozen)", "reference", "most frequent label"]
    assert "The paper" not in html


def test_sentence_embeddings_alone_have_a_page_of_their_own(tmp_path):
    for table, rows in ((STS, sts_rows()), (TATOEBA, tatoeba_rows())):
        csv_files.write_with_sums(table, pd.DataFrame(rows), tmp_path / table.file_name)
    html = report.build(tmp_path)[0].read_text(encoding="utf-8")
    assert sections_of(html) == {"embeddings", "provenance"}
    lead = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", html.split('class="lead"')[1].split("</p>")[0]))
    best = min((row for row in tatoeba_rows() if row["language"] == "mean" and row["direction"] == "both"
                and row["split"] == "test"), key=lambda row: row["error_rate"])  # fmt: skip
    assert best["system"] in lead
    assert f"{percent(1 - best['error_rate'])}% of Tatoeba" in lead
    assert "search was not run" not in html


def test_the_paper_s_section_is_there_only_where_its_conclusions_are(html, run_dir, tmp_path):
    assert '<section id="paper"' in html
    folder = tmp_path / "own"
    shutil.copytree(run_dir, folder)
    (folder / "conclusions.csv").unlink()
    page = report.build(folder)[0].read_text(encoding="utf-8")
    assert '<section id="paper"' not in page
    assert "not tested here" not in page
    assert 'class="shape published"' not in page
    assert 'aria-label="Systems by language"' in page


def test_systems_have_intervals_beside_chance_and_the_reference(html, run_dir):
    table = html.split('aria-label="Systems by language"')[1].split("</table>")[0]
    rows = [re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", row)) for row in table.split("<tr")[2:]]
    assert [row.split(">")[1].split(" protocol")[0].strip() for row in rows[:4]] == [
        "Probe (frozen)", "[CLS] baseline", "MC-BERT", "MC-BERT-WF",
    ]  # fmt: skip
    for row in rows[:5]:
        assert len(re.findall(r"\[\d+\.\d, \d+\.\d\]", row)) == 1 + 7
    assert rows[4].split(">")[1].split(" the deepest")[0].strip() == "reference"
    assert "31.7" in rows[5]  # the most frequent label


def test_without_figures_there_is_no_script(tmp_path):
    csv_files.write(FREEZING, synthetic.finetune()[1], tmp_path / "freezing.csv")
    assert "<script" not in report.build(tmp_path)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize("transfer", ["zero-shot", "translate-train-all"])
def test_the_headline_says_what_is_not_zero_shot(transfer, tmp_path):
    csv_files.write(GRIDSEARCH, synthetic.gridsearch().assign(transfer=transfer), tmp_path / "gridsearch.csv")
    html = report.build(tmp_path)[0].read_text(encoding="utf-8")
    assert ("Not zero-shot" in html) == (transfer != "zero-shot")


def test_only_the_search(tmp_path):
    csv_files.write(GRIDSEARCH, synthetic.gridsearch(), tmp_path / "gridsearch.csv")
    html = report.build(tmp_path)[0].read_text(encoding="utf-8")
    assert "No baseline was measured" in html
    assert "Ranks 1 to 20, of 35 candidates." in html


def test_names_from_the_data_cannot_become_markup(tmp_path):
    evil = "</script><script>alert(1)</script>"
    confusion = synthetic.confusion().replace("refund status", evil)
    csv_files.write(CONFUSION, confusion, tmp_path / "confusion.csv")
    csv_files.write(CORPUS, synthetic.corpus().replace("refund status", evil), tmp_path / "corpus.csv")
    assert "<script>alert(1)" not in report.build(tmp_path)[0].read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("trained", "transfer", "expected"),
    [
        (["es"], "zero-shot", "es"),
        (["es"], "translate-test", "es"),
        (["es", "de"], "translate-train-all", "en"),
        (["de"], "translate-train-de", "en"),
    ],
)
def test_the_source_language_without_a_winner(trained, transfer, expected):
    corpus = pd.DataFrame({"language": [*trained, "fr"], "split": ["train"] * len(trained) + ["dev"]})
    frames = {"corpus": corpus.assign(transfer=transfer)}
    assert source_language(frames, {}) == expected
    assert source_language(frames, {"source_language": "ur"}) == "ur"


def test_the_whole_space_in_seven_languages_with_long_names_stays_small(whole_run_dir):
    path, *_ = report.build(whole_run_dir)
    data = json.loads(
        path.read_text(encoding="utf-8").split('id="candidates-data">')[1].split("</script>")[0]
    )
    assert len(data["rows"]) == 3825 - 5
    assert {"mean", "zh-Hant-TW"} < set(data["languages"])
    assert len(data["languages"]) == 1 + 7
    assert path.stat().st_size < 5_000_000


def test_nothing_to_report_and_broken_tables_are_errors(tmp_path):
    with pytest.raises(ValueError, match="accepted: .*corpus.csv"):
        report.build(tmp_path)
    (tmp_path / "freezing.csv").write_text("system\nx\n")
    with pytest.raises(ValueError, match=r"freezing.csv: header, column seed: missing"):
        report.build(tmp_path)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(("content", "given"), [("{", "Expecting property name"), ("[]", "list")])
def test_a_damaged_record_is_named(tmp_path, content, given):
    (tmp_path / "stages").mkdir()
    (tmp_path / "stages" / "prepare.json").write_text(content)
    with pytest.raises(ValueError, match=rf"prepare\.json: damaged \({given}"):
        stages(tmp_path)


def test_an_ensemble_is_told_in_words_and_a_winner_below_the_reference_is_never_left_looking_good(tmp_path):
    searched = synthetic.with_ensemble(synthetic.gridsearch())
    folder = synthetic.write_run(tmp_path / "run", searched)
    page = report.build(folder)[0].read_text(encoding="utf-8")
    headline = re.sub(
        r"\s+", " ", re.sub(r"<[^>]+>", "", page.split('class="headline"')[1].split("</section>")[0])
    )
    assert "the ensemble won: the mean of 100 linear candidates" in headline
    assert "over layers 6, 8, 11 under max, mean, cls" in headline
    assert "6+6+6" not in headline
    path = folder / "protocols_overall.csv"
    for ends, said in (
        ((0.01, 0.005, 0.02), "beats the reference"),
        ((0.0, -0.01, 0.01), "does not beat the reference"),
        ((-0.02, -0.03, -0.01), "is below the reference"),
    ):
        rows = csv_files.read(PROTOCOL_CHOICES.overall, path)
        names = [f"versus_reference{end}" for end in ("", "_low", "_high")]
        rows.loc[rows["used"], names] = ends
        csv_files.write(PROTOCOL_CHOICES.overall, rows, path)
        page = report.build(folder)[0].read_text(encoding="utf-8")
        headline = page.split('class="headline"')[1].split("</section>")[0]
        told = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", "", headline))
        assert f"The winner {said}" in told
        assert f"({points(ends[1])} to".replace("(", "interval ") in told
        assert ('role="alert">The winner' in headline) == (ends[1] <= 0)
