"""The table of sentence encoders: systems in one table, published ones apart, in text and in the report."""

import pandas as pd
import pytest
from markupsafe import escape

from mcbert.results import csv_files
from mcbert.results.report import report
from mcbert.results.report.embeddings import APART, measured, published, side_by_side
from mcbert.results.runs import RunTables
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA
from mcbert.results.schema.words import STAMP

STAMPED = dict.fromkeys(STAMP, "x") | {"transfer": "zero-shot", "run": "mine"}
SYSTEMS = [("frozen", "enc", "12", "mean"), ("frozen", "enc", "6", "max"), ("fine-tuned", "ours", "6", "max"),
           ("other", "LaBSE<b>", "", "")]  # fmt: skip


FROZEN = {"protocol": "last", "seed": None}


def named(system):
    made = {"protocol": "source-dev", "seed": 0} if system[0] == "fine-tuned" else FROZEN
    return STAMPED | made | dict(zip(("system", "encoder", "layers", "pooling"), system, strict=True))


def sts_rows(systems=SYSTEMS):
    return [
        named(system) | {"split": split, "similarity": name, "n_pairs": 9, "pearson": 0.5, "altered": 0.1,
                         "spearman": 0.1 * k + (split == "test") * 0.01, "spearman_low": 0.0,
                         "spearman_high": 0.9,
                         "frozen_layers": "12", "frozen_pooling": "mean", "versus_frozen": 0.1 * k,
                         "versus_frozen_low": -0.2, "versus_frozen_high": 0.3}
        for k, system in enumerate(systems)
        for split in ("dev", "test")
        for name in ("cosine", "dot")
    ]  # fmt: skip


def tatoeba_rows(languages=("de", "fr", "mean"), systems=SYSTEMS):
    return [
        named(system) | {"language": language, "split": "test", "direction": direction, "score": score,
                         "n": 4, "n_skipped": 0, "n_right": 1, "accuracy": 0.7, "altered": 0, "stripped": 0,
                         "error_rate": 0.3 + 0.1 * k - 0.05 * (language == "mean"), "error_rate_low": 0.2,
                         "error_rate_high": 0.7}
        for k, system in enumerate(systems)
        for language in languages
        for direction in ("to-en", "both")
        for score in ("cosine", "margin")
    ]  # fmt: skip


def cut_rows(system=SYSTEMS[2], baselines=(("6", 0.1), ("12", 0.4))):
    return [
        named(system) | {"baseline_layers": layers, "baseline_pooling": pooling, "language": "mean",
                         "split": "test", "direction": "both", "score": "cosine", "error_rate": 0.4,
                         "baseline_error_rate": 0.5, "difference": -0.1, "reduction": value,
                         "reduction_low": value - 0.1, "reduction_high": value + 0.1}
        for layers, value in baselines
        for pooling in ("max", "mean")
    ]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    for table, rows in ((STS, sts_rows()), (TATOEBA, tatoeba_rows()), (REDUCTIONS, cut_rows())):
        csv_files.write_with_sums(table, pd.DataFrame(rows), tmp_path / table.file_name)
    return tmp_path


def test_a_line_per_system_by_test_cosine_and_the_mean_over_languages():
    frames = [pd.DataFrame(rows) for rows in (sts_rows(), tatoeba_rows(), cut_rows())]
    lines = measured(*frames)
    assert [line[:4] for line in lines] == SYSTEMS
    assert lines[2][4:] == (
        "0.210 [0.000, 0.900]", "+0.200 [-0.200, +0.300]", "0.450 [0.200, 0.700]", "+0.400 [+0.300, +0.500]"
    )  # fmt: skip
    assert lines[3][7] == ""


def test_the_baseline_shown_is_the_last_layer_whatever_the_order():
    for baselines in ((("6", 0.1), ("12", 0.4)), (("12", 0.4), ("6", 0.1)), (("6+8", 0.1), ("12", 0.4))):
        (line,) = measured(None, pd.DataFrame(tatoeba_rows(systems=SYSTEMS[2:3])), pd.DataFrame(cut_rows(
            baselines=baselines)))  # fmt: skip
        assert line[7].startswith("+0.400")


def test_one_language_is_its_own_mean():
    lines = measured(None, pd.DataFrame(tatoeba_rows(languages=("de",))), None)
    assert [line[6][:5] for line in lines] == ["0.300", "0.400", "0.500", "0.600"]


def test_judged_frozen_systems_only_where_there_are_judgements():
    more = pd.DataFrame(tatoeba_rows(systems=[*SYSTEMS, ("frozen", "enc", "3", "cls")]))
    assert [line[:4] for line in measured(pd.DataFrame(sts_rows()), more, None)] == SYSTEMS
    assert len(measured(None, more, None)) == 5


def test_published_systems_stand_apart(folder):
    text = side_by_side(folder)
    ours, theirs = text.split("Published elsewhere")
    assert ours.count("\n| ") == 1 + len(SYSTEMS)
    assert theirs.count("\n| ") == 2 + len(published())
    assert "M-BERT, siamese on English NLI | cased | last | 0.725 | 0.542 |" in theirs
    assert "M-BERT" not in ours


def test_the_report_shows_both_and_escapes_names(folder):
    (path,) = report.build(folder)
    html = path.read_text(encoding="utf-8")
    section = html.split('<section id="embeddings">')[1].split("</section>")[0]
    ours, theirs = section.split('<tbody class="published">')
    assert "LaBSE&lt;b&gt;" in ours
    assert "<b>" not in section
    assert "0.450 [0.200, 0.700]" in ours
    assert "SBERT-NLI BERT-base" in theirs
    assert escape(APART) in section


def test_encoders_that_are_compared_are_not_taken_for_the_runs(folder):
    found = report.provenance(folder, RunTables.read(folder))["stamps"]
    assert found["run"] == ["mine"]
    assert found["encoder"] == []


def test_a_report_without_them_says_so(tmp_path):
    csv_files.write_with_sums(REDUCTIONS, pd.DataFrame(cut_rows()), tmp_path / REDUCTIONS.file_name)
    (path,) = report.build(tmp_path)
    page = path.read_text(encoding="utf-8")
    assert "<code>mcbert embeddings</code>" in page.split("Not run: ")[1]
    assert '<section id="embeddings"' not in page
