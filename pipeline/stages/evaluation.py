"""The stages that score sentence vectors: layers of the frozen encoder, and sentence encoders beside them.

python -m mcbert retrieval --config demo retrieval.tatoeba=tatoeba/v1
python -m mcbert evaluate-embeddings --config demo --model sentence-transformers/LaBSE
"""

from __future__ import annotations

import dataclasses
import logging
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.features.cache import FeatureStore
from mcbert.features.corpus.formats.parallel import languages_in, pair_files, read_pairs
from mcbert.features.corpus.formats.stsbenchmark import sts_files
from mcbert.features.spec import parse_layers
from mcbert.files import sha256
from mcbert.finetune.embeddings import similarity, translations
from mcbert.finetune.embeddings.retrieval import RetrievalSettings
from mcbert.finetune.embeddings.systems import (
    ComparedEncoder,
    Frozen,
    Sentences,
    VectorSource,
    encoded_systems,
    frozen_systems,
    texts_of,
)
from mcbert.pipeline.progress import track
from mcbert.pipeline.stages.extract import cached
from mcbert.pipeline.workspace import Workspace, shown
from mcbert.results import csv_files
from mcbert.results.csv_files import write
from mcbert.results.schema.embeddings import REDUCTIONS, STS, TATOEBA

if TYPE_CHECKING:
    from mcbert.finetune.embeddings.sentence_encoder import SentenceEncoder

log = logging.getLogger(__name__)

TRAINED = Path("models/embeddings")
"""The sentence encoder of a run's folder."""
POOLED = re.compile(r"(?P<name>.+)@(?P<layers>\d+(?:\+\d+)*):(?P<pooling>[a-z]+(?:\+[a-z]+)*)")
SHOWN = 5  # skipped sentences named in a warning


def evaluate_embeddings(workspace: Workspace, models: Sequence[str] = ()) -> None:
    """Evaluate sentence encoders by name beside those that the run has trained; print all of them.

    Parameters
    ----------
    models : sequence of str
        Folders or hub names; of plain encoders followed by layers and pooling, ``@7+8:mean``.
    """
    from mcbert.finetune.embeddings.opening import open_sentence_encoder
    from mcbert.results.report.embeddings import side_by_side

    trained = [str(path) for path in [workspace.run.folder / TRAINED] if path.is_dir()]
    encoders: list[SentenceEncoder] = []
    for model in dict.fromkeys([*trained, *models]):
        pooled = POOLED.fullmatch(model)
        if pooled is None:
            encoders.append(open_sentence_encoder(model))
        else:
            layers = parse_layers(pooled["layers"])
            encoders.append(open_sentence_encoder(pooled["name"], layers=layers, pooling=pooled["pooling"]))
    evaluate(workspace, encoders)
    sys.stdout.write(side_by_side(workspace.run.folder))


def evaluate(workspace: Workspace, encoders: Sequence[SentenceEncoder]) -> None:
    """Write ``sts.csv``, ``tatoeba.csv`` and ``reductions.csv``, as far as `retrieval` names the sentences.

    Raises
    ------
    ValueError
        Neither `retrieval.sts` nor `retrieval.tatoeba` is set; sentences or encoders that cannot be used; two
        encoders of one name.
    """
    settings = workspace.config.retrieval
    if not settings.sts and not settings.tatoeba:
        raise ValueError(
            "retrieval.sts: got nothing, and so retrieval.tatoeba; accepted: at least one of them"
        )
    runs, compared = workspace.run.folder.parent, list[ComparedEncoder]()
    for encoder in encoders:
        one = ComparedEncoder.of(encoder, name=shown(encoder.name), runs=runs, compat=settings.seed_compat)
        if any(one.columns == other.columns for other in compared):
            called = one.columns["encoder"]
            raise ValueError(f"--model {encoder.name}: another is called {called!r}, too; rename one")
        compared.append(one)
    if settings.sts:
        judge_similarity(workspace, compared)
    if settings.tatoeba:
        retrieval(workspace, compared)


def judge_similarity(workspace: Workspace, compared: Sequence[ComparedEncoder]) -> None:
    """Write ``sts.csv``: every layer x pooling on dev; the best, the baselines and encoders on test, too."""
    settings = workspace.config.retrieval
    inputs = {
        "similarity": {"compat": settings.seed_compat},
        **frozen_inputs(workspace, sts_files(Path(settings.sts))),
        "systems": _settled(workspace, "similarity", compared, STS.file_name),
    }

    def work() -> list[str]:
        pairs = similarity.read_scored_pairs(Path(settings.sts))
        rows = texts_of(pairs, similarity.SUFFIXES, compat=settings.seed_compat)
        systems: list[VectorSource] = [
            *frozen(workspace, rows, settings.sts, compared, compat=settings.seed_compat),
            *encoded_systems(compared, rows),
        ]
        bases = {*(one.layers for one in compared), (_last_layer(workspace),)} if compared else set()
        table = similarity.evaluate(pairs, systems, bases=bases, track=track)
        write(STS, workspace.stamped(table), workspace.run.folder / STS.file_name)
        return [STS.file_name]

    workspace.run.stage("similarity", inputs, work, replace=("systems",))


def retrieval(workspace: Workspace, compared: Sequence[ComparedEncoder] = ()) -> None:
    """Write ``tatoeba.csv`` and, beside sentence encoders, ``reductions.csv``; needs no labelled texts."""
    settings = workspace.config.retrieval
    found = languages(settings)
    inputs = {
        "retrieval": {"languages": found, "neighbours": settings.neighbours, "compat": settings.seed_compat},
        **frozen_inputs(workspace, pair_files(Path(settings.tatoeba), found)),
        "systems": _settled(workspace, "retrieval", compared, TATOEBA.file_name),
    }

    def work() -> list[str]:
        pairs = read_pairs(Path(settings.tatoeba), found)
        rows = texts_of(pairs, translations.SUFFIXES, compat=settings.seed_compat)
        layers = frozen(workspace, rows, settings.tatoeba, compared, compat=settings.seed_compat)
        skipped = [translations.sentence_name(pairs, int(row)) for row in layers[0].store.skipped_rows]
        if skipped:
            log.warning("retrieval: %d sentences have no finite state; their pairs count as wrong: %s%s",
                        len(skipped), ", ".join(skipped[:SHOWN]),
                        ", ..." if len(skipped) > SHOWN else "")  # fmt: skip
        tables = translations.evaluate(
            pairs,
            [*layers, *encoded_systems(compared, rows)],
            neighbours=settings.neighbours,
            last=_last_layer(workspace) if compared else None,
            track=track,
        )
        folder = workspace.run.folder
        for name in REDUCTIONS.file_names:
            (folder / name).unlink(missing_ok=True)
        return [
            path.name
            for table, frame in zip((TATOEBA, REDUCTIONS), tables, strict=True)
            if len(frame)
            for path in csv_files.write_with_sums(table, workspace.stamped(frame), folder / table.file_name)
        ]

    workspace.run.stage("retrieval", inputs, work, replace=("systems",))


def require_evaluable(workspace: Workspace) -> None:
    """Read once the sentences that encoders will be scored on, so that a bad file does not cost a training.

    Raises
    ------
    ValueError
        They cannot be read.
    """
    settings = workspace.config.retrieval
    if settings.sts:
        similarity.read_scored_pairs(Path(settings.sts))
    if settings.tatoeba:
        read_pairs(Path(settings.tatoeba), languages(settings))


def languages(settings: RetrievalSettings) -> list[str]:
    """Return the languages asked for, or all in the folder.

    Raises
    ------
    ValueError
        No folder is given, or it holds no sets.
    """
    accepted = (
        "accepted: a folder in LASER's layout (its data/tatoeba/v1), or one with raw.csv and "
        "translations/<language>.csv"
    )
    if not settings.tatoeba:
        raise ValueError(f"retrieval.tatoeba: got nothing, {accepted}")
    found = list(settings.languages) or languages_in(Path(settings.tatoeba))
    if not found:
        raise ValueError(f"retrieval.tatoeba: no tatoeba.<xxx>-eng.<xxx> in {settings.tatoeba}, {accepted}")
    return found


def frozen(
    workspace: Workspace,
    rows: Sentences,
    source: str,
    compared: Sequence[ComparedEncoder] = (),
    *,
    compat: bool = False,
) -> list[Frozen]:
    """Return the frozen encoder's layers, of a cache of the rows; `source` says where they come from.

    `compat` says that the rows are lower-cased, as `texts_of` does it.
    """
    return frozen_systems(
        FeatureStore.open(cached(workspace, rows, source)),
        encoder=workspace.stamp["encoder"],
        compat=compat,
        compared=compared,
        last=_last_layer(workspace) if compared else None,
    )


def frozen_inputs(workspace: Workspace, files: Iterable[Path]) -> dict[str, Any]:
    """Return what the frozen vectors depend on; a missing file is left for the reader to name."""
    return {
        "extract": dataclasses.asdict(workspace.config.extract),
        "encoder": workspace.encoder_inputs,
        "files": {path.name: sha256(path) for path in files if path.is_file()},
    }


def _last_layer(workspace: Workspace) -> int:
    """Return the number of the frozen encoder's last layer."""
    from mcbert.features.encoder.loading import n_layers

    return n_layers(workspace.encoder)


def _settled(
    workspace: Workspace, stage: str, compared: Sequence[ComparedEncoder], output: str
) -> dict[str, Any]:
    """Return the systems that a stage's results should hold: these, or those there if they include these.

    So results with further systems are not made poorer by asking for fewer.
    """
    wanted = {" ".join(one.columns.values()).strip(): one.digest for one in compared}
    there: dict[str, Any] = workspace.run.inputs(stage).get("systems", {})
    return there if wanted.items() <= there.items() and (workspace.run.folder / output).is_file() else wanted
