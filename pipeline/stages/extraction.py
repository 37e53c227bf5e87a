"""Extraction, wired: the cache of any texts with a configuration's encoder, on its cluster.

python -m pipeline extract --config demo
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.cluster import encoding_executor, threads_per_encoder
from pipeline.config import CHECKOUT
from pipeline.progress import track

if TYPE_CHECKING:
    from pipeline.stages.pipeline import Pipeline


SEARCH = ("gridsearch", "export")
TRAIN = ("knobs", "finetune", "report")


def cached(pipeline: Pipeline, texts: Iterable[tuple[str, ...]], source: str) -> Path:
    """Return the folder of the cache of these texts, made where it is not there.

    Parameters
    ----------
    texts : iterable of (str, str, str)
        Id, text and second text of every row; gone through twice.
    source : str
        Where the texts come from, for people.
    """
    from features.extraction import Means, extract

    config = pipeline.config
    with pipeline.interruption.polled() as check:
        return extract(
            texts,
            pipeline.encoder,
            encoder=config.encoder,
            settings=config.extract,
            cache=pipeline.cache,
            corpus=shown(source),
            means=Means(
                execute=encoding_executor(config.cluster),
                threads=threads_per_encoder(config.cluster),
                wait=config.cluster.lock_wait,
                check=check,
                track=track,
            ),
        )


def require_known_layers(pipeline: Pipeline, stage: str) -> None:
    """Refuse layers that `stage` would not find, before the encoder reads every text.

    Raises
    ------
    ValueError
        The encoder has not as many, or extract.layers leaves them out.
    """
    config = pipeline.config
    searched = stage in SEARCH or (stage in TRAIN and pipeline.searches)
    trained = config.finetune.layers if stage in TRAIN else ()
    if not searched and not trained:
        return
    from features.encoder.blocks import n_layers, require_layers

    deepest, extracted = n_layers(pipeline.encoder), config.extract.layers
    if trained:
        require_layers(trained, deepest, "finetune.layers")
    if searched:
        require_layers(extracted or range(deepest + 1), deepest, "extract.layers")
        require_layers(config.gridsearch.layers, deepest, "gridsearch.layers")
        left_out = sorted(set(config.gridsearch.layers).difference(extracted)) if extracted else []
        if left_out:
            accepted = f"those of extract.layers, {', '.join(map(str, extracted))}"
            raise ValueError(f"gridsearch.layers: got {left_out[0]}, accepted: {accepted}")


def shown(path: str) -> str:
    """Return a path inside the checkout relative to it, so that results do not name a machine's folders."""
    try:
        return str(Path(path).resolve().relative_to(CHECKOUT.resolve())) if Path(path).exists() else path
    except ValueError:
        return Path(path).name
