"""The tables of runs as typed DataFrames: one of a run, all of a run, or one of several that are compared.

import mcbert
candidates = mcbert.read_results("gridsearch", "demo")
both = mcbert.compare_results(["demo", "wider"], "table1")
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcbert import files
from mcbert.files.objects import Types, read_object
from mcbert.home import RUNS
from mcbert.results import deploy, predicted
from mcbert.results.csv_files import read, read_with_sums
from mcbert.results.csv_rows import CsvStream, TableError
from mcbert.results.schema import TABLES
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA
from mcbert.results.schema.runs import CONCLUSIONS
from mcbert.results.schema.search import CONFUSION, EFFECTS, GRIDSEARCH, PREDICTIONS, PROTOCOL_CHOICES, TOP
from mcbert.results.schema.texts import CORPUS, TEXTS
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1
from mcbert.results.schema.tune import TUNE
from mcbert.results.statistics import Interval

KINDS = {
    "protocol": "how the choice was made",
    "split": "the split (dev or test)",
    "language": "languages",
    "texts": "test texts",
    "transfer": "how labels reached the targets",
}
"""In what runs must agree to be compared, unless a difference is allowed."""

SHOWN = {
    "corpus": CORPUS,
    "gridsearch": GRIDSEARCH,
    "confusion": CONFUSION,
    "top": TOP,
    "effects": EFFECTS,
    "protocols": PROTOCOL_CHOICES,
    "finetune": FINETUNE,
    "freezing": FREEZING,
    "table1": TABLE1,
    "tune": TUNE,
    "conclusions": CONCLUSIONS,
    "sts": STS,
    "tatoeba": TATOEBA,
    "reductions": REDUCTIONS,
}
"""The tables that a report shows, by the name of their file without `.csv`."""

_RECORD: Types = {"seconds": (int, float), "machine": dict, "versions": dict, "inputs": dict}
_ORDER = (
    "prepare", "extract", "gridsearch", "export", "tune", "finetune", "pairs", "embeddings", "retrieval",
    "similarity", "report",
)  # fmt: skip


def read_results(name: str, run: str | Path, *, runs: Path | str = RUNS) -> pd.DataFrame:
    """Read a table of a run, typed and checked.

    Parameters
    ----------
    name : str
        The name of the file without `.csv`, such as gridsearch, scores, finetune or table1; predictions: of
        all systems.
    run : str or Path
        Name of a run in `runs`, or the path of its folder.
    runs : Path
        Folder of all runs.

    Returns
    -------
    DataFrame
        As `results.csv_files.read` gives it.

    Raises
    ------
    ValueError
        No table has the name, the run has none of it, or it breaks its declaration.

    Examples
    --------
    >>> import mcbert, tempfile
    >>> corpus = mcbert.prepare_corpus(mcbert.SAMPLES / "intents" / "raw.csv", top_labels=4)
    >>> folder = tempfile.mkdtemp()
    >>> states = mcbert.extract(corpus[::4], mcbert.SAMPLES / "encoder", layers=[6], cache=folder)
    >>> search = mcbert.LayerSearch(layers=[6], classifiers=["ridge"]).fit(states, corpus[::4])
    >>> mcbert.read_results("gridsearch", search.folder_)["rank"].tolist()  # three poolings, and their mean
    [1, 2, 3, 4]
    """
    folder = find_run(run, runs)
    names = {Path(table.file_name).stem: table for table in TABLES if "/" not in table.file_name}
    if name == "predictions":
        paths = sorted(folder.glob(PREDICTIONS.file_name))
        parts = [read(PREDICTIONS, path) for path in paths]
        if not parts:
            raise TableError(f"{folder / PREDICTIONS.file_name}: no such file")
        return pd.concat(parts, ignore_index=True)
    if name not in names or "*" in name:
        accepted = ", ".join(["predictions", *(known for known in names if "*" not in known)])
        raise ValueError(f"table: got {name!r}, accepted: {accepted}")
    return read(names[name], folder / f"{name}.csv")


def compare_results(
    runs: Sequence[str | Path],
    name: str = "gridsearch",
    *,
    allow: Collection[str] = (),
    folder: Path | str = RUNS,
) -> pd.DataFrame:
    """Join the rows of several runs' tables, refusing runs that cannot be compared.

    Parameters
    ----------
    runs : sequence of str or Path
        Two runs or more, as `read_results` takes them.
    name : str
        The table, as `read_results` takes it.
    allow : collection of str
        Differences to allow: protocol, split, language, texts, transfer.
    folder : Path
        Folder of all runs.

    Returns
    -------
    DataFrame
        The rows of all runs, in their order; the column `run` distinguishes them.

    Raises
    ------
    ValueError
        Fewer than two runs, two of one name, or a difference that is not allowed; test texts that are unknown
        for every run, for want of a texts.csv, count as different.

    Examples
    --------
    >>> import mcbert, tempfile
    >>> corpus = mcbert.prepare_corpus(mcbert.SAMPLES / "intents" / "raw.csv", top_labels=4)[::4]
    >>> states = mcbert.extract(
    ...     corpus, mcbert.SAMPLES / "encoder", layers=[6], cache=tempfile.mkdtemp()
    ... )
    >>> ridge = mcbert.LayerSearch(layers=[6], classifiers=["ridge"], ensemble=0).fit(states, corpus)
    >>> lda = mcbert.LayerSearch(layers=[6], classifiers=["lda"], ensemble=0).fit(states, corpus)
    >>> both = mcbert.compare_results([ridge.folder_, lda.folder_], "gridsearch", allow=["texts"])
    >>> both["classifier"].value_counts().to_dict()
    {'ridge': 3, 'lda': 3}
    """
    unknown = sorted(set(allow) - set(KINDS))
    if unknown:
        raise ValueError(f"allow: got {unknown[0]!r}, accepted: {', '.join(KINDS)}")
    folders = [find_run(run, folder) for run in runs]
    names = [path.name for path in folders]
    if len(set(names)) < 2 or len(set(names)) < len(names):
        raise ValueError(f"runs: got {', '.join(names) or 'none'}; accepted: two or more, each once")
    frames = [read_results(name, path).assign(run=path.name) for path in folders]
    all_kinds = unlike(folders, frames)
    if not any(map(digest_of_test, folders)):  # unknown texts are not known to be the same
        all_kinds["texts"] = [""] * len(folders)
    differing = {kind: found for kind, found in all_kinds.items() if kind not in allow}
    for kind, found in differing.items():
        told = "; ".join(f"{run}: {value or 'not known'}" for run, value in zip(names, found, strict=True))
        accepted = f"runs that agree, or allow={tuple(differing)}"
        raise ValueError(f"{name}: runs differ in {KINDS[kind]}: {told}; accepted: {accepted}")
    return pd.concat(frames, ignore_index=True)


@dataclasses.dataclass(frozen=True)
class RunTables:
    """The tables of a run by name (gridsearch, confusion, ...), its winner and its source language."""

    name: str
    tables: Mapping[str, pd.DataFrame]
    winner: Mapping[str, Any]
    source_language: str
    deploy: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The content of deploy.json; empty where there is none."""
    folder: Path | None = None
    """The run's folder; None: of tables in memory."""

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """The test rows of predictions_*.csv, as `results.predicted.read` returns them."""
        return predicted.read(self.folder)

    @functools.cached_property
    def accuracies(self) -> dict[str, dict[str, Interval]]:
        """The accuracy of each system on them, by language and over the targets."""
        return predicted.accuracies(self.predictions, self.source_language)

    @property
    def tried(self) -> dict[str, Any] | None:
        """Candidates that a search on a budget tried, of all, from winner.json; None: all."""
        found = self.winner.get("tried")
        return found if isinstance(found, dict) else None

    @property
    def train_texts(self) -> dict[str, int] | None:
        """Train rows that phase one fitted on, n, of all in corpus.csv; None: all, or not known."""
        n, corpus = self.winner.get("n_train"), self.table("corpus")
        if corpus is None or not isinstance(n, int):
            return None
        of = int(corpus.loc[corpus["split"] == "train", "n_texts"].sum())
        return {"n": n, "of": of} if n < of else None

    def table(self, name: str) -> pd.DataFrame | None:
        """Return a table, or None where it is absent or empty."""
        frame = self.tables.get(name)
        return None if frame is None or frame.empty else frame

    @classmethod
    def read(cls, run_dir: Path) -> RunTables:
        """Read the tables of a run's folder that are there.

        Raises
        ------
        ValueError
            If there are none, or one of them breaks its declaration.
        OSError
            If the folder holds a link: it is not followed.
        """
        files.require_own(run_dir)
        frames = {
            name: read_with_sums(table, run_dir / table.file_name)
            for name, table in SHOWN.items()
            if (run_dir / table.file_name).is_file()
        }
        if not frames:
            accepted = ", ".join(table.file_name for table in SHOWN.values())
            raise ValueError(f"{run_dir}: no results to report; accepted: a folder with any of {accepted}")
        path = run_dir / "winner.json"
        winner = read_object(path) if os.path.lexists(path) else {}
        source = source_language(frames, winner)
        return cls(run_dir.resolve().name, frames, winner, source, deploy.read(run_dir), run_dir)


def source_language(frames: dict[str, pd.DataFrame], winner: dict[str, Any]) -> str:
    """Return the source language: winner.json's, else the only one with texts to train on, else en."""
    if isinstance(winner.get("source_language"), str):
        return str(winner["source_language"])
    corpus = frames.get("corpus")
    trained: set[str] = set()
    if corpus is not None:  # of translated texts none tells what they were translated from
        rows = (corpus["split"] == "train") & ~corpus["transfer"].str.startswith("translate-train")
        trained = set(corpus.loc[rows, "language"])
    return trained.pop() if len(trained) == 1 else "en"


def unlike(folders: Sequence[Path], frames: Sequence[pd.DataFrame]) -> dict[str, list[str]]:
    """Return the differences between runs: by kind (`KINDS`), the value of each run.

    Parameters
    ----------
    folders : sequence of Path
        The runs.
    frames : sequence of DataFrame
        One of the tables of each; columns that it has not are not compared.
    """
    found = {"texts": [digest_of_test(folder) for folder in folders]}
    for kind in ("protocol", "split", "language", "transfer"):
        if all(kind in frame for frame in frames):
            found[kind] = [_values(frame, kind) for frame in frames]
    return {kind: found[kind] for kind in KINDS if kind in found and len(set(found[kind])) > 1}


def digest_of_test(folder: Path) -> str:
    """Return 12 hex digits over ids, languages and labels of a run's test texts; empty if it does not say.

    Read from texts.csv; without it from the predictions.
    """
    path = folder / TEXTS.file_name
    table, paths = (TEXTS, [path]) if path.is_file() else (PREDICTIONS, folder.glob(PREDICTIONS.file_name))
    streams = [CsvStream(table, one, ("id", "language", "label", "split")) for one in paths]
    test = sorted({"\t".join(row) for rows in streams for row in rows if row[-1] == "test"})
    if not test and not path.is_file():
        return ""
    return hashlib.sha256("\n".join(test).encode()).hexdigest()[:12]


def find_run(run: str | Path, runs: Path | str = RUNS) -> Path:
    """Return the folder of a run by its name or its path.

    Raises
    ------
    ValueError
        There is none.
    """
    for path in (Path(runs) / run, Path(run)):
        if path.is_dir() and ((path / "stages").is_dir() or any(path.glob("*.csv"))):
            return path
    there = sorted(path.name for path in Path(runs).glob("*/") if not path.name.startswith("."))
    raise ValueError(
        f"run: got {str(run)!r}, accepted: one of {', '.join(there) or 'none'} in {runs}, or a folder"
    )


def stages(run_dir: Path) -> list[dict[str, Any]]:
    """Return the stages that a run's folder has records of, in the order of the method.

    Returns
    -------
    list of dict
        name, seconds, machine and versions (texts by name; empty where the record has none), settings (the
        stage's inputs as JSON).
    """
    found = []
    for path in stage_records(run_dir):
        record = read_object(path, optional=_RECORD)
        found.append(
            {
                "name": path.stem,
                "seconds": record.get("seconds"),
                "machine": record.get("machine", {}),
                "versions": record.get("versions", {}),
                "settings": json.dumps(
                    record.get("inputs", {}), indent=1, ensure_ascii=False, sort_keys=True
                ),
            }
        )
    return found


def stage_records(run_dir: Path) -> list[Path]:
    """Return the records of a run's finished stages, in the order of the method."""
    return sorted((run_dir / "stages").glob("*.json"), key=_place)


def _place(record: Path) -> tuple[int, str]:
    """Order records of stages; not by their times, which a copy of the run's folder need not keep."""
    stage = record.stem.split("-")[0]
    return _ORDER.index(stage) if stage in _ORDER else len(_ORDER) - 1, record.stem


def _values(frame: pd.DataFrame, kind: str) -> str:
    """List the values of a column; protocols by system, since each has its own."""
    if kind == "protocol" and "system" in frame:
        pairs = frame[["system", "protocol"]].drop_duplicates().sort_values(["system", "protocol"])
        return ", ".join(f"{row.system} {row.protocol}" for row in pairs.itertuples())
    return ", ".join(sorted(set(frame[kind])))
