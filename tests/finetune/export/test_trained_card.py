import dataclasses
import re

import pandas as pd
import pytest
from huggingface_hub import ModelCard, metadata_load

from mcbert.finetune.export.markdown import PROTOCOLS, escaped
from mcbert.finetune.export.trained_card import Trained, describe_training
from mcbert.finetune.jobs import Inputs
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.stage import finetune
from mcbert.results.schema.words import PROTOCOLS as ALL_PROTOCOLS

LANGUAGES = ("en", "de", "zh")
STAMP = {
    "encoder": "samples/encoder", "transfer": "zero-shot", "run": "mine", "versions": "mcbert 0.1",
    "config_digest": "abc",
}  # fmt: skip


def make(system="mcbert_wf", seeds=(3, 4), layers="6+8", test=True, **changes):
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
                    })  # fmt: skip
    events = [
        {"seed": s, "epoch": 1, "step": 10, "layers": "6", "reason": "schedule: after epoch 1"} for s in seeds
    ]
    train = [("en", "train", f"text {k % 5}", "cancel") for k in range(7)]
    held_out = [
        (lang, split, f"{lang} {split}", "cancel" if k < 3 else "refund")
        for lang in LANGUAGES
        for k, split in enumerate(("dev", "test", "test", "test"))
    ]
    given = {
        "system": system, "seed": seeds[0], "settings": FinetuneSettings(seeds=seeds, max_length=64),
        "curves": pd.DataFrame(rows), "events": pd.DataFrame(events),
        "texts": pd.DataFrame(
            [*train, *held_out], columns=["language", "split", "text", "label"]
        ).assign(text_pair=""), "source_language": "en",
        "labels": ("cancel", "refund"), "stamp": STAMP, "licence": "Encoder: under a licence.",
    }  # fmt: skip
    return Trained(**given | changes)


def metadata_of(card, folder):
    (folder / "README.md").write_text(card, encoding="utf-8")
    ModelCard.load(folder / "README.md")  # the hub's own reading of it, the index of scores included
    return metadata_load(folder / "README.md")


def test_the_card_tells_data_protocol_scores_and_events():
    card = describe_training(make())
    assert card.startswith('---\nlibrary_name: "transformers"\n')
    assert 'language: ["en", "de", "zh"]' in card
    assert "# mcbert\\_wf of samples/encoder" in card
    assert "States of layers 6, 8, pooled by max and concatenated, a linear head that started random" in card
    assert "Made by run mine, mcbert 0.1, configuration abc." in card
    assert "| en | 7 | 1 | 3 |" in card
    assert "| zh | 0 | 1 | 3 |" in card
    assert "2 of the train texts repeat others, as balancing the labels does." in card
    assert "Always giving a language's most frequent label is right for 0.667 of its test texts." in card
    assert "## Licence\n\nEncoder: under a licence.\n" in card
    assert (
        "These weights are of seed 3, epoch 1, step 10. Protocol target-dev: chosen by dev texts of the"
        in card
    )
    assert "lacks. The epoch, last: the last epoch is taken" in card
    assert "    learning_rate = 2e-05" in card
    assert "| de | 0.801 (0.811 ± 0.014) | 0.804 (0.814 ± 0.014) |" in card
    assert "| mean of targets | 0.751 (0.761 ± 0.014) | 0.754 (0.764 ± 0.014) |" in card
    assert "| 4 | 1 | 10 | 6 | schedule: after epoch 1 |" in card
    assert "- Texts are cut after 64 tokens." in card
    assert "- Lowest in zh, 0.704." in card
    assert "rests on 400 texts or more: by chance alone it is known to ± 0.023" in card
    assert "trust_remote_code=True" in card


def test_the_hub_reads_languages_and_test_scores(tmp_path):
    read = metadata_of(describe_training(make()), tmp_path)
    assert read["language"] == list(LANGUAGES)
    assert read["metrics"] == ["accuracy"]
    assert "base_model" not in read
    (index,) = read["model-index"]
    assert index["name"] == "mcbert_wf"
    scores = {row["dataset"]["config"]: row["metrics"][0]["value"] for row in index["results"]}
    assert scores == pytest.approx({"en": 0.904, "de": 0.804, "zh": 0.704})
    unscored = metadata_of(describe_training(make(test=False, base_model="who/what")), tmp_path)
    assert unscored["base_model"] == "who/what"
    assert "model-index" not in unscored


@pytest.mark.parametrize(
    ("system", "told"),
    [
        ("baseline", set()),
        ("mcbert", {"layers", "start"}),
        ("mcbert_wf", {"freeze", "freeze_rule", "layers", "start"}),
    ],
)
def test_settings_that_say_nothing_of_a_system_are_left_out(system, told):
    card = describe_training(make(system=system))
    names = {line.split(" = ")[0].strip() for line in card.splitlines() if line.startswith("    ")}
    assert {"epochs", "dropout", "seeds"} <= names
    assert names & {"freeze", "freeze_rule", "layers", "start"} == told


def test_every_figure_of_the_scores_follows_the_tables():
    one = make(seeds=(3,))
    half = dataclasses.replace(one, curves=one.curves.assign(accuracy=0.5))
    cells = re.findall(r"\| (0\.\d+)", describe_training(half))
    assert len(cells) == 8
    assert set(cells) == {"0.500"}


def test_what_is_not_there_is_not_told():
    none = make(test=False, seeds=(3,), events=pd.DataFrame())
    card = describe_training(none)
    assert "No layer was frozen during training." in card
    assert "- Not scored on test texts." in card
    assert "the only seed" in card
    assert "±" not in card
    assert "| de | 0.801 | - |" in card


def test_the_baseline_has_no_layers_and_needs_no_code():
    card = describe_training(make(system="baseline", layers=""))
    assert "The encoder's own classification head on its [CLS] state, fine-tuned" in card
    assert "trust_remote_code" not in card


@pytest.mark.parametrize(
    ("depth", "start", "said"),
    [
        (2, "", "2 hidden layers that started random"),
        (0, "6-max-ridge", "a linear head that started from 6-max-ridge"),
    ],
)
def test_the_head_is_described(depth, start, said):
    settings = FinetuneSettings(head_layers=depth, max_length=64)
    assert said in describe_training(make(settings=settings, start=start))


def test_texts_from_data_cannot_break_the_page():
    assert escaped("a|b `c` <d>\n# *e*") == "a\\|b \\`c\\` \\<d\\> \\# \\*e\\*"
    card = describe_training(
        make(labels=("a|b", "<script>"), stamp=STAMP | {"encoder": "x\n# y", "run": "<r>"})
    )
    assert "Labels: a\\|b, \\<script\\>." in card
    assert "\n# y" not in card
    assert "run \\<r\\>" in card


def test_every_protocol_is_explained():
    assert set(PROTOCOLS) == set(ALL_PROTOCOLS)


def test_a_run_writes_a_card_for_each_model(encoder, corpus, winner, tmp_path):
    settings = FinetuneSettings(
        seeds=(0, 1), epochs=2, batch_size=8, learning_rate=1e-3, max_length=32, freeze={1: (3,)}
    )
    inputs = Inputs(corpus=corpus, source_language="en", winner=winner, encoder=encoder, out=tmp_path)
    stamp = {
        "run": "r",
        "config_digest": "abc",
        "encoder": "tiny",
        "versions": "mcbert 0",
        "transfer": "zero-shot",
    }
    finetune(settings, inputs, execute=lambda run, jobs: ((job, run(job), None) for job in jobs), stamp=stamp)
    cards = {
        system: (tmp_path / "models" / system / "README.md").read_text(encoding="utf-8")
        for system in settings.systems
    }
    curves = pd.read_csv(tmp_path / "finetune.csv")
    own = curves[curves["chosen"] & curves["seed"].eq(0) & curves["split"].eq("test")]
    for system, card in cards.items():
        for row in own[own["system"].eq(system)].itertuples():
            assert re.search(rf"\| {row.language} \| .* \| {row.accuracy:.3f} \(", card)
    assert "| 0 | 1 | 3 | 3 | schedule: after epoch 1 |" in cards["mcbert_wf"]
    assert all("Encoder: tiny, whose folder names no licence." in card for card in cards.values())
    assert "No layer was frozen" in cards["mcbert"]
    assert "classification head on its [CLS] state" in cards["baseline"]
    assert "States of layers 1, 3, pooled by max" in cards["mcbert"]
