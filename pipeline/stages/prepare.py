"""The stage ``prepare``: texts read or prepared, and checked -> texts.csv; what was left out -> rejected.csv.

python -m mcbert prepare --config demo
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.files import sha256
from mcbert.home import HOME
from mcbert.pipeline.config import Config
from mcbert.pipeline.progress import track
from mcbert.pipeline.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.corpus.corpus import Corpus
    from mcbert.features.corpus.preparation.translation import MachineTranslation


def prepare(workspace: Workspace) -> None:
    """Write texts.csv: the corpus, made of raw texts or read as it is, checked either way."""
    machine = machine_of(workspace.config, workspace.cache)
    workspace.run.stage("prepare", inputs(workspace, machine), lambda: _prepare(workspace, machine))


def inputs(workspace: Workspace, machine: MachineTranslation | None) -> dict[str, Any]:
    """Return everything that texts.csv depends on; `machine` translates."""
    config = workspace.config
    return {
        "prepare": dataclasses.asdict(config.prepare),
        "corpus": dataclasses.asdict(config.corpus),
        "files": checksums(config),
        "translators": translators(config, machine) if machine else {},
    }


def machine_of(config: Config, cache: Path) -> MachineTranslation | None:
    """Return the models that translate; None where the settings name none."""
    if not config.prepare.translator and not config.prepare.source_translator:
        return None
    from mcbert.features.corpus.preparation.translation import MachineTranslation

    return MachineTranslation(config.prepare, config.corpus.source_language, cache, track=track)


def _prepare(workspace: Workspace, machine: MachineTranslation | None) -> list[str]:
    from mcbert.results.csv_files import write
    from mcbert.results.schema.texts import REJECTED, TEXTS

    corpus, rejected = corpus_of(workspace.config, workspace.stamp, machine)
    write(TEXTS, corpus.table, workspace.texts)
    path = workspace.run.folder / "rejected.csv"
    if rejected.empty:
        path.unlink(missing_ok=True)
        return [workspace.texts.name]
    write(REJECTED, rejected, path)
    return [workspace.texts.name, path.name]


def files_read(config: Config) -> list[Path]:
    """Return the files that the texts come from; those of a dataset of the hub are not among them."""
    prepare = config.prepare
    translated = {
        "zero-shot": {},
        "translate-train": prepare.train_translations,
        "translate-test": prepare.source_translations,
    }[prepare.transfer]
    more = [Path(file) for file in translated.values()]
    if prepare.raw:
        tables = (prepare.raw, *prepare.translations.values(), *prepare.labelled.values())
        return [*map(Path, tables), *more]
    if not config.corpus.path:
        return []
    from mcbert.features.corpus.corpus import source_files

    return [*source_files(config.corpus), *more]


def checksums(config: Config) -> dict[str, str]:
    """Return sha256 of every file that the texts come from, by a name that tells no machine's folders."""
    files = [str(path) for path in files_read(config) if path.is_file()]
    return {name: sha256(Path(file)) for file, name in short_names(files).items()}


def translators(config: Config, machine: MachineTranslation) -> dict[str, dict[str, str]]:
    """Return the checksums of the models that the texts may be translated by, per pair of languages."""
    prepare, source = config.prepare, config.corpus.source_language
    named = [
        *prepare.translations,
        *prepare.translator,
        *prepare.source_translator,
        *prepare.translator_codes,
    ]
    targets = [t for t in dict.fromkeys([*named, *config.corpus.languages]) if t not in ("*", source)]
    pairs = []
    if prepare.raw:
        pairs += [(source, t) for t in prepare.target_languages if t not in prepare.translations]
    if prepare.transfer == "translate-train":
        wanted = [prepare.train_language] if prepare.train_language else targets
        pairs += [(source, t) for t in wanted if t not in prepare.train_translations]
    if prepare.transfer == "translate-test":
        pairs += [(t, source) for t in targets if t not in prepare.source_translations]
    return {f"{a}-{b}": machine.files(a, b) for a, b in dict.fromkeys(pairs) if machine.name(a, b)[1]}


def corpus_of(
    config: Config, stamp: Mapping[str, str], machine: MachineTranslation | None = None
) -> tuple[Corpus, pd.DataFrame]:
    """Read or prepare the texts, translated as the transfer protocol asks for.

    Parameters
    ----------
    machine : MachineTranslation, optional
        Translates what the user supplies no translation of.

    Returns
    -------
    Corpus
        The texts, checked.
    DataFrame
        Rows that cannot be used, or occur again, and were left out: the columns of `results.schema.REJECTED`.

    Raises
    ------
    ValueError
        No texts are named; or a `CorpusError` that names file, row and column.
    """
    from mcbert.features.corpus.corpus import checked_corpus, read_corpus, repeats_of, table_form
    from mcbert.features.corpus.errors import BadRows
    from mcbert.features.corpus.formats.rows import PLACE
    from mcbert.features.corpus.preparation.prepare import prepare
    from mcbert.features.corpus.preparation.transfer import transferred

    name = config.prepare.raw or config.corpus.path
    if not name:
        raise ValueError("corpus.path: got nothing, accepted: a table of labelled texts (or set prepare.raw)")
    bad = BadRows(config.corpus.on_bad, config.corpus.columns)
    if config.prepare.raw:
        table = prepare(config.prepare, table_form(config.corpus), bad, machine=machine, corpus=config.corpus)
    else:
        table = read_corpus(config.corpus, bad)
    corpus = transferred(
        checked_corpus(table, config.corpus, name, bad),
        config.prepare,
        machine,
        repeats=repeats_of(config.corpus),
        bad=bad,
        places=table.drop_duplicates("id").set_index("id")[list(PLACE)],
    )
    rejected = bad.frame()
    return corpus, rejected.assign(file=rejected["file"].map(short_names(list(rejected["file"])))).assign(
        **stamp
    )


def short_names(files: list[str]) -> dict[str, str]:
    """Return file -> its path in the checkout, or else as much of it as distinguishes the files."""
    names = {file: _in_checkout(file) for file in files}
    outside = [file for file, name in names.items() if Path(name).is_absolute()]
    base = os.path.commonpath([Path(file).parent for file in outside]) if outside else ""
    return names | {file: os.path.relpath(file, base) for file in outside}


def _in_checkout(file: str) -> str:
    path = Path(file).resolve()
    inside = path.exists() and path.is_relative_to(HOME)
    return str(path.relative_to(HOME)) if inside else file
