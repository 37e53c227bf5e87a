"""The stages, wired: each reads one artifact, writes the next, and runs the earlier ones that are missing.

prepare -> texts.csv -> extract -> cache/<digest>/ -> gridsearch -> winner.json, gridsearch.csv -> finetune
-> finetune.csv, table1.csv, models/
what is there of these -> report -> report.html
Tatoeba pairs -> retrieval -> cache/<digest>/, tatoeba.csv
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from mcbert import __version__
from mcbert.files import sha256
from mcbert.pipeline.cluster import kept_executor, training_executor
from mcbert.pipeline.progress import track
from mcbert.pipeline.stages.deploy import name_model
from mcbert.pipeline.stages.extraction import cached
from mcbert.pipeline.workspace import Workspace
from mcbert.results.column import Table
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA
from mcbert.results.schema.search import EFFECTS, PROTOCOL_CHOICES, SCORES, TOP
from mcbert.results.schema.training import FINETUNE, FREEZING, TABLE1
from mcbert.results.schema.tune import TUNE

if TYPE_CHECKING:
    from mcbert.search.space import GridsearchSettings

log = logging.getLogger(__name__)


def _names(*tables: Table) -> list[str]:
    return [name for table in tables for name in table.file_names]


EVIDENCE = _names(SCORES, TOP, EFFECTS, PROTOCOL_CHOICES)
TABLES = ("corpus.csv", "gridsearch.csv", "confusion.csv", *EVIDENCE, "predictions_gridsearch.csv",
          "predictions.npz", "finetune.csv", "freezing.csv", "predictions_finetune.csv",
          *_names(TABLE1, TUNE, STS, TATOEBA, REDUCTIONS))  # fmt: skip


class Pipeline(Workspace):
    """The stages of a workspace; each makes sure of those before it."""

    @cached_property
    def _machine(self) -> Any:
        from mcbert.features.corpus.preparation.translation import MachineTranslation

        source = self.config.corpus.source_language
        return MachineTranslation(self.config.prepare, source, self.cache, track=track)

    def prepare(self) -> None:
        """Write texts.csv: the corpus, made of raw texts or read as it is, checked either way."""
        from mcbert.pipeline.stages.texts import checksums, translators

        inputs: dict[str, Any] = {
            "prepare": dataclasses.asdict(self.config.prepare),
            "corpus": dataclasses.asdict(self.config.corpus),
            "files": checksums(self.config),
            "translators": translators(self.config, self._machine),
        }
        self.run.stage("prepare", inputs, self._prepare)

    def _prepare(self) -> list[str]:
        from mcbert.pipeline.stages.texts import corpus_of
        from mcbert.results.csv_files import write
        from mcbert.results.schema.texts import REJECTED, TEXTS

        corpus, rejected = corpus_of(self.config, self.stamp, self._machine)
        write(TEXTS, corpus.table, self.texts)
        if rejected.empty:
            (self.run.folder / "rejected.csv").unlink(missing_ok=True)
            return [self.texts.name]
        write(REJECTED, rejected, self.run.folder / "rejected.csv")
        return [self.texts.name, "rejected.csv"]

    def extract(self) -> None:
        """Make sure that the feature cache of the corpus is there and whole; write corpus.csv."""
        self.prepare()
        self._extracted()

    def _extracted(self) -> None:
        inputs = {
            "extract": dataclasses.asdict(self.config.extract),
            "encoder": self.encoder_inputs,
            "texts": sha256(self.texts),
        }
        if not self._cache_there():
            (self.run.folder / "cache.json").unlink(missing_ok=True)
        self.run.stage("extract", inputs, self._extract)

    def _extract(self) -> list[str]:
        from mcbert.features.corpus.statistics import corpus_statistics
        from mcbert.features.encoder.tokens import load_tokenizer
        from mcbert.pipeline.run import write_json
        from mcbert.results.csv_files import write
        from mcbert.results.csv_rows import CsvStream
        from mcbert.results.schema.texts import CORPUS, TEXTS

        target = cached(
            self,
            CsvStream(TEXTS, self.texts, ("id", "text", "text_pair")),
            self.config.prepare.raw or self.config.corpus.path,
        )
        rows = corpus_statistics(
            self.corpus(),
            load_tokenizer(self.encoder, prompt=self.prompt),
            self.config.encoder.max_length,
            track=track,
        )
        write(CORPUS, rows.assign(**self.stamp), self.run.folder / "corpus.csv")
        write_json(self.run.folder / "cache.json", {"digest": target.name})
        return ["corpus.csv", "cache.json"]

    def gridsearch(self, require: Callable[[], None] = lambda: None) -> None:
        """Search layer subset x pooling x classifier over the cache.

        Parameters
        ----------
        require : callable
            Raises where the stage that asks for the search could not go on after it.
        """
        self.prepare()
        require()
        searched = self._settled()
        self._extracted()
        settings = dataclasses.asdict(searched)
        inputs = {
            "budget": {name: settings.pop(name) for name in ("budget", "budget_seconds")},
            "gridsearch": settings,
            "cache": sha256(self.run.folder / "cache.json"),
            "texts": sha256(self.texts),
        }
        again = self.config.cluster.retry_errors
        work = partial(self._gridsearch, searched)
        self.run.stage("gridsearch", inputs, work, replace=("budget",), again=again)
        name_model(self)

    def _settled(self) -> GridsearchSettings:
        """Return what to search, the protocol settled by the texts, so that nothing is encoded in vain."""
        from mcbert.results.csv_rows import CsvStream
        from mcbert.results.schema.texts import TEXTS
        from mcbert.search.selection import scored_languages, settle_protocol

        source, settings = self.config.corpus.source_language, self.config.gridsearch
        found = set(CsvStream(TEXTS, self.texts, ("split", "language")))
        targets = sorted({language for _, language in found} - {source})
        languages = scored_languages(settings, (source, *targets))
        return settle_protocol(
            settings, languages, {name for split, name in found if split == "dev"}, str(self.texts)
        )

    def searched(self, require: Callable[[], None] = lambda: None) -> None:
        """Make sure of a search for the stages after it: the run's own, as far as its budget took it."""
        given = dataclasses.asdict(self.config.gridsearch)
        kept = self.run.inputs("gridsearch").get("budget", {})
        differing = [name for name in kept if kept[name] != given[name]]
        if differing:
            log.warning(
                "gridsearch: keeping this run's search: %s; the command gridsearch goes on with others",
                ", ".join(f"gridsearch.{name} {kept[name]}, not {given[name]}" for name in differing),
            )
            settings = dataclasses.replace(self.config.gridsearch, **kept)
            self.config = dataclasses.replace(self.config, gridsearch=settings)
        self.gridsearch(require)

    def _gridsearch(self, settings: GridsearchSettings) -> list[str]:
        from mcbert.files.ledger import retry_errors
        from mcbert.pipeline.commands.caches import open_cache
        from mcbert.pipeline.stages.gridsearch import search

        if self.config.cluster.retry_errors:
            n_failed = retry_errors(self.run.folder / "gridsearch.jsonl")
            log.info("gridsearch: %d candidates failed earlier and are run again", n_failed)
        with kept_executor(self.config.cluster) as execute:
            search(
                settings,
                open_cache(self.cache_folder()),
                self.corpus(),
                out=self.run.folder,
                execute=execute,
                stamp=self.stamp,
            )
        # no probe of a user's classifier, no evidence without a comparison
        there = [name for name in ("probe.npz", *EVIDENCE) if (self.run.folder / name).is_file()]
        return ["gridsearch.csv", "confusion.csv", "winner.json", "predictions.npz",
                "predictions_gridsearch.csv", *there]  # fmt: skip

    def finetune(self) -> None:
        """Fine-tune the winner, with and without freezing, beside the [CLS] baseline."""
        from mcbert.pipeline.stages.forecast import require_finetune

        if self.searches:
            self.searched(partial(require_finetune, self, self.config.finetune))
        else:
            self.prepare()
        inputs = {
            "finetune": dataclasses.asdict(self.config.finetune),
            "encoder": self.encoder_inputs,
            "texts": sha256(self.texts),
            "winner": sha256(self.winner) if self.searches else None,
        }
        if self.config.finetune.start == "probe":
            inputs["gridsearch"] = sha256(self.run.folder / "gridsearch.csv")
        self.run.stage("finetune", inputs, self._finetune)
        name_model(self)

    def _finetune(self) -> list[str]:
        from mcbert.finetune.jobs import Inputs
        from mcbert.finetune.stage import finetune
        from mcbert.pipeline.stages import start

        settings = self.config.finetune
        winner = start.beginning(self, settings, self.run.folder)
        if not settings.max_length:
            settings = dataclasses.replace(settings, max_length=self.config.encoder.max_length)
        finetune(
            settings,
            Inputs(
                corpus=self.texts,
                source_language=self.config.corpus.source_language,
                winner=winner,
                encoder=self.encoder,
                prompt=self.prompt,
                out=self.run.folder,
            ),
            execute=training_executor(self.config.cluster),
            stamp=self.stamp,
            track=track,
        )
        names = [*_names(FINETUNE, FREEZING, TABLE1), "predictions_finetune.csv", *start.FILES]
        return [name for name in names if (self.run.folder / name).is_file()]  # no table1 without test texts

    def report(self) -> None:
        """Test the conclusions and draw report.html from the CSVs that are there; no other stage is run.

        Raises
        ------
        ValueError
            There are none.
        """
        files = {
            name: sha256(self.run.folder / name) for name in TABLES if (self.run.folder / name).is_file()
        }
        if not files:
            raise ValueError(
                f"{self.run.folder}: nothing to report yet; run gridsearch or finetune first, with the same "
                "--config and --run"
            )
        from mcbert.pipeline.stages.conclusions import stamp_of

        stamp, inputs = stamp_of(self.run.folder, self.stamp), {"version": __version__, "files": files}
        self.run.stage("report", inputs, lambda: self._report(stamp), replace=True)

    def _report(self, stamp: Mapping[str, str]) -> list[str]:
        from mcbert.pipeline.stages.conclusions import write_conclusions
        from mcbert.results.report.report import build

        tested = write_conclusions(self.run.folder, stamp)
        drawn = build(self.run.folder, figures=True)
        return [tested.name, *(path.relative_to(self.run.folder).as_posix() for path in drawn)]

    def _cache_there(self) -> bool:
        path = self.run.folder / "cache.json"
        return path.is_file() and (self.cache_folder() / "manifest.json").is_file()
