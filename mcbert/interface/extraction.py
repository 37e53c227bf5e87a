"""extract(): the stage extract from Python, cached pooled states of every layer of a frozen encoder.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mcbert.features.settings import EncoderSettings, ExtractSettings
from mcbert.interface.arguments import (
    as_pairs,
    cache_folder,
    encoder_settings,
    made,
    named_arguments,
    rows_of,
    split_settings,
    whole_numbers,
)

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.cache import FeatureStore

_ELSEWHERE = ("path", "prompt", "layers", "poolings")
"""Settings that named arguments stand for."""


def extract(
    corpus: pd.DataFrame | Sequence[str] | Sequence[tuple[str, str]],
    encoder: str | os.PathLike[str],
    *,
    prompt: str = "",
    layers: Sequence[int] = (),
    poolings: Sequence[str] = ("max", "mean", "cls"),
    cache: str | os.PathLike[str] | None = None,
    **settings: Any,
) -> FeatureStore:
    """Run a frozen encoder over texts once and cache every layer's pooled states.

    States cached already, of the same texts, encoder and settings, are opened and nothing is computed. When
    interrupted (Ctrl-C), the same call continues where it stopped and gives the same bits.

    Parameters
    ----------
    corpus : DataFrame or sequence of str
        As returned by `read_corpus`, or texts, or pairs of texts; row k of it is row k of the states.
    encoder : str or path
        Folder of a Hugging Face encoder, or its name on the hub.
    prompt : str
        Put before each text, as the encoder was trained with: ``"query: "`` for E5.
    layers : sequence of int
        Layers to cache, 0 (embeddings) to the number of blocks; empty: all of them.
    poolings : sequence of str
        Of max, mean, cls and last.
    cache : str or path, optional
        Folder of all feature caches; by default the project's, ``cache`` or ``mcbert-cache``.
    **settings
        Any other setting of the sections ``encoder`` and ``extract``, such as ``max_length``, ``revision``,
        ``special_tokens`` or ``storage_dtype``.

    Returns
    -------
    FeatureStore
        Its `states` gives float32 arrays of shape (n_rows, n_layers * hidden_size).

    Raises
    ------
    ValueError
        An encoder that is not there or cannot be used, a layer that it lacks, a text that is none, a state
        that is not finite; the message names the argument or the row.

    Examples
    --------
    >>> import mcbert, tempfile
    >>> texts = ["Where is my parcel?", "Wo ist mein Paket?"]
    >>> states = mcbert.extract(
    ...     texts, mcbert.SAMPLES / "encoder", layers=[6, 8], cache=tempfile.mkdtemp()
    ... )
    >>> states.states(layers=[6, 8], pooling="max").shape == (2, 2 * states.hidden_size)
    True
    """
    from mcbert.features.cache import FeatureStore
    from mcbert.features.encoder.opening import open_encoder
    from mcbert.features.extraction import Runtime
    from mcbert.features.extraction import extract as extracted
    from mcbert.pipeline.interruption import Interruption
    from mcbert.pipeline.progress import track

    own, others = split_settings(settings, EncoderSettings, ExtractSettings, but=_ELSEWHERE)
    folder = cache_folder(cache)
    with named_arguments(), Interruption(kills=False) as interruption:
        read = encoder_settings(encoder, prompt=prompt, **own)
        what = made(
            ExtractSettings, layers=whole_numbers("layers", layers), poolings=tuple(poolings), **others
        )
        pairs = as_pairs(corpus, "corpus")
        opened = open_encoder(read, folder)
        with interruption.polled() as check:
            made_in = extracted(
                rows_of(corpus, pairs),
                opened,
                encoder=read,
                settings=what,
                cache=folder,
                runtime=Runtime(check=check, track=track),
            )
        return FeatureStore.open(made_in)
