import pandas as pd
import pytest

from mcbert import results
from mcbert.results import overall, tables
from mcbert.results.schema import EFFECTS, MEAN, STAMP, STS, TABLE1, TABLES, TATOEBA, TOP

SUMMED = {"scores.csv", "top.csv", "effects.csv", "protocols.csv", "tune.csv", "table1.csv", "tatoeba.csv",
          "reductions.csv"}  # fmt: skip


def test_every_table_with_sums_has_a_declared_one_for_them():
    pairs = {table.file_name: table.overall for table in TABLES if table.overall}
    assert set(pairs) == SUMMED
    assert {table.file_name for table in pairs.values()} <= {table.file_name for table in TABLES}
    assert STS.overall is None
    assert STS.file_names == ("sts.csv",)
    assert TOP.file_names == ("top.csv", "top_overall.csv")


def test_no_text_counts_twice_and_nothing_is_lost(run_dir):
    for table in (EFFECTS, TOP, TABLE1):
        path = run_dir / table.file_name
        languages, means = (
            tables.read(table, path),
            tables.read(table.overall, path.with_stem(f"{path.stem}_overall")),
        )
        assert MEAN not in set(languages["language"])
        assert set(means["language"]) == {MEAN}
        both = overall.read(table, path)
        assert len(both) == len(languages) + len(means)
        assert dict(both.dtypes) == dict(languages.dtypes)
    assert not {"p_value", "p_holm"} & set(tables.read(TOP.overall, run_dir / "top_overall.csv"))


def test_a_sum_is_refused_among_what_it_sums_up_and_the_other_way_round(run_dir, tmp_path):
    means = (run_dir / "table1_overall.csv").read_text()
    (tmp_path / "table1.csv").write_text(means)
    problems = tables.validate(tmp_path / "table1.csv")
    assert "column language: given 'mean'; accepted: text other than mean, not empty" in problems[0]
    (tmp_path / "table1_overall.csv").write_text((run_dir / "table1.csv").read_text())
    assert "accepted: mean, not empty" in tables.validate(tmp_path / "table1_overall.csv")[0]


def found(**cells):
    row = dict.fromkeys(STAMP, "x") | {
        "transfer": "zero-shot", "system": "frozen", "layers": "3", "pooling": "max", "protocol": "last",
        "seed": None, "language": "deu", "split": "test", "direction": "to-en", "score": "cosine", "n": 4,
        "n_skipped": 0, "n_right": 3, "accuracy": 0.75, "error_rate": 0.25, "low": 0.0, "high": 0.5,
        "altered": 0.0, "stripped": 0.0,
    }  # fmt: skip
    return row | cells


def test_both_directions_together_sum_up_and_earlier_sums_go_when_there_are_none(tmp_path):
    path, beside = tmp_path / "tatoeba.csv", tmp_path / "tatoeba_overall.csv"
    rows = [found(), found(direction="from-en"), found(direction="both", n=8), found(language=MEAN)]
    written = overall.write(TATOEBA, pd.DataFrame(rows), path)
    assert written == [path, beside]
    assert tables.read(TATOEBA, path)["direction"].tolist() == ["to-en", "from-en"]
    assert tables.read(TATOEBA.overall, beside)["language"].tolist() == [
        "deu",
        MEAN,
    ]
    assert overall.write(TATOEBA, pd.DataFrame(rows[:2]), path) == [path]
    assert not beside.exists()
    assert len(overall.read(TATOEBA, path)) == 2


def test_a_refused_sum_leaves_both_files_as_they_were(tmp_path):
    path = tmp_path / "tatoeba.csv"
    overall.write(TATOEBA, pd.DataFrame([found(), found(language=MEAN)]), path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    for wrong in (found(language=MEAN, accuracy=2.0), found(accuracy=2.0)):
        rows = [found(direction="from-en"), found(direction="both"), wrong]
        with pytest.raises(tables.TableError, match="column accuracy"):
            overall.write(TATOEBA, pd.DataFrame(rows), path)
        assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_an_analyst_reads_the_means_by_their_name(run_dir):
    means = results.read("table1_overall", run_dir)
    assert set(means["language"]) == {MEAN}
    assert len(means) > 4
