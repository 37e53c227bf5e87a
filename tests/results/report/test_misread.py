import json
import re

import pandas as pd
import pytest

from mcbert.results import csv_files
from mcbert.results.report import misread, report
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import PREDICTIONS
from mcbert.results.schema.texts import CORPUS, TEXTS
from tests.results import synthetic

EVIL = ["</script><script>alert(1)</script>", '<img src=x onerror="alert(1)">', "{{ 7 * 7 }} & 'x'"]


def error(number, language="en", label="a", probability=0.5, text="short"):
    return {"id": f"t{number}", "language": language, "label": label, "predicted": "z", "unit": f"t{number}",
            "probability": probability, "text": text, "text_pair": ""}  # fmt: skip


def folder_of(tmp_path, rows=None, deploy=None):
    folder = tmp_path / "run"
    folder.mkdir()
    rows = synthetic.predictions(("probe", "mcbert")) if rows is None else rows
    csv_files.write(PREDICTIONS, rows[rows["system"] == "probe"], folder / "predictions_gridsearch.csv")
    csv_files.write(PREDICTIONS, rows[rows["system"] != "probe"], folder / "predictions_finetune.csv")
    csv_files.write(CORPUS, synthetic.corpus(), folder / "corpus.csv")
    if deploy:
        compared = [{"system": deploy, "model": f"models/{deploy}", "score": 0.5, "there": True}]
        record = {**compared[0], "protocol": "source-dev", "metric": "f1_micro", "compared": compared}
        (folder / "deploy.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def test_the_errors_are_those_of_the_model_to_deploy_and_of_its_kept_seed(tmp_path):
    rows = synthetic.predictions(("probe", "mcbert"))
    folder = folder_of(tmp_path, rows, deploy="probe")
    found = misread.errors(RunTables.read(folder))
    own = rows[rows["system"] == "probe"]
    wrong = own[own["label"] != own["predicted"]].sort_values("probability", ascending=False)
    assert (found["system"], found["model"]) == ("probe", "models/probe")
    assert (found["n_texts"], found["n_errors"], found["n"]) == (len(own), len(wrong), len(wrong))
    data = pd.DataFrame(found["data"]["rows"])
    assert data[3].tolist() == wrong["probability"].tolist()  # the most confident first
    assert sorted(data[4]) == sorted(wrong["text"])
    (folder / "deploy.json").unlink()
    found = misread.errors(RunTables.read(folder))  # without a choice the best on test
    first = rows[(rows["system"] == "mcbert") & (rows["seed"] == 0)]
    assert (found["system"], found["model"]) == ("mcbert", "")
    assert found["n_errors"] == (first["label"] != first["predicted"]).sum()


def test_errors_are_drawn_in_turn_from_languages_and_labels_the_most_confident_first(monkeypatch):
    monkeypatch.setattr(misread, "MOST", 5)
    many = [error(k, "en", "a", 0.9 - k / 1000) for k in range(50)]
    few = [error(100, "de", "a", 0.1), error(101, "de", "b", 0.2), error(102, "de", "b", 0.3)]
    drawn = misread.draw([*many, *few], ["en", "de"])
    assert [row["id"] for row in drawn] == ["t0", "t100", "t102", "t1", "t101"]
    assert misread.draw(list(reversed([*many, *few])), ["en", "de"]) == drawn


def test_long_texts_do_not_burst_the_page(monkeypatch):
    monkeypatch.setattr(misread, "MOST_BYTES", 100_000)
    long = [error(k, text="<" * 5_000, probability=1 - k / 1000) for k in range(20)]
    short = [error(k, language="de") for k in range(30, 40)]
    drawn = misread.draw([*long, *short], ["en", "de"])
    assert sum(misread.size(row["text"]) for row in drawn) <= 100_000
    assert len([row for row in drawn if row["language"] == "de"]) == 10
    assert len([row for row in drawn if row["language"] == "en"]) == 3  # six bytes a `<`


def test_probabilities_that_are_not_known_keep_the_order_of_the_ids():
    drawn = misread.draw([error(k, probability=float("nan")) for k in (3, 1, 2)], ["en"])
    assert [row["id"] for row in drawn] == ["t1", "t2", "t3"]


def test_texts_of_earlier_runs_come_from_texts_csv(tmp_path):
    rows = synthetic.predictions(("probe",))
    folder = folder_of(tmp_path, rows)
    path = folder / "predictions_gridsearch.csv"
    pd.read_csv(path).drop(columns=["text", "probability"]).to_csv(path, index=False)
    found = misread.errors(RunTables.read(folder))
    assert {row[4] for row in found["data"]["rows"]} == {""}
    texts = rows[["id", "text", "label", "language", "split"]].assign(text_pair="")
    csv_files.write(TEXTS, texts, folder / "texts.csv")
    found = misread.errors(RunTables.read(folder))
    assert {row[4] for row in found["data"]["rows"]} <= set(rows["text"])
    assert not found["probable"]
    translated = [row for row in found["data"]["rows"] if row[0] == "de"]
    assert all(row[6].startswith(synthetic.SENTENCES["en"]) for row in translated)  # what it translates
    page = report.build(folder)[0].read_text(encoding="utf-8")
    assert "The files of this run have no probabilities." in page


def test_a_translation_shows_both_texts_of_the_pair_that_it_translates_and_a_source_text_none(tmp_path):
    rows = synthetic.predictions(("probe",)).assign(predicted="no label of theirs")
    folder = folder_of(tmp_path, rows)
    texts = rows[["id", "text", "label", "language", "split"]].assign(text_pair=rows["id"] + " second")
    csv_files.write(TEXTS, texts, folder / "texts.csv")
    found = misread.errors(RunTables.read(folder))["data"]["rows"]
    of_source = {row[6] for row in found if row[0] == "en"}
    others = [row[6].split("\n") for row in found if row[0] != "en"]
    assert of_source == {""}
    assert len(others) > 0
    assert all(len(both) == 2 and both[1].endswith(" second") for both in others)
    assert set(map(tuple, others)) <= set(
        zip(*(texts.loc[texts["language"] == "en", name] for name in ("text", "text_pair")), strict=True)
    )


def test_texts_are_data_and_never_markup(tmp_path):
    rows = synthetic.predictions(("probe",))
    rows["text"] = [EVIL[k % len(EVIL)] for k in range(len(rows))]
    rows["label"] = rows["label"].replace("refund status", EVIL[0])
    page = report.build(folder_of(tmp_path, rows))[0].read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "<img src=x" not in page
    assert "49" not in re.findall(r"<div dir=\"auto\">(.*?)</div>", page)
    shown = json.loads(page.split('id="misread-data">')[1].split("</script>")[0])
    assert {row[4] for row in shown["rows"]} <= set(EVIL)


def test_a_system_without_errors_says_so(tmp_path):
    rows = synthetic.predictions(("probe",))
    folder = folder_of(tmp_path, rows.assign(predicted=rows["label"]))
    page = report.build(folder)[0].read_text(encoding="utf-8")
    assert "Probe (frozen) classified all 420 test texts correctly." in page
    assert 'id="misread-table"' not in page


@pytest.mark.parametrize("n_texts", [20_000])
def test_the_page_stays_small_however_many_texts_are_misclassified(tmp_path, n_texts):
    one = synthetic.predictions(("probe",)).query("language == 'en'").iloc[[0]]
    rows = pd.concat([one] * n_texts, ignore_index=True)
    rows = rows.assign(id=[f"t{k}" for k in range(n_texts)], predicted="delivery problem",
                       label="refund status",
                       text=[f"{k} " + "long text <b> " * 100 for k in range(n_texts)])  # fmt: skip
    folder = folder_of(tmp_path, rows)
    path = report.build(folder)[0]
    assert path.stat().st_size < 5_000_000
    page = path.read_text(encoding="utf-8")
    assert "misclassified 20,000 of 20,000 test texts" in page
    assert re.search(r"Here are [\d,]+ of them, as many as the page has room for", page)
