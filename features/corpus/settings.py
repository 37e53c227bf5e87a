"""Settings of the corpus: files, columns, cleaning, splits, translations; light to import."""

from __future__ import annotations

import dataclasses
import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mcbert.settings import HERE, Positive, Several, Whole, require_default, section, shown

SEVERAL_LANGUAGES = ("xnli", "xnli-mt")  # formats whose languages must be named
Leaks = Literal["drop", "keep", "error"]
Conflicts = Literal["error", "majority", "keep"]
COLUMNS = ("id", "text", "text_pair", "label", "language", "split")
"""Columns of a corpus, in order."""
CODES = "de, zh-TW, hye_Armn"
"""Language codes as messages give them for examples."""
_CODE = re.compile(r"([A-Za-z]{2,8}|[xi])([-_][A-Za-z0-9]{1,8})*")
Fraction = Annotated[float, Field(gt=0, lt=1)]


def is_code(text: str) -> bool:
    """Tell whether a text has the form of a language code: BCP 47's, or FLORES', which writes ``hye_Armn``.

    Whether there is such a language is not asked: corpora have codes of their own making.

    >>> [is_code(code) for code in ("pt-BR", "hye_Armn", "x-klingon", "xx", "klingon!", "de DE")]
    [True, True, True, True, False, False]
    """
    return _CODE.fullmatch(text) is not None


def _code(text: str) -> str:
    if not is_code(text):
        raise ValueError(f"got {shown(text)}, accepted: a language code such as {CODES}")
    return text


Code = Annotated[str, AfterValidator(_code)]


@section("corpus")
class CorpusSettings:
    """Labelled texts that `prepare` does not make: their files, columns and form."""

    path: str = ""
    """A table with the columns id, text, label, language, split and perhaps text_pair, a release's folder, a
    dataset's name."""

    format: Literal["table", "huggingface", "xnli", "xnli-mt", "multinli", "snli", "allnli", "nli"] = "table"
    """``table``: CSV, TSV, JSON Lines or Parquet; ``huggingface``: a dataset of the hub by name or a local
    folder; ``xnli``: MultiNLI train with XNLI 1.0 dev and test; ``xnli-mt``: the same with XNLI-MT's train
    translated into the source language; ``multinli``: dev matched, test mismatched; ``snli``; ``allnli``:
    AllNLI.tsv.gz; ``nli``: a folder of train.csv, dev.csv and perhaps test.csv with the columns id, premise,
    hypothesis, label."""

    source_language: Code = "en"
    """Language of the training texts."""

    languages: Several[str] = ()
    """Languages to keep; empty keeps all (required for ``xnli`` and ``xnli-mt``)."""

    columns: dict[str, str] = dataclasses.field(default_factory=dict)
    """Our column name -> the table's or dataset's, where they differ; also read for `prepare.raw`."""

    encoding: str = "utf-8"
    """Encoding of CSV, TSV and JSON Lines, by Python's name; also for `prepare.raw`."""

    delimiter: str = ""
    """Character between the fields of CSV and TSV; empty: tab for TSV, of CSV comma, or where the header has
    none semicolon, tab or ``|``; also for `prepare.raw`."""

    quoting: Literal["auto", "csv", "none"] = "auto"
    """Quoting of CSV and TSV: ``csv`` as RFC 4180, ``none``: quotes are characters as any other; ``auto``:
    CSV has it, TSV does not; also for `prepare.raw`."""

    config: str = ""
    """Configuration of a Hugging Face dataset that holds all languages."""

    configs: dict[str, str] = dataclasses.field(default_factory=dict)
    """Language -> configuration of a Hugging Face dataset that holds one language each."""

    splits: dict[str, str] = dataclasses.field(default_factory=dict)
    """Our split -> what the column split calls it, or the Hugging Face dataset; empty: a table says train,
    dev, test; of a dataset train, validation (or dev) and test are read. Also for `prepare.raw`."""

    revision: str = ""
    """Commit, tag or branch of a Hugging Face dataset; empty: its newest."""

    on_bad: Literal["error", "skip"] = "error"
    """Rows that cannot be used: ``error`` stops and names them, ``skip`` leaves them out and lists them in
    rejected.csv; also for `prepare.raw`."""

    many_labels: bool = False
    """Accept more than 1,000 labels, or more than half as many as train rows."""

    leaks: Leaks = "drop"
    """Dev and test texts that occur in train up to Unicode form, case, blanks and punctuation at the end, and
    translations of such texts: ``drop`` leaves them out and lists them in rejected.csv, ``keep`` scores them
    (as figures to compare with published ones need), ``error`` stops; named in each case. `prepare` splits so
    that there are none; train texts that `prepare.transfer` translates count, too."""

    conflicts: Literal["auto", "error", "majority", "keep"] = "auto"
    """Texts that occur with different labels: ``error`` stops, ``majority`` gives all rows of a text the
    label that most have and leaves out texts without a majority, ``keep`` takes them as they are; named in
    each case. ``auto``: error for a table, also for `prepare.raw`; keep for what is published as it is,
    releases and datasets of the hub."""

    merge_labels: bool = False
    """Take labels that differ in Unicode form, case or blanks alone for one, the most frequent spelling;
    otherwise they are named. Also for `prepare.raw`."""

    language_codes: dict[str, str] = dataclasses.field(default_factory=dict)
    """Code in the column language -> code to take it for, best BCP 47's: ``{ "zh_Hans" = "zh" }``. Codes that
    mean the same are named; a code in no row is an error. Also for `prepare.raw` and `prepare.labelled`."""

    @property
    def on_conflict(self) -> Conflicts:
        """Return `conflicts` with ``auto`` resolved: the treatment of texts with different labels."""
        if self.conflicts != "auto":
            return self.conflicts
        return "error" if self.format == "table" else "keep"

    @model_validator(mode="after")
    def _check_meaning(self) -> Self:
        for names, formats in _MEANT_FOR:
            if self.format not in formats:
                require_default(self, names, f"for format {self.format!r}, but for {' or '.join(formats)}")
        if self.config and self.configs:
            raise ValueError(f"{HERE}.config: got it and {HERE}.configs; accepted: one of them")
        return self

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        for setting, accepted in (("columns", COLUMNS), ("splits", ("train", "dev", "test"))):
            for name in getattr(self, setting):
                if name not in accepted:
                    raise ValueError(
                        f"{HERE}.{setting}: got the key {name!r}, accepted: {', '.join(accepted)}"
                    )
        for theirs in self.splits.values():
            both = [ours for ours, name in self.splits.items() if name == theirs]
            if len(both) > 1:
                raise ValueError(f"{HERE}.splits: {theirs!r} is named for {' and '.join(both)}")
        if len(self.delimiter) > 1 or self.delimiter in ('"', "\r", "\n"):
            raise ValueError(f"{HERE}.delimiter: got {self.delimiter!r}, accepted: one character, no quote")
        try:
            "a\n".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            raise ValueError(
                f"{HERE}.encoding: got {self.encoding!r}, accepted: a text encoding such as utf-8, utf-16, "
                "cp1252, gb18030"
            ) from error
        return self

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        for code, to in self.language_codes.items():
            if not is_code(to):
                raise ValueError(
                    f"{HERE}.language_codes: got {to!r} for {code!r}, accepted: a code such as {CODES}"
                )
        if self.languages and self.source_language not in self.languages:
            raise ValueError(
                f"{HERE}.languages: the source language {self.source_language!r} is not among them"
            )
        if self.format in SEVERAL_LANGUAGES and not self.languages:
            raise ValueError(f"{HERE}.languages: name the XNLI languages to keep, for example ['en', 'de']")
        return self


_MEANT_FOR = (
    (("encoding", "delimiter", "quoting"), ("table",)),
    (("columns", "splits", "merge_labels", "language_codes"), ("table", "huggingface")),
    (("config", "configs", "revision"), ("huggingface",)),
)
"""Settings, and the formats for which they mean something."""


@section("prepare")
class PrepareSettings:
    """How raw texts of one language become a corpus of several."""

    raw: str = ""
    """Table of raw texts with columns text, label and perhaps id (else the number of the row), text_pair and
    split (then kept as it is); empty: `corpus.path` is read as it is."""

    language: Code = "en"
    """Language of the raw texts, the source language."""

    top_labels: Whole = 0
    """Keep this many labels, the most frequent ones (ties by name); 0 keeps all. What is left out is said."""

    dev_fraction: Fraction = 0.135
    """Share of each label's texts for dev."""

    test_fraction: Fraction = 0.27
    """Share of each label's texts for test."""

    balance: bool = True
    """Duplicate training texts of the smaller labels until every label has as many as the largest."""

    translations: dict[Code, str] = dataclasses.field(default_factory=dict)
    """Language -> table with columns id, text (and text_pair) that translates the dev and test texts of
    `raw`; languages of `translator` without a table are translated by their model."""

    labelled: dict[Code, str] = dataclasses.field(default_factory=dict)
    """Language -> table as `raw` of texts in it that have labels of their own and translate nothing: dev and
    test texts, by a column split or in the proportion of `dev_fraction` and `test_fraction`; those of labels
    that are not kept are left out."""

    seed: Annotated[int, Field(ge=0, lt=1 << 32)] = 0
    """Seed of the split and of the choice of duplicates."""

    transfer: Literal["zero-shot", "translate-train", "translate-test"] = "zero-shot"
    """How labels reach the target languages: ``zero-shot``: train on source-language texts alone;
    ``translate-train``: on their translations too; ``translate-test``: as zero-shot, and dev and test texts
    of the target languages are read translated into the source language."""

    train_language: str = ""
    """For translate-train: train on the translations into this language alone; empty: on the source texts
    and their translations into all target languages."""

    train_translations: dict[str, str] = dataclasses.field(default_factory=dict)
    """For translate-train: language -> table with columns id, text (and text_pair) that translates the train
    texts, or XNLI-MT's (premise, hypo, label, in the order of the train texts); languages without a table
    are translated by `translator`."""

    source_translations: dict[str, str] = dataclasses.field(default_factory=dict)
    """For translate-test: language -> table with columns id, text (and text_pair) with its dev and test texts
    in the source language; languages without a table are translated by `source_translator`."""

    translator: dict[str, str] = dataclasses.field(default_factory=dict)
    """Language -> sequence-to-sequence model, by folder or hub name, that translates the source language into
    it; ``"*"``: the model for every other language of `translator_codes`."""

    source_translator: dict[str, str] = dataclasses.field(default_factory=dict)
    """Language -> model that translates it into the source language; ``"*"``: for every other language."""

    translator_codes: dict[str, str] = dataclasses.field(default_factory=dict)
    """Language -> what models of several languages call it: ``de``, ``deu_Latn``, ``>>deu<<``, or the words
    to put before a text; the source language has one too."""

    beams: Positive = 4
    """Hypotheses followed when a model translates; 1 is greedy."""

    translation_length: Annotated[int, Field(ge=3)] = 256
    """Tokens that a model reads of a sentence, and writes, at most."""

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.dev_fraction + self.test_fraction >= 1:
            raise ValueError(f"{HERE}.dev_fraction: with test_fraction it leaves nothing to train on")
        return self

    @model_validator(mode="after")
    def _check_languages(self) -> Self:
        for name in ("translations", "labelled"):
            if self.language in getattr(self, name):
                raise ValueError(f"{HERE}.{name}: {self.language!r} is the language of the raw texts")
            if "mean" in getattr(self, name):
                raise ValueError(f"{HERE}.{name}.mean: accepted: a language; in results mean is of all")
        both = sorted(set(self.labelled) & {*self.translations, *self.translator})
        if both:
            raise ValueError(
                f"{HERE}.labelled: {both[0]!r} is translated, too; accepted: its own labels or translations"
            )
        return self

    @model_validator(mode="after")
    def _check_translation(self) -> Self:
        for name in ("translator", "source_translator"):
            if "*" in getattr(self, name) and not self.translator_codes:
                raise ValueError(
                    f"{HERE}.{name}: '*' is for the languages of {HERE}.translator_codes, which is empty"
                )
        if self.raw and self.language in self.translator:
            raise ValueError(f"{HERE}.translator: {self.language!r} is the language of the raw texts")
        return self

    @property
    def target_languages(self) -> tuple[str, ...]:
        """Languages that the dev and test texts of `raw` are put into, by tables or models."""
        several = self.translator_codes if "*" in self.translator else ()
        named = dict.fromkeys([*self.translations, *self.translator, *several])
        return tuple(language for language in named if language not in ("*", self.language))

    @property
    def transfer_name(self) -> str:
        """Name of the protocol on results: ``translate-train`` with its language, or ``-all``."""
        if self.transfer != "translate-train":
            return self.transfer
        return f"translate-train-{self.train_language or 'all'}"
