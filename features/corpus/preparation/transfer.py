"""Transfer to the target languages: zero-shot, translate-train or translate-test.

    python -m mcbert finetune --config demo --run translated prepare.transfer=translate-train

Zero-shot trains on source-language texts and reads every language as it is. Translate-train also trains on
translations of the training texts, of all target languages or of one alone. Translate-test trains as
zero-shot does and reads dev and test texts of the target languages translated into the source language.
Translations that the user supplies are a table matched by id, or, as XNLI-MT has it, line by line.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import pandas as pd

from mcbert.features.corpus.checks import usable_rows
from mcbert.features.corpus.corpus import Corpus
from mcbert.features.corpus.errors import BadRows, CorpusError, listed, printable, shown
from mcbert.features.corpus.formats.readers import read_table
from mcbert.features.corpus.formats.releases import NLI_SPELLING
from mcbert.features.corpus.repeats import Repeats
from mcbert.features.corpus.settings import PrepareSettings

log = logging.getLogger(__name__)

MOST_COMPARED = 1000
"""Ids of a table that a missing one is compared with for a message."""
MOST_REPEATED = 0.1
"""Share of translations that may equal their source, or each other, without a word."""
_COPY = re.compile(r"\+\d+$")
_ADVICE = "corpus.encoding may name another"
_OTHER_NAMES = {"premise": "text", "hypo": "text_pair"}  # XNLI-MT's


class Machine(Protocol):
    """Translator used where the user supplies no translations: `translation.MachineTranslation`."""

    def __call__(self, sentences: Sequence[str], source: str, target: str) -> list[str]:
        """Translate sentences from one language into another."""

    def name(self, source: str, target: str) -> tuple[str, str]:
        """Return the setting that names a pair's model, and the model, empty where none is named."""


def transferred(
    corpus: Corpus,
    settings: PrepareSettings,
    machine: Machine | None = None,
    *,
    repeats: Repeats | None = None,
    bad: BadRows | None = None,
    places: pd.DataFrame | None = None,
) -> Corpus:
    """Apply the protocol `settings.transfer` to a corpus.

    Parameters
    ----------
    repeats : Repeats, optional
        Treatment of dev and test texts that occur in train once it is translated; by default they stay.
    bad : BadRows, optional
        Takes down what is left out.
    places : DataFrame, optional
        Columns `rows.PLACE` by id: where texts of the corpus were read.

    Returns
    -------
    Corpus
        Its train rows are trained on, in whatever language. A translated train row has the id of its
        original, ``-`` and its language; a dev or test row keeps id, language, label and split.

    Raises
    ------
    CorpusError
        Translations that are needed and not there, or that cannot be used; nothing left to train on; leaks
        that are to be errors.
    """
    table = TRANSFERS[settings.transfer](corpus, settings, machine)
    name = f"prepare.transfer {settings.transfer}"
    if repeats is not None and settings.transfer == "translate-train":
        before, table = len(table), repeats.without_leaks(_placed(table, places), name, bad)
        name += ", without the texts left out" if len(table) < before else ""
    out = Corpus.of(table, corpus.source_language, name)
    for split in ("train", "dev", "test"):
        counts = [(language, len(out.rows(split, language))) for language in out.languages]
        shown_counts = ", ".join(f"{n} {language}" for language, n in counts if n)
        log.info("prepare: %s: %s texts: %s", settings.transfer_name, split, shown_counts or "none")
    return out


def _placed(table: pd.DataFrame, places: pd.DataFrame | None) -> pd.DataFrame:
    """Add where each text was read; translations made here have no place, and nobody asks for theirs."""
    if places is None:
        return table
    found = places.reindex(table["id"]).reset_index(drop=True)
    return table.assign(
        _file=found["_file"], **{name: found[name].fillna(0).astype("int64") for name in ("_row", "_line")}
    )


def in_language(
    rows: pd.DataFrame, pair: tuple[str, str], *, setting: str, file: str, machine: Machine | None
) -> pd.DataFrame:
    """Return rows with their texts translated, by the user's table where there is one, else by a model.

    Parameters
    ----------
    rows : DataFrame
        Columns of a corpus.
    pair : (str, str)
        Language the rows are in, language wanted.
    setting, file : str
        The setting that names the table, and the table; empty where there is none.

    Raises
    ------
    CorpusError
        Neither a table nor a model, a table that does not fit, an empty translation.
    """
    source, target = pair
    if file:
        texts = supplied_texts(rows, Path(file))
        log.info("prepare: %d texts in %s from %s", len(rows), target, file)
        both = [pd.concat([table["text"], table["text_pair"]]) for table in (rows, texts)]
        warn_of_copies(both[0], both[1], target, file)
        return rows.assign(text=texts["text"].to_numpy(), text_pair=texts["text_pair"].to_numpy())
    model_setting, model = machine.name(source, target) if machine is not None else ("prepare.translator", "")
    if machine is None or not model:
        raise CorpusError(
            f"{setting}: no translations of {len(rows)} texts from {source!r} into {target!r}; accepted: a "
            f"table there, or a model under {model_setting}"
        )
    columns = ("text", "text_pair")
    sentences = [text for name in columns for text in rows[name] if text]
    made = dict(zip(sentences, machine(sentences, source, target), strict=True)) | {"": ""}
    for name in columns:
        for row_id, text in zip(rows["id"], rows[name], strict=True):
            if text and not made[text]:
                raise CorpusError(
                    f"{model_setting}: {model}: column {name} of {row_id!r}: the translation into {target!r} "
                    f"is empty, of {shown(text)}"
                )
    return rows.assign(**{name: [made[text] for text in rows[name]] for name in columns})


def _zero_shot(corpus: Corpus, settings: PrepareSettings, machine: Machine | None) -> pd.DataFrame:
    """Leave out train rows of other languages: with them it would not be zero-shot."""
    table = corpus.table
    is_train = table["split"] == "train"
    foreign = is_train & (table["language"] != corpus.source_language)
    if foreign.sum() == is_train.sum():
        others = listed(sorted(table.loc[foreign, "language"].unique()))
        raise CorpusError(
            f"prepare.transfer: got {settings.transfer!r}, but no train text is in the source language "
            f"{corpus.source_language!r}; they are in {others}"
        )
    if foreign.any():
        log.warning(
            "prepare: %d train texts in %s left out: prepare.transfer is %s, which trains on %s alone",
            foreign.sum(),
            listed(sorted(table.loc[foreign, "language"].unique())),
            settings.transfer,
            corpus.source_language,
        )
    return table[~foreign]


def _translate_train(corpus: Corpus, settings: PrepareSettings, machine: Machine | None) -> pd.DataFrame:
    """Train on translations too, or on those into `train_language` alone; a train text stays one."""
    targets, table = _targets(corpus, settings), corpus.table
    only = settings.train_language
    if only and only not in targets:
        raise CorpusError(f"prepare.train_language: got {only!r}, accepted: {', '.join(targets)}")
    is_train = table["split"] == "train"
    source = table[is_train & (table["language"] == corpus.source_language)]
    parts = [] if only else [source]
    for language in [only] if only else targets:
        there = table[is_train & (table["language"] == language)]
        if len(there):
            log.info("prepare: %d train texts in %s are in the corpus already", len(there), language)
            parts.append(there)
            continue
        setting, file = (
            f"prepare.train_translations.{language}",
            settings.train_translations.get(language, ""),
        )
        pair = (corpus.source_language, language)
        made = in_language(source, pair, setting=setting, file=file, machine=machine)
        parts.append(made.assign(id=made["id"] + f"-{language}", language=language))
    return pd.concat([*parts, table[~is_train]], ignore_index=True)


def _translate_test(corpus: Corpus, settings: PrepareSettings, machine: Machine | None) -> pd.DataFrame:
    """Put dev and test texts of the target languages into the source language; they stay that language's."""
    targets, table = _targets(corpus, settings), _zero_shot(corpus, settings, machine)
    parts = [table[table["language"] == corpus.source_language]]
    for language in targets:
        rows = table[table["language"] == language]
        setting = f"prepare.source_translations.{language}"
        file, pair = settings.source_translations.get(language, ""), (language, corpus.source_language)
        parts.append(in_language(rows, pair, setting=setting, file=file, machine=machine))
    return pd.concat(parts).sort_index().reset_index(drop=True)


def _targets(corpus: Corpus, settings: PrepareSettings) -> tuple[str, ...]:
    """Return the languages that have dev or test rows, beside the source."""
    held_out = corpus.table.loc[corpus.table["split"] != "train", "language"]
    targets = tuple(sorted(set(held_out) - {corpus.source_language}))
    if not targets:
        raise CorpusError(
            f"prepare.transfer: got {settings.transfer!r}, but there are no dev or test texts of a language "
            f"other than {corpus.source_language!r}; accepted: zero-shot"
        )
    return targets


TRANSFERS: dict[str, Callable[[Corpus, PrepareSettings, Machine | None], pd.DataFrame]] = {
    "zero-shot": _zero_shot,
    "translate-train": _translate_train,
    "translate-test": _translate_test,
}
"""`prepare.transfer` -> what it makes of a corpus."""


def supplied_texts(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Return the user's translations of rows.

    Parameters
    ----------
    rows : DataFrame
        Columns id, text_pair, label, language. A row's translation stands in the file under its id, or under
        the id it was made from: without the ``-<language>`` of a translation, without the ``+<k>`` of a copy.
    path : Path
        Table with columns id, text and, where rows are pairs, text_pair. Without ids it is matched line by
        line and needs the labels, as proof; the columns may then be XNLI-MT's premise, hypo, label.

    Returns
    -------
    DataFrame
        Columns text, text_pair, a row per row of `rows`, in their order.

    Raises
    ------
    CorpusError
        A column or translation that is not there, an empty text, other labels or another number of lines.
    """
    given = _read(path).rename(columns=_OTHER_NAMES)
    paired = rows["text_pair"] != ""
    needed = ("text", *(["text_pair"] if paired.any() else []), *([] if "id" in given else ["label"]))
    for name in needed:
        if name not in given.columns:
            lines = "" if "id" in given else " (without a column id, rows are matched line by line)"
            raise CorpusError(f"{path}: column {name!r} is missing{lines}; present: {_listed(given)}")
    given = usable_rows(given, str(path))
    found = _by_id(rows, given, path) if "id" in given else _by_line(rows, given, path)
    pairs = found["text_pair"].where(paired.to_numpy(), "") if "text_pair" in found else ""
    found = found[["text"]].assign(text_pair=pairs).reset_index(drop=True)
    empty = (found["text_pair"].str.strip() == "") & paired.to_numpy()
    if empty.any():
        first = rows["id"].iloc[int(empty.to_numpy().argmax())]
        raise CorpusError(f"{path}: column text_pair: it is empty for {first!r}, which is a pair")
    return found


def _read(path: Path) -> pd.DataFrame:
    """Read the table; how the corpus is written says nothing of it, so no setting is advised."""
    try:
        return read_table(path, (), ("id", "text", "text_pair", "label", *_OTHER_NAMES))
    except CorpusError as error:
        raise CorpusError(str(error).replace(_ADVICE, "accepted: UTF-8")) from error


def _listed(given: pd.DataFrame) -> str:
    return ", ".join(name for name in given.columns if not name.startswith("_"))


def _by_id(rows: pd.DataFrame, given: pd.DataFrame, path: Path) -> pd.DataFrame:
    place = {name: k for k, name in enumerate(given["id"])}
    found = [
        next((place[name] for name in _names(row_id, language) if name in place), None)
        for row_id, language in zip(rows["id"], rows["language"], strict=True)
    ]
    missing = [row_id for row_id, k in zip(rows["id"], found, strict=True) if k is None]
    if missing:
        raise CorpusError(
            f"{path}: column id: no translation for {len(missing)} of {len(rows)} texts, first "
            f"{missing[0]!r}; {_closest(missing[0], place)}"
        )
    return given.iloc[[k for k in found if k is not None]]


def _closest(row_id: str, present: Collection[str]) -> str:
    """Say which id of the table may have been meant, or what they look like."""
    alike = next((name for name in present if name.split() == row_id.split()), None)
    if alike is not None:
        return f"the table has {alike!r}, which differs in blanks"
    close = get_close_matches(row_id, list(itertools.islice(present, MOST_COMPARED)), n=1)
    return f"the table has {(close or [next(iter(present), '')])[0]!r}"


def _names(row_id: str, language: str) -> Iterator[str]:
    """Yield the ids under which a row's translation may stand, its own first."""
    yield row_id
    without_language = row_id.removesuffix(f"-{language}")
    yield without_language
    yield _COPY.sub("", without_language)


def _by_line(rows: pd.DataFrame, given: pd.DataFrame, path: Path) -> pd.DataFrame:
    if len(given) != len(rows):
        raise CorpusError(
            f"{path}: {len(given)} rows without ids, accepted: {len(rows)}, one for each text that it "
            "translates, in their order"
        )
    labels = given["label"].replace(NLI_SPELLING)
    wrong = (labels.to_numpy() != rows["label"].to_numpy()).nonzero()[0]
    if len(wrong):
        k = int(wrong[0])
        raise CorpusError(
            f"{path}: row {k + 1}: column label: got {shown(given['label'].iloc[k])}, accepted: "
            f"{rows['label'].iloc[k]!r} as of {rows['id'].iloc[k]!r}, the text in its place"
        )
    return given


def warn_of_copies(source: pd.Series, texts: pd.Series, language: str, file: str) -> None:
    """Warn of translations that are the source texts, or one text over and over.

    Parameters
    ----------
    source, texts : Series of str
        The texts, and their translations in the same order.
    language, file : str
        Language of the translations, and the table.
    """
    pairs = pd.DataFrame({"source": source.to_numpy(), "text": texts.to_numpy()}).drop_duplicates()
    pairs = pairs[[any(map(str.isalpha, text)) for text in pairs["source"]]]
    same = int((pairs["source"] == pairs["text"]).sum())
    if same > MOST_REPEATED * len(pairs):
        log.warning(
            "prepare: %s: %d of %d %s texts equal the source text; is it the table of translations?",
            printable(file),
            same,
            len(pairs),
            language,
        )
    again = len(pairs) - pairs["text"].nunique()  # of texts that differ in the source
    if again > MOST_REPEATED * len(pairs):
        log.warning(
            "prepare: %s: %d of %d %s texts repeat another, though the source texts differ; commonest: %s",
            printable(file),
            again,
            len(pairs),
            language,
            shown(pairs["text"].value_counts().index[0]),
        )
