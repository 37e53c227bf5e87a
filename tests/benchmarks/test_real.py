"""benchmarks/real.py: what it reads, what it plans, what it writes, what it prints; on rows made here."""

import importlib
import json
import sys
import tomllib

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.files.toml import document
from mcbert.home import HOME
from mcbert.pipeline.config import load
from mcbert.search.outcome.predictions import Predictions

sys.path.append(str(HOME / "benchmarks"))
real, real_data, real_plan, real_tables = map(
    importlib.import_module, ("real", "real_data", "real_plan", "real_tables")
)

ENCODER = HOME / "samples" / "encoder"
SETTINGS = tomllib.loads(real.SETTINGS.read_text(encoding="utf-8"))
SEARCHED = list(SETTINGS["runs"][0]["systems"])
LABELS = ("contradiction", "entailment", "neutral")
XNLI_COLUMNS = (
    "language gold_label sentence1_binary_parse sentence2_binary_parse sentence1_parse sentence2_parse "
    "sentence1 sentence2 promptID pairID genre label1 label2 label3 label4 label5 "
    "sentence1_tokenized sentence2_tokenized match"
).split()


def xnli(folder, n=30, languages=(*SETTINGS["xnli"]["languages"], "fr")):
    """Write pairs in the official layout: MultiNLI's train, XNLI's dev and test."""

    def rows(split, language):
        for k in range(n):
            cells = dict.fromkeys(XNLI_COLUMNS, "")
            cells |= {"language": language, "gold_label": LABELS[k % 3], "pairID": k + 1, "promptID": k + 1}
            yield cells | {"sentence1": f"{split} {k} {language}", "sentence2": f'a "quote {k} {language}'}

    def write(path, cells, columns):
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = ["\t".join(columns), *("\t".join(str(row[c]) for c in columns) for row in cells)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    write(folder / "multinli_1.0" / "multinli_1.0_train.txt", rows("train", "en"), XNLI_COLUMNS[1:11])
    for split in ("dev", "test"):
        cells = [row for language in languages for row in rows(split, language)]
        write(folder / "XNLI-1.0" / f"xnli.{split}.tsv", cells, XNLI_COLUMNS)


def table(folder, rows):
    folder.mkdir(parents=True)
    frame = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"])
    frame.to_csv(folder / "corpus.csv", index=False)


def sib200(folder, n=15, languages=(*SETTINGS["sib200"]["languages"], "ace_Latn", "bod_Tibt")):
    """Write parallel texts, English ids without a suffix, train texts in English alone."""
    suffix = {language: f"-{language}" for language in languages} | {"en": ""}
    table(folder, [
        (f"sib-{split}{k}{suffix[language]}", f"{split} {k} {language}", "ab"[k % 2], language, split)
        for language in languages
        for split in (("train", "dev", "test") if language == "en" else ("dev", "test"))
        for k in range(n)
    ])  # fmt: skip


def ha_intents(folder, sizes=(("de", 40), ("ur", 12), ("zh-cn", 25))):
    """Write texts that translate nothing: targets have test texts alone."""
    english = [("en", split, k) for split in ("train", "dev", "test") for k in range(20)]
    targets = [(language, "test", k) for language, n in sizes for k in range(n)]
    table(folder, [
        (f"ha-{language}-{split}-{k:05}", f"{split} {k} {language}", f"intent{k % 4}", language, split)
        for language, split, k in (*english, *targets)
    ])  # fmt: skip


def by(frame, *columns):
    return frame.groupby(list(columns)).size().to_dict()


def test_xnli_is_read_from_its_official_layout_and_cut_in_its_order(tmp_path):
    xnli(tmp_path)
    found = real_data.read_xnli(tmp_path, SETTINGS["xnli"])
    assert by(found, "split") == {"train": 30, "dev": 180, "test": 180}
    assert sorted(found["language"].unique()) == sorted(SETTINGS["xnli"]["languages"])
    assert found["text_pair"].str.startswith('a "quote').all()
    cut = real_data.with_rung(found, {"train": 9, "dev": 0, "test": 4}, in_order=True)
    assert by(cut, "split") == {"train": 9, "dev": 180, "test": 24}
    assert set(cut.loc[(cut["split"] == "test") & (cut["language"] == "ur"), "text"]) == {
        f"test {k} ur" for k in range(4)
    }
    assert by(cut[cut["split"] == "train"], "label") == dict.fromkeys(LABELS, 3)


def test_sib200_is_cut_to_the_same_texts_of_every_language(tmp_path):
    sib200(tmp_path / "sib200")
    found = real_data.read_sib200(tmp_path / "sib200", SETTINGS["sib200"])
    assert found["language"].nunique() == 20
    cut = real_data.with_rung(found, {"train": 0, "dev": 4, "test": 5})
    for split, n in (("dev", 4), ("test", 5)):
        rows = cut[cut["split"] == split]
        assert set(by(rows, "language").values()) == {n}
        assert real_data.originals(rows).nunique() == n
    others = real_data.read_others(tmp_path / "sib200", SETTINGS["sib200"])
    assert by(others, "language", "split") == {("ace_Latn", "test"): 15, ("bod_Tibt", "test"): 15}


def test_ha_intents_targets_are_capped_and_split_by_label_whatever_the_order_of_rows(tmp_path):
    ha_intents(tmp_path / "ha")
    small = {"most": 30, "dev_share": 0.3, "least": 15}
    found = real_data.read_ha_intents(tmp_path / "ha", small)
    assert by(found[found["language"] == "en"], "split") == {"train": 20, "dev": 20, "test": 20}
    german = found[found["language"] == "de"]
    assert len(german) == 30
    for _, rows in german.groupby("label"):
        assert (rows["split"] == "dev").sum() == round(0.3 * len(rows))
    assert sorted(found["language"].unique()) == ["de", "en", "zh-cn"]  # 12 texts in Urdu leave too few
    path = tmp_path / "ha" / "corpus.csv"
    pd.read_csv(path).sample(frac=1, random_state=0).to_csv(path, index=False)
    again = real_data.read_ha_intents(tmp_path / "ha", small)
    key = ["id", "split"]
    assert again.sort_values(key)[key].to_numpy().tolist() == found.sort_values(key)[key].to_numpy().tolist()


def test_the_samples_are_the_corpus_of_the_demo():
    found = real_data.read_samples(HOME, SETTINGS["samples"])
    assert found["label"].nunique() == 4
    assert found["language"].nunique() == 7


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60), st.integers(1, 60))
def test_a_stratified_draw_keeps_the_shares_of_labels(labels, n):
    rows = pd.DataFrame({"id": [f"t{k}" for k in range(len(labels))], "label": labels})
    drawn = rows.loc[real_data.stratified(rows, n)]
    n = min(n, len(rows))
    assert len(drawn) == n
    sizes, kept = rows["label"].value_counts(), drawn["label"].value_counts()
    if n >= len(sizes):
        assert set(kept.index) == set(sizes.index)
    extra = len(sizes) if n >= len(sizes) else 0  # rows that small labels were given
    for label, size in sizes.items():
        assert -1 - extra < kept.get(label, 0) - size * n / len(rows) < 1 + extra
    shuffled = rows.sample(frac=1, random_state=1)
    assert set(shuffled.loc[real_data.stratified(shuffled, n), "id"]) == set(drawn["id"])


def speeds(cores=2, **changed):
    return real_plan.Speeds(**{"encoded": 1000.0, "trained": 100.0, "fixed": 5.0, "cores": cores, **changed})


def test_seconds_are_those_of_encoding_once_and_of_trainings_in_turn():
    load = real_plan.Load(train=1000, watched=500, scored=1000)
    one = 5 + 3 * 1000 / 100 + (3 * 500 + 1000) / 1000
    assert real_plan.seconds_of(speeds(1), load, epochs=3, trainings=4) == pytest.approx(2 + 4 * one)
    one = 5 + 3 * 1000 / 100 + (3 * 500 + 1000) / 500
    two = real_plan.seconds_of(speeds(2), load, epochs=3, trainings=4)
    assert two == pytest.approx(2 + 4 * one / (2 * real_plan.SHARE_OF_CORES))
    assert real_plan.seconds_of(speeds(2), load, epochs=3, trainings=1) == pytest.approx(2 + one)


def test_the_plan_is_the_first_rung_that_fits_and_says_where_none_does():
    ladder = [{"train": n, "dev": 0, "test": 0, "epochs": 3, "seeds": 3} for n in (4000, 2000, 1000)]
    loads = [real_plan.Load(train=10.0 * rung["train"], watched=0, scored=0) for rung in ladder]
    chosen = [
        real_plan.choose(ladder, loads, speeds(1, fixed=0), systems=1, seconds=seconds)
        for seconds in (4000, 2000, 1000, 10)
    ]
    assert [plan["train"] for plan in chosen] == [4000, 2000, 1000, 1000]
    assert [plan["fits"] for plan in chosen] == [True, True, True, False]
    assert chosen[0]["seconds"] == 40 + 3600


def test_tokens_are_counted_by_split_and_watched_by_language():
    n = {("train", "en"): 10, ("dev", "en"): 4, ("dev", "de"): 4, ("test", "en"): 3, ("test", "de"): 3}
    rows = [key for key, times in n.items() for _ in range(times)]
    table = pd.DataFrame(rows, columns=["split", "language"])
    tokens = {"train": 10.0, "dev": 2.0, "test": 1.0}
    assert real_plan.load_of(table, 0, tokens) == real_plan.Load(train=100, watched=16, scored=22)
    assert real_plan.load_of(table, 3, tokens) == real_plan.Load(train=100, watched=12, scored=22)
    assert real_plan.load_of(table, 9, tokens) == real_plan.Load(train=100, watched=16, scored=22)


@pytest.mark.parametrize("name", list(real_data.READERS))
def test_ladders_only_descend_and_give_up_three_seeds_last(name):
    ladder = SETTINGS[name]["ladder"]
    seeds = [rung["seeds"] for rung in ladder]
    assert seeds == sorted(seeds, reverse=True)
    assert all(n >= 3 for n in seeds[:-1])
    assert all(3 <= rung["epochs"] <= 5 for rung in ladder)


def benchmark(name, tmp_path, *options):
    given = ["--encoder", str(ENCODER), "--out", str(tmp_path / "out"), *options]
    args = real.arguments().parse_args(given)
    return real.Benchmark(name, tmp_path, args, SETTINGS, seconds=600)


@pytest.mark.parametrize("options", [(), ("--cut",)])
@pytest.mark.parametrize("name", list(real_data.READERS))
def test_every_configuration_is_one_that_the_product_takes(name, options, tmp_path):
    made = benchmark(name, tmp_path, "--prompt", 'say "query": ', *options)
    plan = {"blocks": 12, "eval": 50, "epochs": 1 if options else 3, "seeds": 3, "texts": {"train": 5000}}
    for run in SETTINGS["runs"]:
        path = tmp_path / "one.toml"
        path.write_text(document(made.configuration(run, plan)), encoding="utf-8")
        config = load(str(path))
        assert config.encoder.prompt == 'say "query": '
        assert config.gridsearch.layers == (5, 6, 7, 8, 9, 10, 11, 12)
        assert config.finetune.seeds == (0, 1, 2)
        assert set(run["systems"]) == set(config.finetune.systems)
        assert config.report.paper


def test_a_plan_of_an_out_folder_is_kept_and_other_seeds_refused(tmp_path):
    made = benchmark("samples", tmp_path, "--cut")
    first = made.plan()
    assert first["texts"] == {"train": 64, "dev": 72, "test": 36}
    (made.folder / "texts.csv").unlink()
    assert made.plan() == first
    assert not (made.folder / "texts.csv").exists()
    with pytest.raises(SystemExit, match="--seeds: got 4"):
        benchmark("samples", tmp_path, "--cut", "--seeds", "4").plan()


@pytest.mark.parametrize(("layers", "left"), [([5], ["baseline", "mcbert"]), ([6, 10], SEARCHED)])
def test_runs_begin_with_one_search_and_freeze_only_what_feeds_the_head(layers, left, tmp_path, monkeypatch):
    given, winner = [], {"layers": layers}
    if layers == [5]:  # the best of a mean of many
        winner = {"layers": list(range(13)), "best": winner}

    def command(self, stage, *words):
        run = tomllib.loads(words[1].read_text(encoding="utf-8"))["finetune"] | {"name": words[1].stem}
        given.append((stage, run))
        if stage == "gridsearch":
            (self.out / "runs" / self.label).mkdir(parents=True)
            (self.out / "runs" / self.label / "winner.json").write_text(json.dumps(winner))
        assert (self.out / "runs" / run["name"] / "winner.json").is_file()

    monkeypatch.setattr(real.Benchmark, "_mcbert", command)
    monkeypatch.setattr(real.real_tables, "figures", lambda *_, **__: {})
    monkeypatch.setattr(real.real_tables, "as_text", lambda *_, **__: "")
    benchmark("samples", tmp_path, "--cut").run()
    names = ["samples-cut", "samples-cut-paper"]
    assert [(stage, run["name"]) for stage, run in given] == [
        ("gridsearch", names[0]), *(("finetune", name) for name in names), ("report", names[0])
    ]  # fmt: skip
    trained = {run["name"]: run for stage, run in given if stage == "finetune"}
    assert trained[names[0]]["systems"] == left
    assert trained[names[1]]["systems"] == ["mcbert", "mcbert_wf"]
    assert trained[names[1]]["freeze"] == {"0": [9, 11, 12]}  # of a single epoch


@pytest.mark.parametrize("data", [(), ("--data", "nowhere")])
def test_a_benchmark_without_its_data_is_skipped_and_says_so(data, capsys):
    real.main(["--encoder", str(ENCODER), "--benchmark", "xnli", *data])
    printed = capsys.readouterr().out
    assert "skipped" in printed
    assert json.loads(printed.splitlines()[-1])["xnli"]["skipped"] == (
        "nowhere/xnli" if data else "no --data given"
    )


def rows(language, predicted, seed=0):
    texts = {"id": [f"{k}-{language}" for k in range(4)], "label": [*"aabb"], "predicted": [*predicted]}
    return pd.DataFrame({**texts, "language": language, "seed": seed})


def test_systems_are_compared_on_the_same_texts_over_the_targets():
    base = pd.concat([rows("en", "aabb"), rows("de", "aaaa"), rows("ur", "bbaa")])
    other = pd.concat([
        rows(language, predicted, seed)
        for seed in (0, 1)
        for language, predicted in (("en", "aaaa"), ("de", "aabb"), ("ur", "aabb" if seed else "bbbb"))
    ])  # fmt: skip
    found = real_tables.compared({"base": base, "other": other}, {"to_baseline": "base"}, "en")
    assert found["base"]["accuracy"] == {"en": 1.0, "de": 0.5, "ur": 0.0, "mean": 0.25}
    assert "to_baseline" not in found["base"]
    assert found["other"]["accuracy"] == {"en": 0.5, "de": 1.0, "ur": 0.75, "mean": 0.875}
    assert found["other"]["n_seeds"] == 2
    difference, low, high = found["other"]["to_baseline"]
    assert difference == 0.625
    assert low < difference < high
    assert found["base"]["f1_macro"]["de"] == pytest.approx((2 / 3 + 0) / 2, abs=1e-4)
    assert found["base"]["f1_macro"]["mean"] == pytest.approx(1 / 6, abs=1e-4)


def test_the_probe_of_each_protocol_is_the_candidate_that_it_chose():
    predictions = Predictions(
        candidates=("one", "two"),
        codes=np.array([[0, 1], [1, 1]], dtype=np.uint8),
        text=np.array([0, 1, 0]),
        y=np.array([0, 1, 1]),
        ids=np.array(["1", "2-de", "3-de"]),
        language=np.array(["en", "de", "de"]),
        split=np.array(["test", "test", "dev"]),
        languages=("en", "de"),
        labels=("a", "b"),
    )
    choices = pd.DataFrame(
        [("source-dev", "one"), ("target-dev", "two"), ("ensemble", "mean of all"), ("random", None)],
        columns=["protocol", "candidate_id"],
    )
    found = real_tables.probes(choices, predictions)
    assert list(found) == ["probe, source-dev", "probe, target-dev"]
    assert found["probe, source-dev"]["predicted"].tolist() == ["a", "b"]
    assert found["probe, target-dev"]["predicted"].tolist() == ["b", "b"]
    assert found["probe, target-dev"]["label"].tolist() == ["a", "b"]


def test_published_figures_stand_beside_those_of_the_papers_languages_alone():
    figures = real_tables.published(SETTINGS["xnli"]["languages"])
    targets = {"zh": 0.638, "es": 0.743, "de": 0.705, "ar": 0.621, "ur": 0.583}
    mean = round(sum(targets.values()) / 5, 4)
    assert figures["M-BERT, zero-shot"] == {"en": 0.814, **targets, "mean": mean}
    assert None not in {value for row in figures.values() for value in row.values()}
    assert real_tables.published(["en", "ha"]) == {}


@pytest.mark.slow
def test_speeds_are_measured_for_pairs_of_texts_too(tmp_path):
    xnli(tmp_path, n=90)
    table = real_data.read_xnli(tmp_path, SETTINGS["xnli"])
    found = real_plan.apart(real_plan.measure, ENCODER, "query: ", table)
    assert min(found.encoded, found.trained) > 0
    assert found.fixed >= 0
    assert found.cores == real_plan.cores()


@pytest.mark.slow
def test_phase_one_runs_from_a_folder_of_data_to_a_line_of_json(tmp_path, capfd):
    sib200(tmp_path / "data" / "sib200")
    options = ["--data", str(tmp_path / "data"), "--benchmark", "sib200", "--search-only", "--cut"]
    options += ["--encoder", str(ENCODER), "--out", str(tmp_path / "out")]
    real.main(options)
    first = json.loads(capfd.readouterr().out.splitlines()[-1])["sib200"]
    assert len(first["systems"]["probe, source-dev"]["accuracy"]) == first["plan"]["languages"] + 1
    assert {"source-dev", "target-dev", "random"} <= set(first["prices"])
    assert set(first["others"]) == {"ace_Latn", "bod_Tibt", "mean"}
