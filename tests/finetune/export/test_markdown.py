from pathlib import Path

import pytest
from huggingface_hub import ModelCard, metadata_load

from mcbert.finetune.export.markdown import (
    front_matter,
    is_of_hub,
    licence,
    measured,
    table,
    with_pairs,
    with_prompt,
)

HUB = Path("hub/models--who--what/snapshots/0")


def test_metadata_is_yaml_and_what_is_empty_is_left_out(tmp_path):
    given = {"language": ["en", "no"], "license": "mit", "base_model": "", "tags": [], "name": 'a: "b" #c'}
    path = tmp_path / "README.md"
    path.write_text(front_matter(given) + "\n\n# It\n", encoding="utf-8")
    assert metadata_load(path) == {name: value for name, value in given.items() if value}


def test_the_hub_takes_the_index_of_scores(tmp_path):
    path = tmp_path / "README.md"
    index = measured("mine", "accuracy", {"de": 0.5, "zh": 1 / 3})
    path.write_text(front_matter({"model-index": index}) + "\n\n# Mine\n", encoding="utf-8")
    results = ModelCard.load(path).data.eval_results
    assert [(r.dataset_config, r.metric_type, r.metric_value) for r in results] == [
        ("de", "accuracy", 0.5),
        ("zh", "accuracy", 0.333333),
    ]
    assert measured("mine", "accuracy", {}) == []


def test_cells_stay_cells():
    assert table(["a", "b"], [["x|y", 1]]) == "| a | b |\n| --- | --- |\n| x\\|y | 1 |\n"


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
    assert is_of_hub(HUB)
    assert not is_of_hub(Path("samples/encoder"))
    assert "https://huggingface.co/who/what." in licence("who/what", HUB)


def test_a_card_tells_of_the_prompt_that_whoever_gives_ids_must_put_there():
    assert with_prompt("# A model\n", "") == "# A model\n"
    card = with_prompt("# A model\n", "query: ")
    assert card.startswith("# A model\n\n## Prompt\n")
    assert '`"query: "`' in card


def test_a_card_says_whether_the_model_reads_pairs():
    assert with_pairs("# A model\n", None) == "# A model\n"
    assert "Trained on pairs of texts: `text` and `text_pair`" in with_pairs("# A model\n", True)
    assert "Trained on single texts, no pairs." in with_pairs("# A model\n", False)
