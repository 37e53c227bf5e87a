"""The cards of the samples: metadata that the hub reads, and figures that are those of the files."""

import json
import re

import pandas as pd
import pytest
from huggingface_hub import DatasetCard, ModelCard
from safetensors.torch import load_file
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mcbert.home import HOME

SAMPLES = HOME / "samples"
LICENCES = {"encoder": "apache-2.0", "intents": "cc-by-4.0", "nli": "cc-by-4.0", "sts": "cc-by-4.0"}
DATA = [name for name in LICENCES if name != "encoder"]
DATA_SECTIONS = (
    "Motivation",
    "Composition",
    "Collection",
    "Preprocessing",
    "Known errors and limits",
    "Use",
    "Licence and citation",
)
MODEL_SECTIONS = (
    "Intended use",
    "Out of scope",
    "How to use",
    "Training data",
    "Procedure",
    "Evaluation",
    "Limitations and bias",
    "Licence and citation",
)


def card(name):
    return (ModelCard if name == "encoder" else DatasetCard).load(SAMPLES / name / "README.md")


def texts(path):
    return pd.read_csv(SAMPLES / path, keep_default_na=False)


def words(cells):
    return cells.str.split().str.len()


def cells(name, first):
    """The cells of the one row of a table that begins so."""
    (row,) = re.findall(rf"^\| {re.escape(first)} \|(.*)\|$", card(name).text, re.MULTILINE)
    return [cell.strip() for cell in row.split("|")]


@pytest.mark.parametrize("name", LICENCES)
def test_the_hub_reads_licence_and_languages(name):
    data = card(name).data.to_dict()
    assert data["license"] == LICENCES[name]
    languages = {"en", *(path.stem for path in (SAMPLES / "intents" / "translations").iterdir())}
    assert set(data["language"]) == {"encoder": languages | {"hi", "ru"}, "intents": languages}.get(
        name, {"en"}
    )


@pytest.mark.parametrize("name", LICENCES)
def test_a_card_has_the_sections_that_readers_look_for(name):
    titles = re.findall(r"^## (.*)$", card(name).text, re.MULTILINE)
    assert titles == list(MODEL_SECTIONS if name == "encoder" else DATA_SECTIONS)


@pytest.mark.parametrize("name", DATA)
def test_a_card_says_that_a_language_model_wrote_the_texts(name):
    assert "large language model" in card(name).text
    assert card(name).data.to_dict()["language_creators"] == ["machine-generated"]


@pytest.mark.parametrize(("name", "files"), [("intents", ["raw"]), ("nli", ["train", "dev"]),
                                             ("sts", ["dev", "test"])])  # fmt: skip
def test_the_size_category_is_that_of_the_files(name, files):
    rows = sum(len(texts(f"{name}/{file}.csv")) for file in files)
    (size,) = card(name).data.to_dict()["size_categories"]
    assert size == ("n<1K" if rows < 1000 else "1K<n<10K")


def test_intents_of_the_raw_table():
    raw = texts("intents/raw.csv")
    for label, n in raw["label"].value_counts().items():
        assert cells("intents", label)[0] == str(n)
    assert cells("intents", "all")[0] == f"{len(raw):,}"
    n = words(raw["text"])
    said = (
        f"Texts have {n.min()} to {n.max()} words, half of them at most {n.median():.0f}, a fifth at most 6"
    )
    assert said in card("intents").text
    assert 0.18 < (n <= 6).mean() < 0.22


def test_intents_of_each_language():
    for path in (SAMPLES / "intents" / "translations").iterdir():
        assert len(texts(path)) == 422
    train, dev, test = cells("intents", "English")
    assert int(dev) + int(test) == 422
    assert cells("intents", "German, Spanish, French, Chinese, Arabic, Urdu, each") == ["0", dev, test]
    assert cells("intents", "all")[2:] == [f"{train} (808 after balancing)", dev, test]


def test_lengths_of_premises_and_hypotheses():
    pairs = pd.concat([texts("nli/train.csv"), texts("nli/dev.csv")])
    premises, hypotheses = words(pairs["premise"].drop_duplicates()), words(pairs["hypothesis"])
    text = " ".join(card("nli").text.split())
    assert f"Premises have {premises.min()} to {premises.max()} words, 12 on average" in text
    assert f"hypotheses {hypotheses.min()} to {hypotheses.max()}, between 7 and 8 on average" in text
    assert premises.mean() == pytest.approx(12, abs=0.5)
    assert 7 < hypotheses.mean() < 8
    means = hypotheses.groupby(pairs["label"]).mean()
    assert means["contradiction"] - means.drop("contradiction").max() == pytest.approx(1, abs=0.2)


def test_what_hypotheses_alone_give_away():
    train, dev = texts("nli/train.csv"), texts("nli/dev.csv")
    guess = make_pipeline(CountVectorizer(ngram_range=(1, 2)), LogisticRegression(max_iter=1000))
    share = guess.fit(train["hypothesis"], train["label"]).score(dev["hypothesis"], dev["label"])
    text = " ".join(card("nli").text.split())
    (said,) = re.findall(r"words and word pairs has accuracy (0\.\d+) on dev", text)
    assert share == pytest.approx(float(said), abs=0.01)


def test_negations_in_hypotheses():
    pairs = pd.concat([texts("nli/train.csv"), texts("nli/dev.csv")])
    negation = r"\b(?:not|no|never|nobody|nothing|none|neither|nor|nowhere|without|cannot|\w+n't)\b"
    has = pairs["hypothesis"].str.contains(negation, case=False).groupby(pairs["label"]).mean().mul(100)
    text = " ".join(card("nli").text.split())
    for label, said in (("entailment", "{}% of the entailed"), ("neutral", "{}% of the neutral"),
                        ("contradiction", "{}% of those that contradict")):  # fmt: skip
        assert said.format(round(has[label])) in text


def test_scores_of_similarity():
    dev, test = texts("sts/dev.csv"), texts("sts/test.csv")
    for least, first in enumerate(("0 to 0.8", "1 to 1.8", "2 to 2.8", "3 to 3.8", "4 to 4.8", "5")):
        there = [int(part["score"].between(least, least + 0.9).sum()) for part in (dev, test)]
        assert cells("sts", first)[1:] == [str(n) for n in there]
    assert cells("sts", "all")[1:] == [str(len(dev)), str(len(test))]
    both = pd.concat([dev, test])
    sentences = pd.concat([both["sentence1"], both["sentence2"]])
    assert sentences.is_unique
    n = words(sentences)
    said = f"Sentences have {n.min()} to {n.max()} words, half of them at most {n.median():.0f}"
    assert said in card("sts").text


def test_the_size_of_the_encoder():
    config = json.loads((SAMPLES / "encoder" / "config.json").read_text(encoding="utf-8"))
    text = " ".join(card("encoder").text.split())
    assert f"BERT of {config['num_hidden_layers']} blocks x {config['hidden_size']}" in text
    assert f"{config['num_attention_heads']} heads, feed-forward {config['intermediate_size']}" in text
    assert f"vocabulary of {config['vocab_size']:,}" in text
    assert f"{config['max_position_embeddings']} positions" in text
    weights = load_file(SAMPLES / "encoder" / "model.safetensors")
    assert f"{sum(tensor.numel() for tensor in weights.values()) / 1e6:.1f} million parameters" in text
    assert not any("pooler" in name or "predictions" in name for name in weights)


def test_the_pairs_of_the_encoder_add_up():
    counts = re.findall(r"^\| [A-Z][^|]+ \| ([\d,]+) \|", card("encoder").text, re.MULTILINE)
    assert len(counts) == 8
    (total,) = re.findall(r"([\d,]+) sentence pairs with English", card("encoder").text)
    assert sum(int(n.replace(",", "")) for n in counts) == int(total.replace(",", ""))
