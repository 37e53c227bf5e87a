"""Model cards: figures are those of the tables, the hub reads the metadata, text from data stays text."""

import dataclasses
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import ModelCard, metadata_load
from hypothesis import given as drawn
from hypothesis import strategies as st
from transformers import AutoModelForSequenceClassification

from mcbert.features.corpus.corpus import Corpus
from mcbert.features.spec import FeatureSpec
from mcbert.finetune.calibration import Calibration
from mcbert.finetune.export import cards
from mcbert.finetune.export.cards import describe_searched, describe_training, escaped, licence, with_reading
from mcbert.finetune.jobs import FinetuneJob, Inputs
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.stage import finetune
from mcbert.finetune.winner import Architecture
from mcbert.results.schema.words import PROTOCOLS as ALL_PROTOCOLS

LANGUAGES = ("en", "de", "zh")
FEATURES = FeatureSpec.of("6+8", "max")
STAMP = {
    "encoder": "samples/encoder", "transfer": "zero-shot", "run": "mine", "versions": "mcbert 0.1",
    "config_digest": "abc",
}  # fmt: skip
HUB = Path("hub/models--who--what/snapshots/0")
HOSTILE = ["a|b", "<script>", "x\n# y", "`c`", "[d](e)", "*f*", "---\nlicense: mit\n---"]
LETTERS = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"), include_characters="\n")
CALIBRATION = Calibration(
    temperature=1.5, n_texts=9, before=0.25, after=0.125, abstaining=((0.4, 1.0, 0.5), (0.9, 0.0, 0.0))
)


def curves_of(system="mcbert_wf", seeds=(3, 4), layers="6+8", test=True):
    """Return two seeds' rows of finetune.csv: accuracy 0.9 less 0.1 a language, 0.02 more a seed."""
    rows = []
    for k, seed in enumerate(seeds):
        for epoch in (0, 1, 2):
            for split in ("dev", "test") if epoch == 1 and test else ("dev",):
                for n, language in enumerate(LANGUAGES):
                    accuracy = 0.9 - 0.1 * n + 0.02 * k + 0.001 * epoch + (0.003 if split == "test" else 0)
                    rows.append({
                        "system": system, "seed": seed, "epoch": epoch, "step": 10 * epoch, "split": split,
                        "language": language, "accuracy": accuracy, "n_texts": 400, "chosen": epoch == 1,
                        "layers": layers, "pooling": "max" if layers else "", "protocol": "target-dev",
                        "sample_of": None,
                        "log_loss": None,
                        "agreement": None,
                    })  # fmt: skip
    return pd.DataFrame(rows)


def corpus_of(labels=("cancel", "refund")):
    rows = [("en", "train", f"text {k % 5}", labels[0]) for k in range(7)]
    rows += [
        (language, split, f"{language} {split}", labels[0] if k < 3 else labels[1])
        for language in LANGUAGES
        for k, split in enumerate(("dev", "test", "test", "test"))
    ]
    frame = pd.DataFrame(rows, columns=["language", "split", "text", "label"])
    frame.loc[[1, 2], "label"] = labels[1]
    table = frame.assign(text_pair="", id=[str(k) for k in range(len(frame))])
    return Corpus.of(table[["id", "text", "text_pair", "label", "language", "split"]], "en", "texts.csv")


@pytest.fixture
def described(tmp_path):
    """Describe a training of two seeds, the first of which is in the folder."""

    def run(system="mcbert_wf", *, seeds=(3, 4), layers="6+8", test=True, curves=None, start="", **changes):
        if curves is None:
            curves = curves_of(system, seeds, layers, test)
        event = {"epoch": 1, "step": 10, "layers": "6", "reason": "schedule: after epoch 1"}
        given = {
            "system": system, "seed": seeds[0], "settings": FinetuneSettings(seeds=seeds, max_length=64),
            "architecture": Architecture(features=FEATURES, probe_protocol=None, start=start),
            "freeze": {}, "corpus": tmp_path, "source_language": "en", "encoder": tmp_path, "out": tmp_path,
            "stamp": STAMP,
        }  # fmt: skip
        names = {field.name for field in dataclasses.fields(FinetuneJob)}
        job = FinetuneJob(**given | {name: value for name, value in changes.items() if name in names})
        more = {name: value for name, value in changes.items() if name not in names}
        corpus = more.pop("texts", corpus_of())
        events = more.pop("events", pd.DataFrame([{"seed": seed, **event} for seed in seeds]))
        return describe_training(job, corpus, curves, events, **more)

    return run


def part(card, name):
    """Return what stands under a heading."""
    found = re.search(rf"^## {name}\n\n(.*?)(?=\n## |\Z)", card, re.M | re.S)
    assert found, name
    return found[1]


def rows_of(text):
    """Return the cells of the rows of a text's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def metadata_of(card, folder):
    (folder / "README.md").write_text(card, encoding="utf-8")
    ModelCard.load(folder / "README.md")  # the hub's own reading of it, the index of scores included
    return metadata_load(folder / "README.md")


def test_the_card_tells_data_protocol_scores_and_events(described):
    card = described(calibration=CALIBRATION)
    assert rows_of(part(card, "Data")) == [
        ["en", "7", "1", "3"],
        ["de", "0", "1", "3"],
        ["zh", "0", "1", "3"],
    ]
    assert "2 of the train texts repeat" in part(card, "Data")
    training = part(card, "Training")
    assert "seed 3, epoch 1, step 10" in training
    assert all(
        name in training for name in ("target-dev", cards.PROTOCOLS["target-dev"], cards.PROTOCOLS["last"])
    )
    assert "    learning_rate = 2e-05" in training
    assert rows_of(part(card, "Scores")) == [
        ["en", "0.901 (0.911 ± 0.014)", "0.904 (0.914 ± 0.014)"],
        ["de", "0.801 (0.811 ± 0.014)", "0.804 (0.814 ± 0.014)"],
        ["zh", "0.701 (0.711 ± 0.014)", "0.704 (0.714 ± 0.014)"],
        ["mean of targets", "0.751 (0.761 ± 0.014)", "0.754 (0.764 ± 0.014)"],
    ]
    assert "0.667 on its test texts" in part(card, "Scores")  # of the most frequent label
    assert rows_of(part(card, "Freezing")) == [
        [seed, "1", "10", "6", "schedule: after epoch 1"] for seed in "34"
    ]
    limits = part(card, "Limitations")
    assert all(fact in limits for fact in ("64 tokens", "zh, 0.704", "400 texts", "0.023"))
    said = part(card, "Probabilities")
    assert all(fact in said for fact in ("T = 1.5", "9 dev texts", "0.250 with T = 1", "0.125 with this T"))
    assert rows_of(said) == [["0.4", "1.000", "0.500"], ["0.9", "0.000", "-"]]
    assert all(
        word in card for word in ("layers 6, 8", "by max", "Labels: cancel, refund", "run mine", "abc")
    )


def test_dev_scores_of_a_sample_are_told_as_such(described):
    curves = curves_of()
    assert "of a sample" not in part(described(curves=curves), "Scores")
    curves.loc[curves["split"] == "dev", "sample_of"] = 2490
    assert "of a sample, at most 400 of 2490 texts a language" in part(described(curves=curves), "Scores")


def test_the_hub_reads_languages_and_test_scores(described, tmp_path):
    read = metadata_of(described(), tmp_path)
    assert (read["library_name"], read["pipeline_tag"]) == ("transformers", "text-classification")
    assert read["language"] == list(LANGUAGES)
    assert read["metrics"] == ["accuracy"]
    assert "base_model" not in read
    (index,) = read["model-index"]
    assert index["name"] == "mcbert_wf"
    scores = {row["dataset"]["config"]: row["metrics"][0]["value"] for row in index["results"]}
    assert scores == pytest.approx({"en": 0.904, "de": 0.804, "zh": 0.704})
    unscored = described(test=False, encoder=HUB, stamp=STAMP | {"encoder": "who/what"})
    read = metadata_of(unscored, tmp_path)
    assert read["base_model"] == "who/what"
    assert "model-index" not in read


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("baseline", set()),
        ("mcbert", {"layers", "start"}),
        ("mcbert_wf", {"freeze", "freeze_rule", "layers", "start"}),
    ],
)
def test_settings_that_say_nothing_of_a_system_are_left_out(described, system, told):
    lines = part(described(system), "Training").splitlines()
    names = {line.split(" = ")[0].strip() for line in lines if line.startswith("    ")}
    assert {"epochs", "dropout", "seeds"} <= names
    assert names & {"freeze", "freeze_rule", "layers", "start"} == told


def test_every_figure_of_the_scores_follows_the_tables(described):
    card = described(seeds=(3,), curves=curves_of(seeds=(3,)).assign(accuracy=0.5))
    cells = [cell for _, *scores in rows_of(part(card, "Scores")) for cell in scores]
    assert cells == ["0.500"] * 8


def test_what_is_not_there_is_not_told(described):
    card = described(test=False, seeds=(3,), events=pd.DataFrame())
    assert rows_of(part(card, "Freezing")) == []
    assert "±" not in card
    assert ["de", "0.801", "-"] in rows_of(part(card, "Scores"))
    assert rows_of(part(card, "Probabilities")) == []
    assert "Not calibrated" in part(card, "Probabilities")


def test_the_baseline_has_no_layers_and_needs_no_code(described):
    card = described("baseline", layers="")
    assert "[CLS]" in card
    assert "trust_remote_code" not in card
    assert "trust_remote_code=True" in described("mcbert")


@pytest.mark.parametrize(
    ("depth", "start", "said"),
    [(2, "", "2 hidden layers"), (0, "6-max-ridge", "6-max-ridge"), (0, "", "newly initialised")],
)
def test_the_head_is_described(described, depth, start, said):
    settings = FinetuneSettings(head_layers=depth, max_length=64)
    assert said in described(settings=settings, start=start)


def test_text_is_escaped():
    assert escaped("a|b `c` <d>\n# *e*") == "a\\|b \\`c\\` \\<d\\> \\# \\*e\\*"


@pytest.mark.parametrize("text", HOSTILE)
def test_texts_from_data_cannot_break_the_page_or_its_metadata(described, tmp_path, text):
    plain = described()
    card = described(
        texts=corpus_of(labels=(text, "refund")),
        start=text,
        stamp={name: text for name in STAMP},
        source_language=text,
    )
    assert (
        card.splitlines()[: plain.splitlines().index("---", 1) + 1]
        == plain.splitlines()[: plain.splitlines().index("---", 1) + 1]
    )
    headings = [line for line in card.splitlines() if line.startswith("#")]
    assert headings[1:] == [line for line in plain.splitlines() if line.startswith("##")]
    assert escaped(text) in card
    assert text not in card or escaped(text) == text
    assert metadata_of(card, tmp_path) == metadata_of(plain, tmp_path)


@drawn(text=st.text(LETTERS, min_size=1, max_size=20))
def test_a_candidate_of_any_name_is_read_back_from_the_metadata(text):
    record = {
        "candidate_id": text, "encoder": text, "layers": [1], "pooling": "max", "classifier": "mine",
        "params": {text: text}, "labels": [text, "b"], "source_language": "en", "target_languages": ["no"],
        "protocol": "last", "scores": {"test_f1_micro": {"no": 0.5}},
    }  # fmt: skip
    card = describe_searched(record, "linear", HUB, None)
    data = ModelCard(card).data
    assert (data.model_name, data.base_model, data.language) == (text, text, ["en", "no"])
    headings = [line for line in card.partition("\n---\n")[2].splitlines() if re.match("#+ ", line)]
    assert len(headings) == 7


def test_the_card_of_an_ensemble_says_that_it_is_one_and_of_what():
    layers = [layer for layer in range(5, 13) for _ in range(3)]
    record = {
        "candidate_id": "ensemble-members=100", "encoder": "e", "layers": layers,
        "pooling": "+".join(["max", "mean", "cls"] * 8), "classifier": "ensemble",
        "params": {"members": 100},
        "members": {"8-max-ridge-alpha=1000.0": 60, "9-cls-lda-shrinkage=0.5": 40},
        "labels": ["a", "b"], "source_language": "en", "target_languages": ["de"], "protocol": "agreement",
    }  # fmt: skip
    card = " ".join(describe_searched(record, "linear", HUB, None).split())
    assert (
        "the mean of 100 linear classifiers on pooled states of e, layers 5 to 12 under max, mean, cls"
        in card
    )
    assert "2 of them differ" in card
    assert "8-max-ridge-alpha=1000.0 (60 times), 9-cls-lda-shrinkage=0.5 (40 times)" in card
    assert "no label of a target language was read" in card
    assert "5, 5, 5" not in card


def test_every_protocol_is_explained():
    assert set(cards.PROTOCOLS) == set(ALL_PROTOCOLS)


@pytest.mark.parametrize(
    ("card", "said"),
    [
        ("---\nlanguage:\n- en\nlicense: cc-by-4.0\ntags: [x]\n---\n# It", "licence cc-by-4.0 by its card."),
        ("---\nlanguage: en\n---\nlicense: mit\n", "whose folder names no licence."),
        ("---\nlanguage: en\n---\nlicense: mit\n\n---\n", "whose folder names no licence."),
        ("license: mit\n", "whose folder names no licence."),
        (None, "whose folder names no licence."),
    ],
)
def test_the_licence_is_that_of_the_card_beside_the_weights(card, said, tmp_path):
    if card is not None:
        (tmp_path / "README.md").write_text(card, encoding="utf-8")
    text = licence("an_encoder", tmp_path)
    assert text.startswith("Encoder: an\\_encoder, ")
    assert said in text


def test_an_encoder_of_the_hub_is_linked():
    assert cards.is_of_hub(HUB)
    assert not cards.is_of_hub(Path("samples/encoder"))
    assert "https://huggingface.co/who/what." in licence("who/what", HUB)
    assert "(" not in licence("who/[x](y)", HUB).partition("https")[2].partition(" ")[0]


@pytest.mark.parametrize("prompt", ["query: ", "`\n# a `", 'say "x": '])
def test_a_card_tells_of_the_prompt_that_whoever_gives_ids_must_put_there(prompt):
    assert with_reading("# A model\n") == "# A model\n"
    card = with_reading("# A model\n", prompt=prompt)
    assert card.startswith("# A model\n\n## Prompt\n")
    (line,) = [line for line in card.splitlines() if line.startswith("    ")]
    assert json.loads(line) == prompt


def test_a_card_says_whether_the_model_reads_pairs():
    assert "pairs of texts" in part(with_reading("# A model\n", pairs=True), "What it reads")
    assert "single texts" in part(with_reading("# A model\n", pairs=False), "What it reads")


def code_of(card, folder):
    """Return the Python that a card tells to run, over a model's folder."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", part(card, "Use"), re.M)
    blocks = [block for block in blocks if "import" in block]
    return "\n".join(line[4:] for block in blocks for line in block.splitlines()).replace(
        "THIS_FOLDER", str(folder)
    )


def test_a_run_writes_a_card_for_each_model_whose_code_runs(encoder, corpus, winner, tmp_path):
    settings = FinetuneSettings(
        seeds=(0, 1), epochs=2, batch_size=8, learning_rate=1e-3, max_length=32, freeze={1: (3,)}
    )
    inputs = Inputs(corpus=corpus, source_language="en", winner=winner, encoder=encoder, out=tmp_path)
    stamp = STAMP | {"encoder": "tiny"}
    finetune(settings, inputs, execute=lambda run, jobs: ((job, run(job), None) for job in jobs), stamp=stamp)
    curves = pd.read_csv(tmp_path / "finetune.csv")
    own = curves[curves["chosen"] & curves["seed"].eq(0) & curves["split"].eq("test")]
    for system in settings.systems:
        folder = tmp_path / "models" / system
        card = (folder / "README.md").read_text(encoding="utf-8")
        scores = {language: test for language, _, test in rows_of(part(card, "Scores"))}
        for row in own[own["system"].eq(system)].itertuples():
            assert scores[row.language].startswith(f"{row.accuracy:.3f} (")
        assert "names no licence" in part(card, "Licence")
        frozen = [
            ["0", "1", "3", "3", "schedule: after epoch 1"],
            ["1", "1", "3", "3", "schedule: after epoch 1"],
        ]
        assert rows_of(part(card, "Freezing")) == (frozen if system == "mcbert_wf" else [])
        there = {}
        exec(code_of(card, folder), there)
        labels = AutoModelForSequenceClassification.from_pretrained(folder).config.id2label.values()
        assert there["classify"]("...")[0]["label"] in labels
