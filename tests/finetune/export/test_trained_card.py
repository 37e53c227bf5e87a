import dataclasses
import re

import pandas as pd
import pytest

from finetune.export.trained_card import PROTOCOLS, Trained, describe_training, escaped
from finetune.finetune import Inputs, finetune
from finetune.settings import FinetuneSettings
from results.schema import PROTOCOLS as ALL_PROTOCOLS

LANGUAGES = ("en", "de", "zh")


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
    texts = [("en", "train")] * 7 + [(lang, split) for lang in LANGUAGES for split in ("dev", "test", "test")]
    given = {
        "system": system, "seed": seeds[0], "settings": FinetuneSettings(seeds=seeds, max_length=64),
        "curves": pd.DataFrame(rows), "events": pd.DataFrame(events),
        "texts": pd.DataFrame(texts, columns=["language", "split"]), "source_language": "en",
        "labels": ("cancel", "refund"), "stamp": {"encoder": "samples/encoder", "transfer": "zero-shot"},
    }  # fmt: skip
    return Trained(**given | changes)


def test_the_card_tells_data_protocol_scores_and_events():
    card = describe_training(make())
    assert card.startswith('---\nlibrary_name: "transformers"\n')
    assert 'language: ["en", "de", "zh"]' in card
    assert "# mcbert\\_wf of samples/encoder" in card
    assert "States of layers 6, 8, pooled by max and concatenated, a linear head that started random" in card
    assert "| en | 7 | 1 | 2 |" in card
    assert "| zh | 0 | 1 | 2 |" in card
    assert (
        "These weights are of seed 3, epoch 1, step 10. Protocol target-dev: chosen by dev texts of the"
        in card
    )
    assert "    learning_rate = 2e-05" in card
    assert "| de | 0.801 (0.811 ± 0.014) | 0.804 (0.814 ± 0.014) |" in card
    assert "| mean of targets | 0.751 (0.761 ± 0.014) | 0.754 (0.764 ± 0.014) |" in card
    assert "| 4 | 1 | 10 | 6 | schedule: after epoch 1 |" in card
    assert "- Texts are cut after 64 tokens." in card
    assert "- Lowest in zh, 0.704." in card
    assert "rests on 400 texts or more: by chance alone it is known to ± 0.023" in card
    assert "trust_remote_code=True" in card


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
        make(labels=("a|b", "<script>"), stamp={"encoder": "x\n# y", "transfer": "zero-shot"})
    )
    assert "Labels: a\\|b, \\<script\\>." in card
    assert "\n# y" not in card


def test_every_protocol_is_explained():
    assert set(PROTOCOLS) == set(ALL_PROTOCOLS)


def test_a_run_writes_a_card_for_each_model(encoder, corpus, winner, tmp_path):
    settings = FinetuneSettings(
        seeds=(0, 1), epochs=2, batch_size=8, learning_rate=1e-3, max_length=32, freeze={1: (3,)}
    )
    inputs = Inputs(corpus=corpus, source_language="en", winner=winner, encoder=encoder, out=tmp_path)
    stamp = {"run": "r", "config_digest": "abc", "encoder": "tiny", "version": "0", "transfer": "zero-shot"}
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
    assert "No layer was frozen" in cards["mcbert"]
    assert "classification head on its [CLS] state" in cards["baseline"]
    assert "States of layers 1, 3, pooled by max" in cards["mcbert"]
