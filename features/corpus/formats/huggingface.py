"""Read a Hugging Face dataset: from the hub by name, from what `save_to_disk` wrote, from a folder of files.

Nothing of a dataset is run: since version 4 datasets refuses loading scripts. CSV files are read by our
own reader, because datasets takes the words NA and null for missing and the label 01 for 1.
"""

from __future__ import annotations

import dataclasses
import importlib
import logging
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcbert.features.corpus.errors import BadRow, BadRows, CorpusError, key, listed, printable, shown
from mcbert.features.corpus.formats.arrow import frame_of
from mcbert.features.corpus.formats.readers import TableForm, read_delimited
from mcbert.features.corpus.formats.rows import Wanted, places_of
from mcbert.features.corpus.settings import CorpusSettings

log = logging.getLogger(__name__)

SPLIT_NAMES = {
    "train": "train",
    "validation": "dev",
    "valid": "dev",
    "val": "dev",
    "dev": "dev",
    "test": "test",
}
"""The hub's usual split names -> ours."""

_BATCH = 10_000  # rows


def read_huggingface(settings: CorpusSettings, bad: BadRows) -> pd.DataFrame:
    """Read the dataset `settings.path`.

    Returns
    -------
    DataFrame
        Columns id, text, text_pair (where it has one), label, language, split and `rows.PLACE`. Without
        `columns.id` ids are ``<split>-<row>``; with a configuration per language the language is added.

    Raises
    ------
    CorpusError
        No library, no such dataset or configuration, no network, a missing column or split, rows that cannot
        be used and are not to be skipped.
    """
    kept = {k: v for k, v in settings.configs.items() if not settings.languages or k in settings.languages}
    configs: list[tuple[str, str]] = list(kept.items()) or [("", settings.config)]
    parts = []
    for language, config in configs:
        try:
            parts += _read(settings, language, config, bad)
        except CorpusError:
            raise
        except Exception as error:  # datasets lets through what pyarrow, httpx, fsspec and yaml raise
            log.debug("datasets: %s", error, exc_info=True)
            raise _unloadable(settings, config, error) from error
    bad.settle()
    return pd.concat(parts, ignore_index=True)


def _read(settings: CorpusSettings, language: str, config: str, bad: BadRows) -> list[pd.DataFrame]:
    folder = Path(settings.path) / config if config else Path(settings.path)
    is_saved = any((folder / name).is_file() for name in ("dataset_dict.json", "state.json"))
    found = _saved(folder) if is_saved else _built(settings, config)
    required = ["text", "label"] + ([] if language else ["language"])
    required += [name for name in ("id", "split") if name in settings.columns]
    wanted = Wanted(tuple(required), ("text_pair",), settings.columns)
    out = []
    for name, split in _splits(list(found), settings).items():
        rows = found[name].read(wanted, bad, "/".join(filter(None, (settings.path, config, name))))
        if split:
            rows = rows.assign(split=split)
        if language:
            rows = rows.assign(language=language, id=rows["id"] + f"-{language}")
        out.append(rows)
    return out


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """A split as datasets holds it in memory."""

    name: str
    rows: Any

    def read(self, wanted: Wanted, bad: BadRows, file: str) -> pd.DataFrame:
        batches = self.rows.with_format("arrow").iter(batch_size=_BATCH)
        labels, schema = _label_names(self.rows.features, wanted), self.rows.features.arrow_schema
        rows = frame_of(batches, schema, wanted, bad, file=file, label_names=labels)
        return _with_ids(rows, self.name)


@dataclasses.dataclass(frozen=True)
class _Delimited:
    """A split that is CSV or TSV files, not yet read."""

    name: str
    files: tuple[Path, ...]
    form: TableForm
    features: Any

    def read(self, wanted: Wanted, bad: BadRows, file: str) -> pd.DataFrame:
        log.debug("corpus: %s: %s", file, self.files)
        labels = _label_names(self.features, wanted)
        parts = []
        for k, path in enumerate(self.files):
            rows = read_delimited(path, wanted, bad, form=self.form)
            rows = _named_labels(rows, labels, str(path), bad) if labels else rows
            parts.append(_with_ids(rows, self.name if len(self.files) == 1 else f"{self.name}-{k}"))
        return pd.concat(parts, ignore_index=True)


def _with_ids(rows: pd.DataFrame, prefix: str) -> pd.DataFrame:
    return rows if "id" in rows.columns else rows.assign(id=f"{prefix}-" + rows["_row"].astype("str"))


def _label_names(features: Any, wanted: Wanted) -> list[str]:
    """Return the names behind the numbers of a ClassLabel column; empty when it is none."""
    return list(getattr((features or {}).get(wanted.theirs("label")), "names", []))


def _named_labels(rows: pd.DataFrame, names: Sequence[str], file: str, bad: BadRows) -> pd.DataFrame:
    """Put names for the numbers that a CSV file has where its card declares a ClassLabel."""
    given = rows["label"].map({**{str(k): n for k, n in enumerate(names)}, **{n: n for n in names}})
    unknown = np.flatnonzero(given.isna())
    column, accepted = bad.columns.get("label", "label"), listed(list(names))
    for place, label in zip(places_of(rows, unknown, file), rows["label"].iloc[unknown], strict=True):
        bad.add(BadRow(place, column, f"got {shown(label)}, accepted: {accepted}"))
    return rows.assign(label=given)[given.notna()]


def _saved(folder: Path) -> dict[str, _Loaded | _Delimited]:
    loaded = _library().load_from_disk(str(folder))
    splits = loaded if hasattr(loaded, "keys") else {str(loaded.split or "train"): loaded}
    return {str(name): _Loaded(str(name), rows) for name, rows in splits.items()}


def _built(settings: CorpusSettings, config: str) -> dict[str, _Loaded | _Delimited]:
    datasets = _library()
    builder = datasets.load_dataset_builder(
        settings.path, name=config or None, revision=settings.revision or None
    )
    given = builder.config
    if not hasattr(given, "keep_default_na"):  # not CSV
        builder.download_and_prepare()
        return {str(n): _Loaded(str(n), rows) for n, rows in builder.as_dataset().items()}
    plain = type(given)()
    special = [f for f in _CSV_OPTIONS if getattr(given, f) != getattr(plain, f)]
    if special:
        raise CorpusError(
            f"{settings.path}: its card asks for the CSV options {listed(special)}, which are not read here; "
            f"load it with datasets, save it with save_to_disk and set {key('path')} to that folder"
        )
    files = datasets.DownloadManager().download_and_extract(dict(given.data_files))
    form = TableForm(delimiter=given.sep, quoting="csv", encoding=given.encoding or "utf-8")
    return {
        str(name): _Delimited(str(name), tuple(map(Path, paths)), form, builder.info.features)
        for name, paths in files.items()
    }


_CSV_OPTIONS = ("header", "names", "index_col", "usecols", "skiprows", "nrows", "quotechar", "quoting",
                "escapechar", "comment", "skipinitialspace", "skipfooter", "doublequote")  # fmt: skip


def _splits(present: list[str], settings: CorpusSettings) -> dict[str, str]:
    """Return the dataset's splits to read -> our name for them; empty when a column says it."""
    if "split" in settings.columns:
        return dict.fromkeys(present, "")
    for ours, theirs in settings.splits.items():
        if theirs not in present:
            close = get_close_matches(theirs, present, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise CorpusError(
                f"{settings.path}: {key('splits')}.{ours}: no split {theirs!r}{hint}; "
                f"present: {listed(present)}"
            )
    chosen = {theirs: ours for ours, theirs in settings.splits.items()}
    chosen = chosen or {name: SPLIT_NAMES[name] for name in present if name in SPLIT_NAMES}
    if not chosen:
        raise CorpusError(
            f"{settings.path}: no split is called train, validation or test; present: {listed(present)}; "
            f"{key('splits')} names them"
        )
    left = [name for name in present if name not in chosen]
    if left:
        log.info("corpus: %s: splits left out: %s", printable(settings.path), printable(listed(left)))
    return chosen


def _library() -> Any:
    try:
        return importlib.import_module("datasets")
    except ImportError as error:
        raise CorpusError(
            f"{key('format')}: huggingface needs datasets: pip install mcbert[datasets]"
        ) from error


def _unloadable(settings: CorpusSettings, config: str, error: Exception) -> CorpusError:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    name = f"{settings.path} (configuration {config!r})" if config else settings.path
    said = " ".join(str(cause).split())[:300] or "no message"
    return CorpusError(
        f"{name}: datasets cannot load it: {type(cause).__name__}: {said}; where there is no "
        f"network, save it elsewhere with save_to_disk and set {key('path')} to that folder"
    )
