import pandas as pd
import pytest

from mcbert.features.corpus.corpus import Corpus
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.texts import DevTexts, require_protocol, watched_dev

SOURCE_ONLY = [("train", "en"), ("dev", "en"), ("test", "de"), ("test", "zh"), ("dev", "de")]
WHOLE = [*SOURCE_ONLY, ("dev", "zh")]


def table(rows, n=1, ids="{number}-{language}"):
    """`n` texts of each split and language; ids tell translations unless they are numbered on."""
    return pd.DataFrame(
        [
            (ids.format(number=number, language=language, row=row), "a", language, split)
            for row, (split, language) in enumerate(rows)
            for number in range(n)
        ],
        columns=["id", "label", "language", "split"],
    )


def require(rows, freezes=True, **settings):
    dev = DevTexts.of(rows if isinstance(rows, pd.DataFrame) else table(rows), "en")
    require_protocol(FinetuneSettings(**settings), dev, freezes=freezes)


def test_dev_texts_of_every_target_language_are_needed():
    said = r"^finetune\.protocol: got target-dev, but the corpus has no dev rows of 'zh'; accepted: last, so"
    with pytest.raises(ValueError, match=said):
        require(SOURCE_ONLY, protocol="target-dev")
    with pytest.raises(ValueError, match="got target-dev, .*source language only"):
        require(SOURCE_ONLY[:2], protocol="target-dev")
    require(WHOLE, protocol="target-dev")
    for protocol in ("last", "source-dev"):
        require(SOURCE_ONLY, protocol=protocol)


def test_a_rule_that_watches_needs_them_where_something_freezes():
    watching = {"freeze_rule": "plateau", "freeze_groups": ((1,),), "freeze_watch": "target-dev"}
    with pytest.raises(ValueError, match=r"^finetune\.freeze_watch: got target-dev, .* accepted: source-dev"):
        require(SOURCE_ONLY, **watching)
    require(SOURCE_ONLY, freezes=False, **watching)
    require(WHOLE, **watching)


@pytest.mark.parametrize(
    ("found", "refused"),
    [
        (table(WHOLE, n=20), False),
        (table(WHOLE, n=19), True),  # too few to choose by
        (table(WHOLE, n=20, ids="{row}.{number}"), True),  # no translations of one another
        (table([("train", "en"), ("test", "de"), ("dev", "de")], n=20), True),
    ],
    ids=["translated", "too few", "unrelated", "no source dev"],
)
def test_agreement_needs_dev_texts_with_translations(found, refused):
    watching = {"freeze_rule": "slope", "freeze_groups": ((1,),), "freeze_watch": "agreement"}
    for key, settings in (("protocol", {"protocol": "agreement"}), ("freeze_watch", watching)):
        if refused:
            with pytest.raises(ValueError, match=rf"^finetune\.{key}: got agreement, .* accepted: "):
                require(found, **settings)
        else:
            require(found, **settings)


def parallel(n=20, languages=("en", "de", "zh")):
    """A corpus of two labels, 3 to 1, whose dev texts are translations of one another."""
    rows = [(f"t{k}", f"text {k}", "xy"[k % 2], "en", "train") for k in range(8)]
    rows += [
        (f"d{k}-{language}", f"{language} {k}", "xxxy"[k % 4], language, "dev")
        for language in languages
        for k in range(n)
    ]
    table = pd.DataFrame(rows, columns=["id", "text", "label", "language", "split"])
    return Corpus.of(table, "en", "t.csv")


def drawn(corpus, n):
    return corpus.table.iloc[corpus.rows(split="dev")][watched_dev(corpus, n)]


def test_trainings_are_scored_on_the_same_items_of_every_language():
    rows = drawn(parallel(), 8)
    items = {
        name: {i.removesuffix(f"-{name}") for i in some["id"]} for name, some in rows.groupby("language")
    }
    assert items["en"] == items["de"] == items["zh"]
    assert rows.groupby(["language", "label"]).size().tolist() == [6, 2] * 3
    assert set(rows["id"]) < set(drawn(parallel(), 12)["id"])


@pytest.mark.parametrize("n", [0, 20, 999])
def test_no_number_or_a_large_one_means_all_dev_texts(n):
    assert len(drawn(parallel(), n)) == 60


def test_a_language_of_few_dev_texts_keeps_them():
    corpus = parallel()
    table = corpus.table.drop(corpus.rows(split="dev", language="zh")[3:])
    rows = drawn(Corpus.of(table, "en", "t.csv"), 8)
    assert rows["language"].value_counts().to_dict() == {"en": 8, "de": 8, "zh": 3}
