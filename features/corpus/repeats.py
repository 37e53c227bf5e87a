"""Texts that occur again: in train and held out, or with another label.

python -m pytest tests/features/corpus/test_repeats.py

Two texts are the same up to Unicode form, case and blanks; where the question is whether a held-out text was
trained on, also up to punctuation at the end.
"""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import BadRows, CorpusError, key, listed, printable, shown
from mcbert.features.corpus.formats.rows import rows_left_out
from mcbert.features.corpus.normal_forms import same_texts
from mcbert.features.corpus.settings import Conflicts, Leaks
from mcbert.features.corpus.spelling import counted

log = logging.getLogger(__name__)

MOST_NAMED = 5
FEWEST_PAIRS = 20  # texts and translations by which anything is chosen: of so few kappa is within 0.4
_AGREEING = 0.95  # share of ids in several languages whose labels agree, from which ids tell translations
_SAME = "up to Unicode form, case, blanks and punctuation at the end"


@dataclasses.dataclass(frozen=True)
class Repeats:
    """Settings for texts that occur again: `corpus.leaks` and `corpus.conflicts`."""

    leaks: Leaks = "drop"
    conflicts: Conflicts = "error"

    def settled(
        self, table: pd.DataFrame, name: str, source_language: str, bad: BadRows | None = None
    ) -> pd.DataFrame:
        """Return the table without what the settings leave out; the table itself where there is nothing.

        Parameters
        ----------
        table : DataFrame
            Columns of a corpus.
        name : str
            Stands for the file in messages.
        bad : BadRows, optional
            Takes down what is left out.

        Raises
        ------
        CorpusError
            There are leaks or conflicts, and they are to be errors.
        """
        items = items_of(table)
        own = own_rows(table, items, source_language)
        stay = self._told_stay(table, items, name, bad or BadRows())
        differ = tell_conflicts(table, own, self.conflicts, name)
        if not stay.all():
            table, items, own = table[stay].reset_index(drop=True), items[stay], own[stay]
        if differ and self.conflicts == "majority":
            return by_majority(table, items, own, name, bad)
        return table

    def without_leaks(self, table: pd.DataFrame, name: str, bad: BadRows | None = None) -> pd.DataFrame:
        """Return the table without the leaks alone, as `settled` does, where train has got more texts.

        Raises
        ------
        CorpusError
            There are leaks, and they are to be errors.
        """
        stay = self._told_stay(table, items_of(table), name, bad or BadRows())
        return table if stay.all() else table[stay].reset_index(drop=True)

    def _told_stay(self, table: pd.DataFrame, items: np.ndarray, name: str, bad: BadRows) -> np.ndarray:
        """Name the leaks and tell which rows stay, bool (n_rows,)."""
        leaked = leaks(table, items)
        self._tell_leaks(table, leaked, name)
        if self.leaks != "drop":
            return np.ones(len(table), dtype=bool)
        bad.left_out += rows_left_out(table, _why_leaks(table, leaked), ("text", name), bad)
        return ~leaked

    def _tell_leaks(self, table: pd.DataFrame, leaked: np.ndarray, name: str) -> None:
        for split in ("dev", "test"):
            here = leaked & (table["split"] == split).to_numpy()
            if not here.any():
                continue
            rows = table[here]
            languages = rows["language"].value_counts().sort_index()
            said = (
                f"{len(rows)} of {int((table['split'] == split).sum())} {split} texts occur in train "
                f"({_SAME}) or translate one that does: "
                f"{listed([f'{language} {n}' for language, n in languages.items()])}; "
                f"{counted(rows['label'])}; the first: {listed([shown(i) for i in rows['id'][:MOST_NAMED]])}"
            )
            if self.leaks == "error":
                raise CorpusError(f'{name}: column text: {said}; {key("leaks")} = "drop" leaves them out')
            end = {
                "drop": f'they are left out; {key("leaks")} = "keep" keeps them',
                "keep": f"{split} scores count them as if they were new ({key('leaks')})",
            }[self.leaks]
            log.warning("corpus: %s: %s; %s", printable(name), printable(said), end)


def items_of(table: pd.DataFrame) -> np.ndarray:
    """Return a number for each row, the same for a text and its translations, int64 (n_rows,)."""
    return pd.factorize(item_names(table))[0].astype(np.int64)


def item_names(table: pd.DataFrame) -> np.ndarray:
    """Return a name for each row, the same for a text and its translations, object (n_rows,).

    A translation has the id of its original, perhaps with ``-`` and its language behind. Where labels say
    that such ids are no translations (each language was numbered for itself), every row is an item, named by
    its id and language.
    """
    language = table["language"].to_numpy()
    bases = np.array(
        [i.removesuffix(f"-{lang}") for i, lang in zip(table["id"], language, strict=True)], dtype=object
    )
    per_item = table[["label", "language"]].assign(item=bases).groupby("item")
    labels, languages = per_item["label"].nunique(), per_item["language"].nunique()
    several = languages > 1
    if not several.any() or (labels[several] == 1).mean() >= _AGREEING:
        return bases
    return (table["id"] + "-" + table["language"]).to_numpy(dtype=object)


def translations_of(
    table: pd.DataFrame, source_language: str, split: str, *, fewest: int = 1
) -> dict[str, np.ndarray]:
    """Return the texts of a split in the source language beside their translations, by target language.

    Parameters
    ----------
    table : DataFrame
        id, label (any code for it), language and split of each row.
    fewest : int
        Languages with fewer pairs are left out.

    Returns
    -------
    dict of str to ndarray
        int64 (2, n_pairs), row numbers: of source texts, and of their translations.
    """
    within = np.flatnonzero((table["split"] == split).to_numpy())
    rows = pd.DataFrame({"row": within, "item": items_of(table)[within]})
    language = table["language"].to_numpy()[within]
    source = rows[language == source_language].drop_duplicates("item")
    found = {}
    for name in sorted(set(language.tolist()) - {source_language}):
        here = rows[language == name].drop_duplicates("item")
        both = source.merge(here, on="item", suffixes=("_source", "_target"))
        if len(both) >= fewest:
            found[str(name)] = both[["row_source", "row_target"]].to_numpy(dtype=np.int64).T
    return found


def leaks(table: pd.DataFrame, items: np.ndarray) -> np.ndarray:
    """Tell which held-out rows are known from train, bool (n_rows,).

    Known is a text that occurs in train, in whatever language, and every translation of it where train has it
    in its own language; also a translation of a train text. A translation that happens to read like a train
    text of another language is known in that language alone.
    """
    train = (table["split"] == "train").to_numpy()
    keys = same_texts(table, ending=False)
    codes = pd.factorize(table["language"])[0]
    in_language = keys * (int(codes.max(initial=0)) + 1) + codes
    found = np.isin(keys, keys[train])
    own = ~train & np.isin(in_language, in_language[train])
    known = np.isin(items, np.concatenate([items[own], items[train]]))
    return ~train & (found | known)


def _why_leaks(table: pd.DataFrame, leaked: np.ndarray) -> dict[int, str]:
    """Return position -> reason of leaks: the train text that reads the same, or that it is translated."""
    if not leaked.any():
        return {}
    keys, train = same_texts(table, ending=False), (table["split"] == "train").to_numpy()
    ids = pd.Series(table["id"].to_numpy()[train], index=keys[train])
    ids = ids[~ids.index.duplicated()]
    first = dict(zip(ids.index.tolist(), ids.tolist(), strict=True))
    splits, reasons = table["split"].to_numpy(), {}
    for k in np.flatnonzero(leaked).tolist():
        same = f"occurs in train as {shown(first[keys[k]])}, {_SAME}" if keys[k] in first else ""
        said = same or "translates one that occurs in train"
        reasons[k] = f'this {splits[k]} text {said}; {key("leaks")} = "keep" keeps it'
    return reasons


def own_rows(table: pd.DataFrame, items: np.ndarray, source_language: str) -> np.ndarray:
    """Tell which rows are no translation of a row of the source language, bool (n_rows,)."""
    source = (table["language"] == source_language).to_numpy()
    return source | ~np.isin(items, items[source])


def conflicting(table: pd.DataFrame, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows whose text has several labels within a language, and the number of each one's text.

    Parameters
    ----------
    own : ndarray, bool (n_rows,)
        Rows that count; translations of two texts may well read the same.
    """
    place = table.columns.intersection(["language"]).tolist()
    counts = table[[*place, "label"]].assign(text=same_texts(table, ending=True))[own]
    group = counts.groupby([*place, "text"], sort=False)["label"]
    several = (group.transform("nunique") > 1).to_numpy()
    return np.flatnonzero(own)[several], group.ngroup().to_numpy()[several]


def by_majority(
    table: pd.DataFrame, items: np.ndarray, own: np.ndarray, name: str, bad: BadRows | None = None
) -> pd.DataFrame:
    """Give all rows of a text the label that most of them have; leave out those of a text without a majority.

    Labels of train, dev and test are counted apart: none of test changes one of train. What becomes of a row
    becomes of its translations.
    """
    rows, numbers = conflicting(table, own)
    if "split" in table.columns:
        splits = pd.factorize(table["split"].iloc[rows])[0]
        numbers = numbers * (int(splits.max(initial=0)) + 1) + splits
    decided = pd.Series(_majority(table["label"].to_numpy()[rows], numbers), index=items[rows], dtype=object)
    decided = decided[~decided.index.duplicated()]
    concerned = np.isin(items, items[rows])
    old = table["label"].to_numpy(dtype=object)
    new = old.copy()
    new[concerned] = decided.reindex(items[concerned]).to_numpy(dtype=object)
    left = np.array([bool(value) for value in new], dtype=bool)
    log.warning(
        "corpus: %s: %d rows take the label that most of their text's have; %d of texts without a majority "
        "are left out%s",
        printable(name),
        int((left & (new != old)).sum()),
        int((~left).sum()),
        f", {counted(table['label'][~left])}" if not left.all() else "",
    )
    if bad is not None:
        reason = f"no majority: as many rows of the text have another label; {key('conflicts')}"
        without = dict.fromkeys(np.flatnonzero(~left).tolist(), reason)
        bad.left_out += rows_left_out(table, without, ("label", name), bad)
    out = table[left].reset_index(drop=True)
    return out.assign(label=pd.array(new[left].tolist(), dtype="str"))


def without_conflicts(
    table: pd.DataFrame, conflicts: Conflicts, name: str, bad: BadRows | None = None
) -> pd.DataFrame:
    """Return a table of one language with one label for a text, or refuse it, as `Repeats.settled` does."""
    items, own = np.arange(len(table)), np.ones(len(table), dtype=bool)
    if tell_conflicts(table, own, conflicts, name) and conflicts == "majority":
        return by_majority(table, items, own, name, bad)
    return table


def tell_conflicts(table: pd.DataFrame, own: np.ndarray, conflicts: Conflicts, name: str) -> bool:
    """Name texts that carry different labels; tell whether there are any.

    Raises
    ------
    CorpusError
        There are, and they are to be errors.
    """
    rows, numbers = conflicting(table, own)
    if not len(rows):
        return False
    named: list[str] = []
    for number in dict.fromkeys(numbers.tolist()):
        if len(named) == MOST_NAMED:
            break
        these = table.iloc[rows[numbers == number]].drop_duplicates("label")
        named.append(
            " and ".join(f"{shown(i)} {x}" for i, x in zip(these["id"], these["label"], strict=True))
        )
    n = len(set(numbers.tolist()))
    said = (
        f"{n} text{'s' if n > 1 else ''} (the same up to Unicode form, case and blanks) "
        f"carr{'y' if n > 1 else 'ies'} different labels, the first: {'; '.join(named)}"
    )
    if conflicts == "error":
        raise CorpusError(
            f'{name}: column label: {said}; correct them, or {key("conflicts")} = "majority" takes the label '
            'that most rows of a text have and leaves out the texts without one; "keep" keeps all'
        )
    log.warning("corpus: %s: column label: %s", printable(name), printable(said))
    return True


def _majority(labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Return for each row the label that most rows of its group have, None without a majority; object."""
    counts = pd.DataFrame({"number": numbers, "label": labels}).value_counts(sort=False).reset_index()
    most = counts.groupby("number")["count"].transform("max")
    best = counts[counts["count"] == most]
    single = best[~best["number"].duplicated(keep=False)]
    winner = dict(zip(single["number"].tolist(), single["label"].tolist(), strict=True))
    return np.array([winner.get(number) for number in numbers.tolist()], dtype=object)
