"""A sample holds every smaller one and every label in its share, however the rows are ordered."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcbert.features.corpus.stratified import LEAST, drawn_train, stratified_sample

LABELS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=60)


def names_of(labels):
    return [f"text-{k}" for k in range(len(labels))]


def drawn(names, labels, n, **options):
    taken = stratified_sample(names, labels, n, **options)
    return {name for name, one in zip(names, taken, strict=True) if one}


@given(LABELS, st.integers(0, 70), st.integers(0, 70), st.integers(0, 3), st.integers(0, 3))
def test_a_larger_sample_holds_the_smaller_one(labels, n, m, seed, least):
    names = names_of(labels)
    small, large = (drawn(names, labels, k, seed=seed, least=least) for k in sorted((n, m)))
    assert small <= large
    assert len(large) == min(max(n, m), len(labels))


@given(LABELS, st.integers(0, 70), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_says_nothing(labels, n, random):
    names, order = names_of(labels), list(range(len(labels)))
    random.shuffle(order)
    again = drawn([names[k] for k in order], [labels[k] for k in order], n, least=1)
    assert again == drawn(names, labels, n, least=1)


@given(st.integers(5, 200), st.integers(5, 200), st.floats(0, 1))
def test_two_labels_have_their_shares_to_a_text(a, b, share):
    """Sainte-Lague keeps the quota of two parties: each has its share rounded down or up."""
    labels = ["a"] * a + ["b"] * b
    n = round(share * (a + b))
    taken = stratified_sample(names_of(labels), labels, n)
    assert abs(taken[:a].sum() - n * a / (a + b)) < 1


def test_many_labels_have_their_shares_nearly():
    counts = {"a": 700, "b": 200, "c": 70, "d": 30}
    labels = [label for label, count in counts.items() for _ in range(count)]
    taken = pd.Series(labels)[stratified_sample(names_of(labels), labels, 100)].value_counts()
    assert taken.to_dict() == {"a": 70, "b": 20, "c": 7, "d": 3}


def test_rare_labels_are_drawn_first():
    labels = ["a"] * 1000 + ["b"] * 2 + ["c"] * 3
    taken = np.array(labels)[stratified_sample(names_of(labels), labels, 10, least=2)]
    assert sorted(taken) == ["a"] * 6 + ["b"] * 2 + ["c"] * 2


def test_the_draw_is_that_of_every_machine():
    """Hashes and correctly rounded quotients alone decide; no generator of a library does."""
    names, labels = names_of("ab" * 6), list("ab" * 6)
    assert drawn(names, labels, 4) == {"text-0", "text-3", "text-5", "text-8"}
    assert drawn(names, labels, 4, seed=1) != drawn(names, labels, 4)


def drawn_rows(table, source_language, n):
    return drawn_train(table, source_language, n, seed=0, key="gridsearch.train_texts")


def corpus(languages=("en",), n=20):
    rows = [
        (f"{split}-{k}" + ("" if language == "en" else f"-{language}"), "xyz"[k % 3], language, split)
        for split in ("train", "dev", "test")
        for language in languages
        for k in range(n)
    ]
    return pd.DataFrame(rows, columns=["id", "label", "language", "split"])


def test_held_out_rows_are_all_taken_and_translations_follow_their_text():
    table = corpus(("en", "de", "fr"))
    rows = table[drawn_rows(table, "en", 7)]
    assert (rows["split"] == "dev").sum() == (rows["split"] == "test").sum() == 60
    train = rows[rows["split"] == "train"]
    assert train["language"].value_counts().to_dict() == {"en": 7, "de": 7, "fr": 7}
    of_language = {
        name: {i.removesuffix(f"-{name}") for i in some["id"]} for name, some in train.groupby("language")
    }
    assert of_language["en"] == of_language["de"] == of_language["fr"]
    alone = corpus()
    assert set(alone[drawn_rows(alone, "en", 7)].query("split == 'train'")["id"]) == of_language["en"]


def test_translations_alone_are_drawn_as_their_texts_would_be():
    table = corpus(("en", "de")).query("split != 'train' or language == 'de'")
    train = table[drawn_rows(table, "en", 6)].query("split == 'train'")
    assert len(train) == 6
    assert train["label"].value_counts().to_dict() == {"x": 2, "y": 2, "z": 2}


def test_ids_that_each_language_counts_for_itself_are_drawn_apart():
    table = corpus(("en", "de"))
    other = (table["language"] == "de") & (table["split"] == "train")
    table.loc[other, "label"] = table.loc[other, "label"].map({"x": "y", "y": "z", "z": "x"})
    assert len(table[drawn_rows(table, "en", 9)].query("split == 'train'")) == 9


def test_a_copied_text_counts_as_a_row():
    table = corpus()
    copies = table.query("split == 'train'").assign(id=lambda rows: rows["id"] + "+1")
    both = pd.concat([table, copies], ignore_index=True)
    assert len(both[drawn_rows(both, "en", 30)].query("split == 'train'")) == 30


@pytest.mark.parametrize(
    ("n", "said"), [(20, "all 20 train texts"), (21, "all 20 train texts"), (19, "19 of 20")]
)
def test_the_log_says_how_many_are_taken(caplog, n, said):
    caplog.set_level("INFO")
    table = corpus()
    assert drawn_rows(table, "en", n).sum() == 40 + min(n, 20)
    assert said in caplog.text


def test_too_few_for_the_labels():
    with pytest.raises(
        ValueError, match=rf"gridsearch.train_texts: got 5, accepted: 0 .* at least {3 * LEAST}"
    ):
        drawn_rows(corpus(), "en", 5)
