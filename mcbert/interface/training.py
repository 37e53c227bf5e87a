"""Train a model of the stage finetune from texts in memory, for MCBertClassifier.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.base import BaseEstimator

from mcbert.features.settings import EncoderSettings
from mcbert.features.spec import FeatureSpec, mixes_poolings
from mcbert.finetune.settings import FinetuneSettings
from mcbert.interface.arguments import (
    Pairs,
    as_pairs,
    cache_folder,
    encoder_settings,
    fields_of,
    made,
    whole_numbers,
)

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from mcbert.finetune.export.saved import SavedModel
    from mcbert.finetune.jobs import FinetuneJob
    from mcbert.finetune.training.callback import Training
    from mcbert.finetune.training.data import Texts, TrainingData
    from mcbert.finetune.training.fit import Output


def job_of(model: BaseEstimator) -> FinetuneJob:
    """Return the training that a classifier's parameters ask for, as the stage describes one."""
    import torch

    from mcbert.features.encoder.loading import n_layers, require_layers
    from mcbert.features.encoder.opening import chosen_prompt, open_encoder
    from mcbert.finetune.freezing.rules import plan_freezing
    from mcbert.finetune.jobs import FinetuneJob, require_readable
    from mcbert.finetune.winner import Architecture

    layers = whole_numbers("layers", model.layers)
    freeze = {} if model.freeze is None else model.freeze
    if not isinstance(freeze, Mapping):
        raise ValueError(f"freeze: got {freeze!r}, accepted: epochs with layers, such as {{2: [9, 11]}}")
    own = {
        "freeze": {epoch: whole_numbers("freeze", some) for epoch, some in freeze.items()},
        "freeze_groups": tuple(whole_numbers("freeze_groups", group) for group in model.freeze_groups),
        "seeds": whole_numbers("seed", [model.seed]),
        "threads": torch.get_num_threads() if model.threads is None else model.threads,
    }
    settings = made(
        FinetuneSettings, **fields_of(model, FinetuneSettings, but=(*own, "layers", "pooling")), **own
    )
    read = encoder_settings(model.encoder, **fields_of(model, EncoderSettings))
    encoder = open_encoder(read, cache_folder(model.cache))
    require_layers(sorted(set(layers)), n_layers(encoder), "layers")
    features = FeatureSpec.of(layers, model.pooling)
    if not mixes_poolings(model.pooling):
        features = FeatureSpec.of_blocks(set(features.blocks))
    require_readable(settings, encoder, features)
    freezes = bool(settings.freeze) or settings.freeze_rule != "schedule"
    return FinetuneJob(
        system="mcbert_wf" if freezes else "mcbert",
        seed=settings.seeds[0],
        settings=settings,
        architecture=Architecture(features=features, probe_protocol=None),
        freeze=plan_freezing(settings, max(layers)) if freezes else {},
        corpus=Path(),
        source_language=model.source_language,
        encoder=encoder,
        prompt=chosen_prompt(encoder, read),
        out=Path(model.folder or ""),
        stamp={},
    )


def trained(
    job: FinetuneJob,
    train: tuple[Pairs, np.ndarray],
    names: Sequence[str],
    *,
    dev: pd.DataFrame | None,
    keeps: bool,
) -> tuple[SavedModel, Training]:
    """Train as `finetune.systems.train_system` does.

    Parameters
    ----------
    job : Job
        Whose corpus is not read.
    train : (pairs, ndarray of int64)
        Texts and the codes of their labels.
    names : sequence of str
        Labels in the order of their codes.
    dev : DataFrame or None
        Texts to watch.
    keeps : bool
        Whether checkpoints and a log are kept in the job's folder.
    """
    import transformers

    from mcbert.features.encoder.loading import quiet
    from mcbert.features.encoder.tokens import load_tokenizer
    from mcbert.finetune.calibration import calibrate_model
    from mcbert.finetune.export.saved import SavedModel
    from mcbert.finetune.jobs import torch_threads
    from mcbert.finetune.systems import build
    from mcbert.finetune.training.data import classification
    from mcbert.finetune.training.fit import Output, fit

    settings = job.settings
    with quiet(), torch_threads(settings.threads):
        tokenizer = load_tokenizer(job.encoder, prompt=job.prompt)
        transformers.set_seed(job.seed)
        model, head_parameters = build(job, names)
        texts = _tokenised(*train, [job.source_language] * len(train[0]), tokenizer, job)
        watched = _dev_texts(dev, names, tokenizer, job)
        data = classification(
            tokenizer,
            texts,
            watched,
            source_language=job.source_language,
            balanced=settings.class_weight == "balanced",
        )
        out = _output(job, texts, watched) if keeps else Output()
        with _shown(data, settings.epochs) as shown:
            training = fit(
                model,
                shown,
                settings=settings,
                seed=job.seed,
                monitor=job.monitor,
                out=out,
                head_parameters=head_parameters,
            )
        calibrate_model(model, tokenizer, watched, job.source_language)
    paired = {bool(second) for _, second in train[0]}
    model.config.text_pairs = paired.pop() if len(paired) == 1 else None
    if keeps:
        shutil.rmtree(job.checkpoints, ignore_errors=True)
    module: Any = model
    module.eval()
    saved = SavedModel(model=model, tokenizer=tokenizer, labels=tuple(names), max_length=settings.max_length)
    return saved, training


def classes_and_codes(y: Any, n_texts: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the labels, sorted, and the code of each text's, int64 (n_texts,)."""
    from sklearn.utils import column_or_1d
    from sklearn.utils.multiclass import check_classification_targets

    if y is None:
        raise ValueError(
            "y: requires y to be passed, but the target y is None; accepted: as many labels as texts"
        )
    labels = column_or_1d(y, warn=True)
    missing = [k for k, label in enumerate(labels.tolist()) if label is None or label != label]
    if missing:
        raise ValueError(f"y: row {missing[0] + 1}: got {labels[missing[0]]!r}, accepted: a label")
    check_classification_targets(labels)
    if len(labels) != n_texts:
        raise ValueError(f"y: got {len(labels)} labels for {n_texts} texts, accepted: as many")
    classes, codes = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(f"y: got 1 class, {classes[0]!r}, accepted: at least two")
    return classes, codes.astype(np.int64)


def _tokenised(
    pairs: Pairs,
    codes: np.ndarray,
    languages: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    job: FinetuneJob,
) -> Texts:
    from mcbert.features.encoder.tokens import tokenise
    from mcbert.finetune.training.data import Texts

    return Texts(
        tokens=tokenise(tokenizer, pairs, job.settings.max_length) if pairs else [],
        y=codes,
        language=np.asarray(languages, dtype=str),
        ids=tuple(str(number) for number in range(1, len(pairs) + 1)),
    )


def _dev_texts(
    dev: pd.DataFrame | None,
    names: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    job: FinetuneJob,
) -> Texts:
    """Return the texts to watch; none where nothing looks at them.

    Raises
    ------
    ValueError
        Something looks at texts that are not there, or a label that the training texts lack.
    """
    looks = _looking(job)
    if dev is None:
        if looks:
            raise ValueError(f"dev: got None with {looks}, accepted: a DataFrame with text, label, language")
        return _tokenised([], np.empty(0, dtype=np.int64), [], tokenizer, job)
    pairs = as_pairs(dev, "dev")
    if "label" not in dev.columns:
        raise ValueError(f"dev: got the columns {list(dev.columns)}, accepted: text, label, perhaps language")
    known = {name: code for code, name in enumerate(names)}
    labels = [str(label) for label in dev["label"]]
    unknown = sorted(set(labels) - set(known))
    if unknown:
        raise ValueError(f"dev: got the label {unknown[0]!r}, accepted: {', '.join(names)}")
    languages = dev["language"].tolist() if "language" in dev.columns else [job.source_language] * len(dev)
    targets = set(languages) - {job.source_language}
    if ("target-dev" in looks and not targets) or (
        "source-dev" in looks and job.source_language not in languages
    ):
        raise ValueError(f"dev: got texts in {', '.join(sorted(set(languages)))}, too few for {looks}")
    codes = np.array([known[label] for label in labels], dtype=np.int64)
    return _tokenised(pairs, codes, languages, tokenizer, job)


def _looking(job: FinetuneJob) -> str:
    """Say which parameters look at dev scores; nothing where none does."""
    from mcbert.finetune.settings import WATCHING

    settings = job.settings
    found = [f"protocol {settings.protocol}"] if settings.protocol != "last" else []
    if settings.freeze_rule in WATCHING:
        found.append(f"freeze_rule {settings.freeze_rule} and freeze_watch {settings.freeze_watch}")
    return ", ".join(found)


def _output(job: FinetuneJob, *texts: Texts) -> Output:
    """Return where a training writes, named by a digest of its texts."""
    digest = hashlib.sha256()
    for part in texts:
        digest.update(repr([part.tokens, part.y.tolist(), part.language.tolist()]).encode())
    return job.output(digest.hexdigest())


@contextlib.contextmanager
def _shown(data: TrainingData, epochs: int) -> Iterator[TrainingData]:
    """Yield the data with a progress bar over the texts that it hands out."""
    from mcbert.pipeline.progress import counted

    with counted(epochs * len(data.rows), "fit (texts)") as count:

        def collate(rows: list[Any]) -> Mapping[str, Any]:
            count(len(rows))
            return data.collate(rows)

        yield dataclasses.replace(data, collate=collate)
