"""A workspace, which every stage takes: a configuration, its run's folder, the caches, the encoder.

python -m pytest tests/pipeline/test_cli.py
"""

from __future__ import annotations

import dataclasses
import re
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.files.objects import AGAIN, read_object, short
from mcbert.home import HOME
from mcbert.pipeline.config import Config
from mcbert.pipeline.interruption import Interruption
from mcbert.pipeline.run import Run, stamped_versions

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.corpus.corpus import Corpus
    from mcbert.results.column import Table


class Workspace:
    """One configuration in one run folder.

    Parameters
    ----------
    config : Config
        Configuration of the run.
    run : Run
        Where results go.
    cache : Path
        Folder of all feature caches; caches are shared between runs.
    interruption : Interruption
        Signals that long work polls.
    """

    def __init__(self, config: Config, run: Run, cache: Path, interruption: Interruption) -> None:
        self.config, self.run, self.cache, self.interruption = config, run, cache, interruption
        self.texts = run.folder / "texts.csv"
        self.winner = run.folder / "winner.json"

    @property
    def stamp(self) -> dict[str, str]:
        """Columns that every results row carries."""
        return {
            "run": self.run.name,
            "config_digest": self.config.digest,
            "encoder": shown(self.config.encoder.path),
            "versions": stamped_versions(),
            "transfer": self.config.prepare.transfer_name,
        }

    @property
    def searches(self) -> bool:
        """Return True if phase two takes something from phase one: layers, pooling, the head's start."""
        return self.config.finetune.searches

    @cached_property
    def encoder(self) -> Path:
        """Local folder of the encoder."""
        from mcbert.features.encoder.opening import open_encoder

        return open_encoder(self.config.encoder, self.cache)

    @cached_property
    def prompt(self) -> str:
        """Prompt: put before each text."""
        from mcbert.features.encoder.opening import chosen_prompt

        return chosen_prompt(self.encoder, self.config.encoder)

    @cached_property
    def encoder_identity(self) -> dict[str, str]:
        """Checksums of the encoder's weights, config and tokenizer."""
        from mcbert.features.encoder.identity import encoder_identity

        return encoder_identity(self.encoder, self.cache / "encoders")

    @property
    def encoder_inputs(self) -> dict[str, Any]:
        """Inputs of a stage that reads the encoder: its settings, its files' checksums."""
        return dataclasses.asdict(self.config.encoder) | {"prompt": self.prompt} | self.encoder_identity

    def texts_by(self, *columns: str) -> set[tuple[str, ...]]:
        """Return the distinct values of columns of texts.csv, read a row at a time."""
        from mcbert.results.csv_rows import CsvStream
        from mcbert.results.schema.texts import TEXTS

        return set(CsvStream(TEXTS, self.texts, columns))

    def texts_table(self) -> pd.DataFrame:
        """Return what texts.csv says of each text: id, label, language and split; in any order."""
        import pandas as pd

        columns = ["id", "label", "language", "split"]
        return pd.DataFrame(sorted(self.texts_by(*columns)), columns=columns)

    def stamped(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return rows of a table with the run's stamp; columns that they have stay as they are."""
        return rows.assign(**{name: text for name, text in self.stamp.items() if name not in rows.columns})

    def corpus(self) -> Corpus:
        """Return the corpus of the run's texts.csv."""
        from mcbert.finetune.texts import read_texts

        return read_texts(self.texts, self.config.corpus.source_language)

    @property
    def train_texts(self) -> dict[str, int]:
        """How phase one draws its train texts, as inputs of a stage; empty where it takes all."""
        settings = self.config.gridsearch
        return {"n": settings.train_texts, "seed": settings.seeds[0]} if settings.train_texts else {}

    @cached_property
    def searched_rows(self) -> list[bool] | None:
        """Whether phase one takes each row of texts.csv: dev, test and the train texts drawn; None: all.

        Raises
        ------
        ValueError
            gridsearch.train_texts is too few for the labels.
        """
        if not self.train_texts:
            return None
        import pandas as pd

        from mcbert.features.corpus.stratified import drawn_train
        from mcbert.results.csv_rows import CsvStream
        from mcbert.results.schema.texts import TEXTS

        columns = ("id", "label", "language", "split")
        table = pd.DataFrame(CsvStream(TEXTS, self.texts, columns), columns=list(columns))
        source = self.config.corpus.source_language
        taken: list[bool] = drawn_train(
            table, source, **self.train_texts, key="gridsearch.train_texts"
        ).tolist()
        return taken

    def searched_corpus(self) -> Corpus:
        """Return the corpus of phase one, whose rows the cache has: `corpus` less train texts not drawn."""
        corpus, taken = self.corpus(), self.searched_rows
        return corpus if taken is None else corpus.taken(taken)

    def cache_folder(self) -> Path:
        """Return the folder of the feature cache that the run's extraction made or found."""
        path = self.run.folder / "cache.json"
        digest: str = read_object(path, {"digest": str})["digest"]
        if not re.fullmatch(r"[0-9a-f]{16}", digest):  # the name of a folder below that of all caches
            raise ValueError(f"{path}: damaged (digest: {short(digest)}); {AGAIN}")
        return self.cache / digest


def file_names(*tables: Table) -> list[str]:
    """Return the names of the files of tables, those of their sums too."""
    return [name for table in tables for name in table.file_names]


def shown(path: str) -> str:
    """Return a path inside the checkout relative to it, so that results do not name a machine's folders."""
    try:
        return str(Path(path).resolve().relative_to(HOME)) if Path(path).exists() else path
    except ValueError:
        return Path(path).name
