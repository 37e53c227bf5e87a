"""The settings that the stages of runs recorded, and those in which runs differ.

    stages/<stage>.json: {"inputs": {"finetune": {"epochs": 3, ...}, "texts": "c0cc54...", ...}, ...}

python -m mcbert runs demo wider --html results/runs/comparison.html
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.files.objects import Types, read_object
from mcbert.results.runs import stage_records

SECTIONS = (
    "corpus", "prepare", "encoder", "extract", "gridsearch", "tune", "finetune", "embeddings", "retrieval",
)  # fmt: skip
"""Sections of settings, in the order of the method; a stage records its own under their names."""

CONTENTS = {
    "texts": "prepared texts (texts.csv)",
    "encoder.encoder_weights": "encoder: weights",
    "encoder.encoder_config": "encoder: configuration",
    "encoder.tokenizer": "encoder: tokenizer",
    "pairs": "sentence pairs",
}
"""Files of which runs recorded the SHA-256, and words; other digests are of what follows from these."""

MOST_ENTRIES = 12
"""Entries of a mapping, such as translations by language, that are told one by one; values of a list."""

_OTHER_NAMES = {"budget": "gridsearch", "asked": "embeddings", "similarity": "retrieval"}
"""Sections that a stage records a part of under a name of its own."""
_OTHER_KEYS = {"retrieval.compat": "retrieval.seed_compat"}
_DATA = (
    "corpus.path", "prepare.raw", "prepare.translations", "prepare.labelled", "prepare.train_translations",
    "prepare.source_translations",
)  # fmt: skip
_PLACES = {
    **dict.fromkeys(_DATA, ("texts",)),
    "encoder.path": ("encoder.encoder_weights", "encoder.encoder_config", "encoder.tokenizer"),
    "embeddings.corpus.path": ("pairs",),
}
"""Settings that say where files are: no difference where the files, by these contents, are the same."""

_RECORD: Types = {"inputs": dict, "outputs": dict}
_DIGEST = re.compile(r"[0-9a-f]{64}")
_SHOWN_DIGITS = 8


class _Absent:
    """Stands for a setting that a run did not record, or for an entry that its mapping lacks."""

    def __init__(self, words: str) -> None:
        self.words = words


NOT_RECORDED = _Absent("\u2013")
_NO_ENTRY = _Absent("(none)")


@dataclasses.dataclass(frozen=True)
class Recorded:
    """The settings of a run by dotted name, and the SHA-256 of contents (`CONTENTS`) by theirs."""

    settings: Mapping[str, Any]
    contents: Mapping[str, str]

    @classmethod
    def read(cls, run_dir: Path) -> Recorded:
        """Read the records of a run's finished stages; of several that hold a section its own counts.

        Raises
        ------
        ValueError
            A record is damaged.
        """
        settings: dict[str, Any] = {}
        contents: dict[str, str] = {}
        for path in stage_records(run_dir):
            record = read_object(path, optional=_RECORD)
            inputs = dict(record.get("inputs", {}))
            stage = path.stem
            if stage == "pairs":  # its corpus is that of the embeddings
                inputs = {"embeddings": {"corpus": inputs.get("corpus", {})}}
            for key, value in inputs.items():
                if isinstance(value, Mapping):
                    _add(settings, contents, key, value, own=key == stage)
                elif key in CONTENTS and isinstance(value, str):
                    contents.setdefault(key, value)
            made = record.get("outputs", {}).get("texts.csv")
            if stage == "prepare" and made:
                contents["texts"] = str(made)
        return cls(settings, contents)


def _add(
    settings: dict[str, Any], contents: dict[str, str], key: str, values: Mapping[str, Any], *, own: bool
) -> None:
    """Add a stage's input to the settings, if it is a section; its digests are contents, not settings."""
    section = _OTHER_NAMES.get(key, key)
    if section not in SECTIONS:
        return
    for field, value in values.items():
        name = _OTHER_KEYS.get(f"{section}.{field}", f"{section}.{field}")
        if isinstance(value, str) and _DIGEST.fullmatch(value):
            contents.setdefault(name, value)
        elif own or name not in settings:
            settings[name] = value


@dataclasses.dataclass(frozen=True)
class Difference:
    """A setting in which runs differ: its dotted name, and its value in words for each run."""

    name: str
    values: tuple[str, ...]


def differing_settings(runs: Sequence[Recorded]) -> list[Difference]:
    """Return the settings in which runs differ, in the order of the method, then by name.

    A run that did not record a setting (the stage was not run, or had no such setting yet) shows a dash and
    makes no difference by itself. Where files are is no difference if the files are the same.
    """
    names = {name for run in runs for name in run.settings}
    found: list[Difference] = []
    for name in sorted(names, key=lambda name: (SECTIONS.index(name.partition(".")[0]), name)):
        values = [run.settings.get(name, NOT_RECORDED) for run in runs]
        found += [one for one in _compared(name, values) if not _same_files(one.name, runs)]
    return found


def differing_contents(runs: Sequence[Recorded]) -> list[Difference]:
    """Return the contents of files in which runs differ, by the first digits of their SHA-256."""
    found = []
    for name, words in CONTENTS.items():
        digests = [run.contents.get(name, "") for run in runs]
        if len(set(digests) - {""}) > 1:
            shown = (digest[:_SHOWN_DIGITS] or NOT_RECORDED.words for digest in digests)
            found.append(Difference(words, tuple(shown)))
    return found


def _same_files(name: str, runs: Sequence[Recorded]) -> bool:
    contents = next((of for place, of in _PLACES.items() if f"{name}.".startswith(f"{place}.")), None)
    if contents is None:
        return False
    digests = [tuple(run.contents.get(content, "") for content in contents) for run in runs]
    return len(set(digests)) == 1 and all(digests[0])


def _compared(name: str, values: Sequence[Any]) -> list[Difference]:
    """Compare a setting of all runs; a mapping entry by entry, unless too many of them differ."""
    known = [value for value in values if value is not NOT_RECORDED]
    if all(value == known[0] for value in known):
        return []
    if all(isinstance(value, Mapping) for value in known):
        entries = sorted({entry for value in known for entry in value})
        found = [
            difference
            for entry in entries
            for difference in _compared(
                f"{name}.{entry}",
                [value if value is NOT_RECORDED else value.get(entry, _NO_ENTRY) for value in values],
            )
        ]
        if len(found) <= MOST_ENTRIES:
            return found
        told = [
            value.words if isinstance(value, _Absent) else f"{len(value)} entries, {len(found)} differ"
            for value in values
        ]
        return [Difference(name, tuple(told))]
    short = tuple(map(in_words, values))
    distinct = len({repr(value) for value in known}) == len(set(short) - {NOT_RECORDED.words})
    return [Difference(name, short if distinct else tuple(in_words(value, whole=True) for value in values))]


def in_words(value: Any, *, whole: bool = False) -> str:
    """Write the value of a setting for a table: `6, 8, 11`; long lists shortened unless `whole`.

    >>> in_words([6, 8, 11]), in_words(True), in_words({"9": [1]}), in_words("")
    ('6, 8, 11', 'true', '9: 1', '(empty)')
    """
    if isinstance(value, _Absent):
        return value.words
    if value is None:
        return _NO_ENTRY.words
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Mapping):
        value = [f"{key}: {in_words(entry, whole=whole)}" for key, entry in value.items()]
    if isinstance(value, list | tuple):
        parts = [in_words(entry, whole=whole) for entry in value]
        if len(parts) > MOST_ENTRIES and not whole:
            parts = [*parts[: MOST_ENTRIES // 2], "\u2026", f"{parts[-1]} ({len(parts)} in all)"]
        return ", ".join(parts) or "(empty)"
    return str(value) or "(empty)"
