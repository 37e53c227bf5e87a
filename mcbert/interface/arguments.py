"""Check arguments of the public interface: texts, whole numbers, messages that name an argument.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import dataclasses
import operator
import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mcbert.home import CACHE
from mcbert.settings import nearest

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.settings import EncoderSettings

Pairs = list[tuple[str, str]]
"""Texts with their second texts, which are empty where there are none."""

_SECTIONS = re.compile(r"\b(?:corpus|prepare|encoder|extract|gridsearch|finetune|cluster)\.(?=[a-z_]+)")


class TakesTexts:
    """Mixin of estimators that take texts, not arrays of numbers, as their scikit-learn tags say."""

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what goes in."""
        parent: Any = super()
        tags = parent.__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = tags.input_tags.string = True
        return tags


@contextmanager
def named_arguments() -> Iterator[None]:
    """Have messages name arguments where the rooms name settings: ``layers``, not ``gridsearch.layers``."""
    try:
        yield
    except ValueError as error:
        if len(error.args) == 1 and isinstance(error.args[0], str):
            text = error.args[0].replace("encoder.path", "encoder")
            error.args = (_SECTIONS.sub("", text),)
        raise


def whole_numbers(name: str, values: Iterable[Any]) -> tuple[int, ...]:
    """Return whole numbers of a list, a range or an array as a tuple of int."""
    try:
        return tuple(map(operator.index, values))
    except TypeError as error:
        raise ValueError(f"{name}: got {values!r}, accepted: whole numbers from 0") from error


def as_pairs(X: Any, name: str = "X") -> Pairs:
    """Return texts as pairs.

    Parameters
    ----------
    X : sequence of str, sequence of (str, str), or DataFrame
        Texts, pairs of texts, or a table with the column text and perhaps text_pair.
    name : str
        The argument, for messages.

    Raises
    ------
    ValueError
        Something that is no text, or an empty one; the message names the first.
    """
    import pandas as pd

    from mcbert.features.corpus.checks import usable_rows
    from mcbert.features.corpus.errors import BadRows

    if isinstance(X, pd.DataFrame):
        if "text" not in X.columns:
            raise ValueError(f"{name}: got the columns {list(X.columns)}, accepted: text, perhaps text_pair")
        texts = X["text"].tolist()
        seconds = X["text_pair"].tolist() if "text_pair" in X.columns else [""] * len(X)
    elif isinstance(X, str) or not hasattr(X, "__len__"):
        raise ValueError(f"{name}: got a {type(X).__name__}, accepted: a list of texts")
    else:
        rows = [row if _is_pair(row) else (row, "") for row in X]
        texts, seconds = [row[0] for row in rows], [row[1] for row in rows]
    if not texts:
        raise ValueError(f"{name}: got no text, accepted: at least one")
    table = pd.DataFrame({"text": texts, "text_pair": seconds}, dtype=object)
    usable_rows(table, name, BadRows(may_skip=False))
    return list(zip(texts, seconds, strict=True))


def _is_pair(row: object) -> bool:
    return not isinstance(row, str) and isinstance(row, Sequence) and len(row) == 2


def encoder_settings(encoder: str | os.PathLike[str], **settings: Any) -> EncoderSettings:
    """Return the settings of an encoder, a folder's path made absolute: caches name it."""
    from mcbert.features.settings import EncoderSettings

    read: EncoderSettings = made(EncoderSettings, path=_place(encoder), **settings)
    return read


def _place(encoder: str | os.PathLike[str]) -> str:
    return str(Path(encoder).resolve()) if Path(encoder).is_dir() else str(encoder)


def cache_folder(cache: str | os.PathLike[str] | None) -> Path:
    """Return the folder of all feature caches: the one given, or the project's."""
    return CACHE if cache is None else Path(cache)


def made(kind: Any, **settings: Any) -> Any:
    """Build settings; one that there is not is refused as a value is, in a line that names what there is.

    Raises
    ------
    ValueError
        No such setting, or a value that it does not take.
    """
    _require_known(settings, [field.name for field in dataclasses.fields(kind)])
    return kind(**settings)


def split_settings(
    settings: Mapping[str, Any], *kinds: Any, but: Collection[str] = ()
) -> tuple[dict[str, Any], ...]:
    """Return the settings that each kind of settings has.

    Parameters
    ----------
    but : collection of str
        Settings of these kinds that are no argument: others stand for them.

    Raises
    ------
    ValueError
        A setting that no kind has; the message names those of all kinds.
    """
    known = [[field.name for field in dataclasses.fields(kind) if field.name not in but] for kind in kinds]
    _require_known(settings, [name for names in known for name in names])
    return tuple({name: value for name, value in settings.items() if name in names} for names in known)


def _require_known(settings: Iterable[str], known: Sequence[str]) -> None:
    for name in settings:
        if name not in known:
            hint = nearest(name, known, "did you mean {}?")
            raise ValueError(f"{name}: no such argument{hint}; accepted: {', '.join(known)}")


def fields_of(estimator: Any, kind: Any, *, but: Iterable[str] = ()) -> dict[str, Any]:
    """Return the parameters of an estimator that a kind of settings has, too; numpy's numbers as Python's."""
    names = {field.name for field in dataclasses.fields(kind)} - set(but)
    given = {name: value for name, value in estimator.get_params(deep=False).items() if name in names}
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in given.items()}


def rows_of(corpus: Any, pairs: Pairs) -> list[tuple[str, str, str]]:
    """Return id, text and second text of every row; without ids, rows are numbered from 1."""
    ids = corpus["id"].tolist() if "id" in getattr(corpus, "columns", ()) else range(1, len(pairs) + 1)
    return [(str(one), text, second) for one, (text, second) in zip(ids, pairs, strict=True)]


def require_columns(table: pd.DataFrame, name: str) -> None:
    """Raise unless a table has the columns of a corpus; `name` is the argument's."""
    if not hasattr(table, "columns"):
        raise ValueError(f"{name}: got a {type(table).__name__}, accepted: a DataFrame")
    missing = [one for one in ("id", "text", "label", "language", "split") if one not in table.columns]
    if missing:
        raise ValueError(
            f"{name}: column {missing[0]}: missing; present: {', '.join(map(str, table.columns))}"
        )
