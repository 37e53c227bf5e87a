import dataclasses
import json

import pytest

from mcbert.pipeline.config import Config
from mcbert.results.recorded import SECTIONS, Recorded, differing_contents, differing_settings, in_words

TEXTS, OTHERS = "a" * 64, "b" * 64


def write(folder, **stages):
    (folder / "stages").mkdir(parents=True)
    for stage, inputs in stages.items():
        record = {"inputs": inputs, "outputs": {}, "seconds": 1.0}
        (folder / "stages" / f"{stage.replace('_', '-')}.json").write_text(json.dumps(record))
    return Recorded.read(folder)


def differing(*runs):
    return {one.name: one.values for one in differing_settings(runs)}


def test_sections_are_those_of_a_configuration():
    assert set(SECTIONS) <= {field.name for field in dataclasses.fields(Config)}


def test_only_settings_that_differ_are_told_by_their_dotted_names(tmp_path):
    one = write(tmp_path / "a", gridsearch={"gridsearch": {"top": 20, "layers": [6, 8]}, "texts": TEXTS})
    two = write(tmp_path / "b", gridsearch={"gridsearch": {"top": 20, "layers": [6]}, "texts": OTHERS})
    assert differing(one, two) == {"gridsearch.layers": ("6, 8", "6")}
    assert [row.values for row in differing_contents([one, two])] == [("a" * 8, "b" * 8)]


def test_digests_and_what_follows_from_settings_are_no_settings(tmp_path):
    runs = [
        write(
            tmp_path / name,
            finetune={
                "finetune": {"epochs": 3},
                "gridsearch": digest,
                "winner": digest,
                "files": {"raw.csv": digest},
                "encoder": {"path": "e", "encoder_weights": digest},
            },
        )
        for name, digest in (("a", TEXTS), ("b", OTHERS))
    ]
    assert differing(*runs) == {}
    assert [row.name for row in differing_contents(runs)] == ["encoder: weights"]


def test_a_stage_that_was_not_run_is_a_dash_and_no_difference_by_itself(tmp_path):
    runs = [
        write(tmp_path / "a", finetune={"finetune": {"epochs": 3, "seeds": [0]}}),
        write(tmp_path / "b", finetune={"finetune": {"epochs": 4, "seeds": [0]}}),
        write(tmp_path / "c", prepare={"prepare": {"raw": "x"}}),
    ]
    assert differing(*runs) == {"finetune.epochs": ("3", "4", "–")}


def test_entries_of_a_mapping_are_told_one_by_one_and_many_as_a_count(tmp_path):
    def run(name, freeze, translations):
        prepare = {"prepare": {"labelled": translations}}
        return write(tmp_path / name, finetune={"finetune": {"freeze": freeze}}, prepare=prepare)

    many = {f"x{k}": "t.csv" for k in range(205)}
    assert differing(run("a", {"2": [9, 11]}, {}), run("b", {}, many)) == {
        "prepare.labelled": ("0 entries, 205 differ", "205 entries, 205 differ"),
        "finetune.freeze.2": ("9, 11", "(none)"),
    }


@pytest.mark.parametrize(
    ("digest", "told"), [(TEXTS, {}), (OTHERS, {"prepare.raw": ("/a/x.csv", "/b/x.csv")})]
)
def test_the_same_texts_at_another_place_are_no_difference(tmp_path, digest, told):
    runs = [
        write(tmp_path / name, prepare={"prepare": {"raw": f"/{name}/x.csv"}}, extract={"texts": texts})
        for name, texts in (("a", TEXTS), ("b", digest))
    ]
    assert differing(*runs) == told


def test_a_stage_s_own_record_of_its_settings_counts(tmp_path):
    later = write(tmp_path / "a", tune={"finetune": {"epochs": 1}}, finetune={"finetune": {"epochs": 5}})
    assert later.settings["finetune.epochs"] == 5
    pairs = write(tmp_path / "b", pairs={"corpus": {"path": "nli"}}, prepare={"corpus": {"path": "texts"}})
    assert pairs.settings["corpus.path"] == "texts"
    assert pairs.settings["embeddings.corpus"] == {"path": "nli"}
    budget = write(tmp_path / "c", gridsearch={"budget": {"budget": 7}, "gridsearch": {"top": 20}})
    assert budget.settings == {"gridsearch.budget": 7, "gridsearch.top": 20}


def test_long_lists_are_shortened_unless_that_hides_the_difference(tmp_path):
    one, two = list(range(30)), [*range(15), 99, *range(16, 30)]
    assert in_words(one) == "0, 1, 2, 3, 4, 5, …, 29 (30 in all)"
    runs = [
        write(tmp_path / name, gridsearch={"gridsearch": {"layers": x}})
        for name, x in zip("ab", (one, two), strict=True)
    ]
    told = differing(*runs)["gridsearch.layers"]
    assert told[0] != told[1]
    assert "99" in told[1]
