"""The report of runs with many labels, languages and layers: every section is there, and the page small."""

import dataclasses
import itertools
import shutil

import numpy as np
import pandas as pd
import pytest

from mcbert.results import csv_files, summaries
from mcbert.results.report import report
from mcbert.results.report.figures import draw
from mcbert.results.runs import RunTables
from mcbert.results.schema.search import CONFUSION, GRIDSEARCH, PREDICTIONS
from mcbert.results.schema.texts import CORPUS
from mcbert.results.schema.training import FINETUNE
from tests.results import synthetic

MOST_BYTES = 5_000_000


def names(n):
    return ["en", *(f"x{k:03}" for k in range(n - 1))]


def searched(n_languages, n_layers):
    """Candidates of single layers, with scores of many languages in place of seven."""
    first = synthetic.gridsearch(subsets=[(6,)], classifiers=("ridge",), n_errors=0)
    rng, rows = np.random.default_rng(0), []
    for rank, (layer, (_, row)) in enumerate(
        itertools.product(range(1, n_layers + 1), first.iterrows()), start=1
    ):
        kept = {name: value for name, value in row.items() if "_f1_micro_" not in name}
        f1 = {
            f"{s}_f1_micro_{name}": float(rng.random())
            for s in ("dev", "test")
            for name in names(n_languages)
        }
        means = {f"{s}_f1_micro_mean": float(rng.random()) for s in ("dev", "test")}
        one = {"layers": str(layer), "candidate_id": f"{layer}-{row['pooling']}-ridge", "rank": rank}
        rows.append({**kept, **one, **means, **f1})
    return pd.DataFrame(rows).astype({"rank": "Int64"})


def confused(n_labels, n_languages):
    """Counts of the winner: of each label most right, some given the next label."""
    labels = [f"label {k:04}" for k in range(n_labels)]
    template = synthetic.confusion().iloc[0].to_dict()
    rows = []
    for language in names(n_languages):
        for k, label in enumerate(labels):
            rows.append((language, label, label, 3 + k % 5))
            rows.append((language, label, labels[(k + 1) % n_labels], k % 3))
    frame = pd.DataFrame(rows, columns=["language", "label", "predicted", "n"])
    frame = frame.groupby(["language", "label", "predicted"], as_index=False)["n"].sum()
    rest = {name: value for name, value in template.items() if name not in frame}
    return frame.assign(**{**rest, "rank": 1, "split": "test"})


def write(folder, n_labels, n_languages, n_layers):
    folder.mkdir()
    csv_files.write(GRIDSEARCH, searched(n_languages, n_layers), folder / "gridsearch.csv")
    csv_files.write(CONFUSION, confused(n_labels, n_languages), folder / "confusion.csv")
    curves, _ = synthetic.finetune(epochs=2, seeds=(0,))
    dev = curves[(curves["split"] == "dev") & (curves["language"] == "en")]
    many = pd.concat([dev.assign(language=name) for name in names(n_languages)], ignore_index=True)
    csv_files.write(FINETUNE, many, folder / "finetune.csv")
    counts = synthetic.corpus().iloc[0].to_dict()
    rows = [counts | {"language": name, "split": split, "label": f"label {k:04}", "n_texts": 3 + k % 7}
            for name in names(n_languages)[:12] for split in ("train", "dev", "test")
            for k in range(n_labels)]  # fmt: skip
    csv_files.write(CORPUS, pd.DataFrame(rows), folder / "corpus.csv")
    csv_files.write(PREDICTIONS, predicted(n_labels, n_languages), folder / "predictions_gridsearch.csv")
    return folder


def predicted(n_labels, n_languages):
    """Ten texts of each language, long ones, all of them misclassified."""
    one = synthetic.predictions(("probe",)).iloc[0].to_dict()
    return pd.DataFrame(
        one | {"id": f"t{k}-{name}", "language": name, "label": f"label {k % n_labels:04}",
               "predicted": f"label {(k + 1) % n_labels:04}",
               "text": f"{k} " + "a longer text <b> & so on " * 60}
        for name in names(n_languages) for k in range(10 + n_labels // 2)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("n_labels", "n_languages", "n_layers"),
    [(2, 2, 4), (20, 3, 48), (77, 13, 24), (4, 205, 4), (1000, 3, 4)],
)
def test_a_page_is_made_whatever_the_size(tmp_path, n_labels, n_languages, n_layers):
    folder = write(tmp_path / "run", n_labels, n_languages, n_layers)
    run = RunTables.read(folder)
    html, specs = report.render(run, report.provenance(folder, run))
    assert "could not be made" not in html
    assert len(html.encode()) < MOST_BYTES
    assert 'id="misread-table"' in html
    assert ("more are in gridsearch.csv" in html) == (n_languages > summaries.MOST_PANELS)
    for name in ("accuracies", "heat-best", "curve-ends"):
        assert (name in specs) == (n_languages > summaries.MOST_PANELS)
    shown = [name for name in specs if name.startswith("confusion-" if n_labels <= 20 else "labels-")]
    assert len(shown) == (n_languages if n_languages <= summaries.MOST_PANELS else 1 + summaries.LOWEST)
    for name in ("accuracies", "labels-en", "classes-train"):
        if name in specs:
            assert draw(specs[name]).startswith("<svg")


def test_of_many_labels_the_lowest_and_the_most_confused_are_listed():
    cells = summaries.confusion_of(confused(30, 2)).query("language == 'en'")
    scores = summaries.label_scores(cells)
    assert len(scores) == 30
    assert scores["f1"].is_monotonic_increasing
    one = scores.set_index("label").loc["label 0004"]  # 7 right, 1 given the next, none given it by label 3
    assert (one["recall"], one["precision"]) == (7 / 8, 1.0)
    assert one["f1"] == pytest.approx(2 * 7 / (8 + 7))
    pairs = summaries.confused_pairs(cells, 5)
    assert pairs["n"].tolist() == [2] * 5
    assert (pairs["label"] != pairs["predicted"]).all()
    assert pairs["share"].is_monotonic_decreasing


def test_a_label_that_is_never_given_has_no_f1():
    cells = {"language": "en", "label": ["a", "b"], "predicted": ["a", "a"], "n": [3, 2], "share": 1.0}
    scores = summaries.label_scores(pd.DataFrame(cells)).set_index("label")
    assert scores.loc["b"].tolist() == [0, 0, 0, 2]
    assert scores.loc["a", "precision"] == 3 / 5


def test_of_many_languages_the_source_and_the_lowest_have_panels():
    languages = names(20)
    scores = {name: k / 20 for k, name in enumerate(reversed(languages))}
    assert summaries.drawn_apart(languages, scores, "en") == ["en", *languages[-summaries.LOWEST :]]
    assert summaries.drawn_apart(languages[:12], scores, "en") == languages[:12]


def fails(*_):
    raise RuntimeError("no matrix\ntoday <b>")


def test_a_section_that_fails_says_so_in_its_place(run_dir, monkeypatch, caplog):
    failing = {"headline", "confusion", "training", "candidates"}
    broken = [dataclasses.replace(s, make=fails) if s.name in failing else s for s in report.SECTIONS]
    monkeypatch.setattr(report, "SECTIONS", broken)
    run = RunTables.read(run_dir)
    html, specs = report.render(run, report.provenance(run_dir, run))
    assert html.count("This section could not be made (RuntimeError: no matrix today &lt;b&gt;)") == 4
    assert "the section confusion could not be made" in caplog.text
    assert any(name.startswith("heat-") for name in specs)  # the others are there


@pytest.mark.parametrize("name", [section.name for section in report.SECTIONS])
def test_the_page_is_written_whatever_a_section_returns(run_dir, monkeypatch, name):
    broken = [
        dataclasses.replace(s, make=lambda *_: {"data": [], "n": 1}) if s.name == name else s
        for s in report.SECTIONS
    ]
    monkeypatch.setattr(report, "SECTIONS", broken)
    run = RunTables.read(run_dir)
    html, _ = report.render(run, report.provenance(run_dir, run))
    assert html.count("This section could not be made (") == 1
    assert '<section id="provenance"' in html


def test_broken_predictions_cost_only_the_sections_that_read_them(run_dir, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(run_dir, folder)
    (folder / "predictions_finetune.csv").write_text("no,such\n1,2\n", encoding="utf-8")
    html = report.build(folder)[0].read_text(encoding="utf-8")
    assert html.count("This section could not be made (TableError: ") == 3
    assert '<section id="search"' in html
