"""The command line, end to end on a tiny corpus and encoder, and fed with bad input."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib

import pandas as pd
import pytest

from mcbert.features.encoder.pooled import PooledEncoder
from mcbert.pipeline.cli import build_parser, config_of, main
from mcbert.pipeline.cluster.dask import LostClusterError
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.pipeline.stages import gridsearch
from mcbert.pipeline.stages.gridsearch import EVIDENCE
from tests import processes


@pytest.fixture
def project(tmp_path, encoder_folder, texts_table, monkeypatch):
    """A folder as a user has it: a table of texts, a local encoder, a TOML file."""
    monkeypatch.chdir(tmp_path)
    texts_table.drop(columns="text_pair").to_csv(tmp_path / "texts.csv", index=False)
    shutil.copytree(encoder_folder, tmp_path / "encoder")
    (tmp_path / "mine.toml").write_text(
        """
[corpus]
path = "texts.csv"
[encoder]
path = "encoder"
max_length = 32
[gridsearch]
ensemble = 0
layers = [1, 2, 4]
[finetune]
systems = ["baseline", "mcbert", "mcbert_wf"]
seeds = [0]
epochs = 2
batch_size = 8
learning_rate = 1e-3
[finetune.freeze]
1 = [1]
[cluster]
backend = "serial"
"""
    )
    return tmp_path


def run(*args):
    return main([*args])


UP_TO_DATE = """
import sys
from mcbert.pipeline.cli import main
heavy = ("torch", "transformers", "sklearn", "altair", "dask", "joblib")
print(main(sys.argv[1:]), [name for name in heavy if name in sys.modules])
"""


def one_line(capsys):
    err = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcbert: error:")]
    assert len(err) == 1, err
    return err[0]


@pytest.mark.slow
def test_finetune_runs_every_stage_once_and_the_reported_tables_validate(project, capsys, caplog):
    assert run("finetune", "--config", "mine.toml", "finetune.freeze={1 = [1]}", "gridsearch.top=3") == 0
    assert run("report", "--config", "mine.toml", "gridsearch.top=3") == 0
    folder = project / "results/runs/mine"
    grid = pd.read_csv(folder / "gridsearch.csv")
    assert len(grid) == 7 * 3 * 5
    assert grid["rank"].tolist() == sorted(grid["rank"])
    tune = pd.read_csv(folder / "finetune.csv")
    assert set(tune["system"]) == {"baseline", "mcbert", "mcbert_wf"}
    assert (folder / "report.html").stat().st_size > 10_000
    assert not (folder / "conclusions.csv").exists()  # nobody asked for those of the paper
    for stage in ("extract", "gridsearch", "finetune", "report"):  # a second time, without what takes seconds
        same = ["--config", "mine.toml", "finetune.freeze={1 = [1]}", "gridsearch.top=3"]
        done = subprocess.run(
            [sys.executable, "-c", UP_TO_DATE, stage, *same], capture_output=True, text=True, check=True
        )
        assert f"{stage}: up to date" in done.stderr
        assert done.stdout == "0 []\n"
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".svg", ".png"}
    assert run("validate", str(folder)) == 0
    assert "0 problems" in capsys.readouterr().out
    before = {p: p.stat().st_mtime_ns for p in folder.glob("*.csv")}
    assert run("finetune", "--config", "mine.toml", "gridsearch.top=3") == 0
    assert run("report", "--config", "mine.toml", "gridsearch.top=3") == 0
    assert {p: p.stat().st_mtime_ns for p in folder.glob("*.csv")} == before


@pytest.mark.parametrize(
    ("args", "settings"),
    [
        (["gridsearch", "--workers", "2"], {"workers": 2}),
        (["finetune", "--workers", "2", "--dask"], {"workers": 2, "backend": "dask"}),
        (["extract", "--workers", "2", "--wait", "3"], {"extract_workers": 2, "lock_wait": 3.0}),
        (["retrieval", "--workers", "2"], {"extract_workers": 2}),
        (["gridsearch", "--retry-errors"], {"retry_errors": True}),
        (
            ["extract", "--scheduler", "tcp://10.0.0.7:8786", "--insecure"],
            {"scheduler": "tcp://10.0.0.7:8786", "plain_tcp": True},
        ),
        (
            ["tune", "--scheduler", "tls://h:1", "--tls-ca", "a", "--tls-cert", "b", "--tls-key", "c"],
            {"scheduler": "tls://h:1", "tls_ca": "a", "tls_cert": "b", "tls_key": "c"},
        ),
    ],
)
def test_options_stand_for_settings_of_the_cluster(args, settings):
    assert config_of(build_parser().parse_args(args)).cluster == ClusterSettings(**settings)


@pytest.mark.parametrize(
    ("stage", "option"), [("extract", "--dask"), ("extract", "--retry-errors"), ("report", "--workers=2")]
)
def test_a_stage_has_no_option_that_would_do_nothing(stage, option, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([stage, option])
    assert f"unrecognized arguments: {option}" in capsys.readouterr().err


def test_a_command_that_was_renamed_is_named(capsys):
    with pytest.raises(SystemExit):
        main(["knobs", "--config", "demo"])
    assert "the command knobs is now called tune" in capsys.readouterr().err


def english(project, split="train"):
    """Leave no labelled German text that a choice could look at."""
    frame = pd.read_csv("texts.csv")
    frame[frame["language"].eq("en") | frame["split"].eq(split)].to_csv("texts.csv", index=False)


@pytest.mark.parametrize("kept", ["train", "test"])
def test_without_labelled_target_dev_texts_the_source_chooses_and_every_row_says_so(project, kept, capsys):
    english(project, kept)
    search = ["gridsearch.layers=[4]", "gridsearch.poolings=['mean']"]
    training = ["finetune.systems=['mcbert']", "finetune.epochs=1", "finetune.freeze={}"]
    assert run("finetune", "--config", "mine.toml", *search, *training) == 0
    said = capsys.readouterr().err
    line = "so en dev labels alone choose: source-dev"
    assert said.count(line) == (kept == "test")  # without a target language there is no other way
    assert said.find(line) < said.index("extract:")
    folder = project / "results/runs/mine"
    assert json.loads((folder / "winner.json").read_text())["protocol"] == "source-dev"
    for name in ("gridsearch", "confusion", "top", "finetune", "table1", "predictions_gridsearch"):
        rows = pd.read_csv(folder / f"{name}.csv")
        assert set(rows["protocol"]) == {"source-dev"}, name
    assert run("report", "--config", "mine.toml", *search, *training) == 0
    assert '<span class="tag">source-dev</span>' in (folder / "report.html").read_text()
    assert run("export", "--config", "mine.toml", *search, *training) == 0
    assert "source-dev" in (folder / "models/probe/README.md").read_text()
    # naming it makes no other search
    assert (
        run("gridsearch", "--config", "mine.toml", *search, *training, "gridsearch.protocol=source-dev") == 0
    )
    assert "gridsearch: up to date" in capsys.readouterr().err


def test_target_dev_without_its_labels_is_one_line_before_anything_is_extracted(project, capsys):
    english(project)
    assert run("gridsearch", "--config", "mine.toml", "gridsearch.protocol=target-dev") == 2
    assert "gridsearch.protocol: got 'target-dev' with no language but 'en' in results" in one_line(capsys)
    assert not list((project / "cache").glob("?" * 16))


def test_report_of_nothing_says_what_to_run_first(project, capsys):
    assert run("report", "--config", "mine.toml") == 2
    assert "results/runs/mine: nothing to report yet; run gridsearch or finetune first" in one_line(capsys)
    assert not (project / "results").exists()


def test_report_shows_a_search_alone_and_trains_nothing(project, capsys):
    budget = ["gridsearch.layers=[4]", "gridsearch.poolings=['mean']", "gridsearch.top=3"]
    assert run("gridsearch", "--config", "mine.toml", *budget) == 0
    folder = project / "results/runs/mine"
    digest = json.loads((folder / "run.json").read_text())["gridsearch.csv"]["config_digest"]
    before = {
        path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix and path.name != "run.json"
    }
    assert run("report", "--config", "mine.toml", *budget) == 0
    assert "configuration" not in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert not (folder / "finetune.csv").exists()
    page = (folder / "report.html").read_text()
    assert "<code>mcbert finetune</code>" in page.split("Not run: ")[1]
    assert all(f'<section id="{name}"' in page for name in ("misread", "search", "protocols", "corpus"))
    assert '<section id="paper"' not in page
    assert run("report", "--config", "mine.toml", "report.paper=true", *budget) == 0
    assert set(pd.read_csv(folder / "conclusions.csv")["number"]) == set(range(1, 9))
    assert '<section id="paper"' in (folder / "report.html").read_text()
    capsys.readouterr()
    assert run("report", "--config", "mine.toml") == 0  # another configuration: the results stay
    assert f"the results of configuration {digest}" in capsys.readouterr().err
    assert not (folder / "conclusions.csv").exists()  # and of another report nothing stays


def test_a_lost_cluster_is_one_line_and_status_1(monkeypatch, capsys):
    def lost(_):
        raise LostClusterError("dask: the scheduler went away; run the same command again to resume")

    monkeypatch.setattr(gridsearch, "gridsearch", lost)
    assert main(["gridsearch"]) == 1
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("mcbert:")]
    assert len(said) == 1
    assert said[0].startswith("mcbert: failed: dask: the scheduler went away; run the same command again")


FUSSY = """
from pathlib import Path
from sklearn.linear_model import RidgeClassifier

class Fussy(RidgeClassifier):
    def fit(self, X, y):
        if Path("full").exists():
            raise OSError("the disk is full")
        return super().fit(X, y)
"""


@pytest.mark.slow
def test_failed_candidates_run_again_when_told_and_only_then(project, monkeypatch):
    (project / "fussy.py").write_text(FUSSY)
    (project / "full").touch()
    failed = []
    monkeypatch.syspath_prepend(project)
    settings = ['gridsearch.classifiers=["ridge", "fussy"]', 'gridsearch.factories={fussy = "fussy:Fussy"}']
    for options in ((), (), ("--retry-errors",)):
        processes.finish(processes.mcbert("gridsearch", "--config", "mine.toml", *options, *settings))
        table = pd.read_csv("results/runs/mine/gridsearch.csv")
        assert len(table) == 7 * 3 * 2
        failed.append(table.loc[table["status"] == "error", "classifier"].unique().tolist())
        (project / "full").unlink(missing_ok=True)
    assert failed == [["fussy"], ["fussy"], []]


@pytest.mark.slow
def test_executors_agree(project):
    tables = {}
    for backend in ("serial", "loky", "dask"):
        overrides = [f"cluster.backend={backend}", "cluster.workers=2", "gridsearch.layers=[1, 4]"]
        overrides += ["gridsearch.ensemble=20"]
        assert run("gridsearch", "--config", "mine.toml", "--run", backend, *overrides) == 0
        table = pd.read_csv(f"results/runs/{backend}/gridsearch.csv")
        tables[backend] = table.drop(columns=["fit_seconds", "score_seconds"])
    pd.testing.assert_frame_equal(tables["serial"], tables["loky"])
    pd.testing.assert_frame_equal(tables["serial"], tables["dask"])
    for name in ("predictions.npz", *EVIDENCE):
        found = {
            (project / "results/runs" / backend / name)
            .read_bytes()
            .replace(f",{backend},".encode(), b",run,")
            for backend in tables
        }
        assert len(found) == 1, name


@pytest.mark.slow
def test_killed_at_random_moments_ends_the_same(project):
    def start(name):
        return processes.mcbert("finetune", "--config", "mine.toml", "--run", name)

    began = time.monotonic()
    processes.finish(start("whole"))
    seconds = time.monotonic() - began
    for share in (0.1, 0.35, 0.6, 0.85):
        child = start("killed")
        child.join(share * seconds)
        child.kill()
        child.join()
    processes.finish(start("killed"))
    for name in ("texts", "corpus", "gridsearch", "confusion", "finetune", "trainings", "freezing", "table1"):
        whole, killed = (pd.read_csv(f"results/runs/{run}/{name}.csv") for run in ("whole", "killed"))
        timings = ["seconds", "fit_seconds", "score_seconds"]
        pd.testing.assert_frame_equal(
            whole.drop(columns=timings, errors="ignore"), killed.drop(columns=timings, errors="ignore")
        )
    assert main(["validate", "results/runs/killed"]) == 0


def test_another_configuration_under_the_same_name_is_refused(project, capsys):
    assert run("prepare", "--config", "mine.toml") == 0
    texts = (project / "results/runs/mine/texts.csv").read_bytes()
    frame = pd.read_csv("texts.csv")
    frame.loc[0, "text"] = "something else"
    frame.to_csv("texts.csv", index=False)
    assert run("prepare", "--config", "mine.toml") == 2
    assert "prepare was run with another configuration (files.texts.csv" in one_line(capsys)
    assert (project / "results/runs/mine/texts.csv").read_bytes() == texts


def spoil(**changes):
    def inner(frame):
        for column, (row, value) in changes.items():
            frame[column] = frame[column].astype(object)
            frame.loc[row, column] = value
        return frame

    return inner


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda f: f.drop(columns="label"), "texts.csv: column 'label' is missing"),
        (spoil(text=(3, " ")), "texts.csv: row 4 (line 5): column text: it is empty"),
        (spoil(label=(30, "unheard")), "texts.csv: row 31 (line 32): column label: 'unheard' of split dev"),
        (spoil(id=(1, "train-refund-0-en")), "row 2 (line 3): column id: 'train-refund-0-en' is already in"),
        (spoil(split=(0, "Train")), "texts.csv: row 1 (line 2): column split: got 'Train'"),
        (
            lambda f: f[~f["id"].str.contains("train-cancel-[1-9]")],
            "column label: labels with one train row, at least 2 are needed: cancel",
        ),
    ],
)  # fmt: skip
def test_bad_corpora(project, capsys, change, said):
    change(pd.read_csv("texts.csv")).to_csv("texts.csv", index=False)
    assert run("prepare", "--config", "mine.toml") == 2
    assert said in one_line(capsys)


def test_a_target_language_without_dev_rows(project, capsys):
    frame = pd.read_csv("texts.csv")
    frame[~((frame["language"] == "de") & (frame["split"] == "dev"))].to_csv("texts.csv", index=False)
    assert run("gridsearch", "--config", "mine.toml", "gridsearch.protocol=target-dev") == 2
    line = one_line(capsys)
    assert "de" in line
    assert "dev" in line


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["extract.layers=[1, 9]"], "extract.layers: got 9; accepted: 0 (embeddings) to 4"),
        (["extract.layers=[-1]"], "extract.layers: got -1"),
        (["extract.layers=[2, 2]"], "extract.layers: got 2 twice, accepted: each entry once"),
        (["extract.poolings=['median']"], "extract.poolings: got 'median', accepted: max, mean, cls"),
        (["gridsearch.layers=[1, 9]"], "9"),
        (["gridsearch.classifiers=['svn']"], "gridsearch.classifiers: got 'svn'"),
        (
            ["encoder.path=nowhere/at-all"],
            "encoder.path: 'nowhere/at-all' is not a folder and cannot be fetched",
        ),
        (["finetune.epoch=2"], "unknown key finetune.epoch (did you mean epochs?)"),
        (["corpus.path=nowhere.csv"], "nowhere.csv: no such file"),
    ],
)
def test_bad_settings(project, capsys, overrides, said):
    assert run("gridsearch", "--config", "mine.toml", *overrides) == 2
    assert said in one_line(capsys)


def test_a_mended_setting_goes_on_in_the_same_run(project, capsys):
    assert run("gridsearch", "--config", "mine.toml", "gridsearch.layers=[1, 9]") == 2
    one_line(capsys)
    assert run("gridsearch", "--config", "mine.toml", "gridsearch.layers=[1]") == 0


def test_a_corpus_without_test_rows_is_searched_and_trained(project):
    frame = pd.read_csv("texts.csv")
    frame[frame["split"] != "test"].to_csv("texts.csv", index=False)
    overrides = ["gridsearch.layers=[4]", "finetune.systems=['baseline', 'mcbert']", "finetune.freeze={}"]
    assert run("finetune", "--config", "mine.toml", *overrides) == 0
    assert run("report", "--config", "mine.toml", *overrides) == 0
    folder = project / "results/runs/mine"
    assert not (folder / "table1.csv").exists()
    assert set(pd.read_csv(folder / "finetune.csv")["split"]) == {"dev"}


def test_debug_shows_the_traceback(project):
    with pytest.raises(ValueError, match="unknown key"):
        run("prepare", "--config", "mine.toml", "--debug", "encoder.pth=x")


def test_bad_run_names(project, capsys):
    assert run("prepare", "--config", "mine.toml", "--run", "../elsewhere") == 2
    assert "--run: got '../elsewhere'" in one_line(capsys)


def test_show_prints_the_resolved_configuration(project, capsys):
    assert run("show", "--config", "mine.toml", "finetune.epochs=9") == 0
    printed = capsys.readouterr().out
    assert tomllib.loads(printed)["finetune"]["epochs"] == 9
    (project / "shown.toml").write_text(printed, encoding="utf-8")
    assert run("show", "--config", "shown.toml") == 0
    assert capsys.readouterr().out == printed  # it is a configuration itself, and the same one


def test_validate_names_file_row_and_column(project, capsys):
    assert run("prepare", "--config", "mine.toml") == 0
    path = project / "results/runs/mine/texts.csv"
    lines = path.read_text().splitlines()
    lines[2] = lines[2].replace(",train", ",trane")
    path.write_text("\n".join(lines) + "\n")
    assert run("validate", str(path)) == 1
    out = capsys.readouterr().out
    assert "texts.csv: row 2" in out
    assert "column split" in out
    assert "1 problems" in out


def test_validate_without_files(project, capsys):
    (project / "empty").mkdir()
    assert run("validate", "empty") == 2
    assert "no CSV file in empty" in one_line(capsys)


def encode_slowly(arguments, said):
    """Run the command line, its encoder telling of each batch and slow."""
    processes.say_in(said)
    encode_into = PooledEncoder.encode_into

    def slow(*args):
        sys.stdout.write("encoding\n")
        sys.stdout.flush()
        time.sleep(0.3)
        encode_into(*args)

    PooledEncoder.encode_into = slow
    sys.exit(main(arguments))


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_extraction_between_two_batches(project, number, status):
    settings = ["extract.unit_rows=4", "extract.tokens_per_batch=24"]
    said = project / "said"
    child = processes.begin(encode_slowly, ["extract", "--config", "mine.toml", *settings], said)
    while not said.exists() or said.read_text().count("encoding\n") < 6:
        assert child.is_alive()
        time.sleep(0.01)
    began = time.monotonic()
    os.kill(child.pid, number)
    child.join()
    assert time.monotonic() - began < 10
    assert child.exitcode == status
    assert said.read_text().splitlines()[-1] == "mcbert: interrupted; run the same command again to resume"
    (cache,) = (project / "cache").glob("?" * 16)
    assert list(cache.glob("unit-*.h5"))
    assert run("extract", "--config", "mine.toml", *settings) == 0
    assert run("verify", str(cache)) == 0


def test_settings_may_stand_before_and_after_an_option(capsys):
    assert main(["show", "finetune.epochs=7", "--config", "demo", "finetune.batch_size=9"]) == 0
    shown = tomllib.loads(capsys.readouterr().out)["finetune"]
    assert (shown["epochs"], shown["batch_size"]) == (7, 9)
    for wrong in (["show", "a.b=1", "--config", "demo", "bare"], ["runs", "--nope", "a=1"]):
        with pytest.raises(SystemExit):
            main(wrong)
        assert "unrecognized arguments: " in capsys.readouterr().err


def test_a_search_of_texts_that_repeat_goes_on_from_its_ledger(project, texts_table, capsys):
    """Sixty dev rows are two texts, so that a matrix counts more rows than there are texts to label."""
    train = texts_table[texts_table["split"] == "train"].drop(columns="text_pair")
    rows = [(f"d{k}", f"said {k % 2}", sorted(set(train["label"]))[k % 2], "en", "dev") for k in range(60)]
    dev = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"])
    pd.concat([train[train["language"] == "en"], dev]).to_csv(project / "texts.csv", index=False)
    assert main(["gridsearch", "--config", "mine.toml"]) == 0
    run = project / "results/runs/mine"
    expected = pd.read_csv(run / "gridsearch.csv")["candidate_id"].tolist()
    (run / "stages/gridsearch.json").unlink()
    capsys.readouterr()
    assert main(["gridsearch", "--config", "mine.toml"]) == 0
    assert f"{len(expected)} of them known" in capsys.readouterr().err
    assert pd.read_csv(run / "gridsearch.csv")["candidate_id"].tolist() == expected
