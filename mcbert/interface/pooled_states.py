"""PooledStates: pooled states of a frozen encoder as a scikit-learn transformer.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from mcbert.features.settings import EncoderSettings, ExtractSettings
from mcbert.features.spec import FeatureSpec
from mcbert.interface.arguments import (
    Pairs,
    TakesTexts,
    as_pairs,
    cache_folder,
    encoder_settings,
    fields_of,
    made,
    named_arguments,
    whole_numbers,
)

if TYPE_CHECKING:
    from mcbert.features.extraction.encode import UnitEncoder

Texts = Any
"""Types of `X`: sequence of str, sequence of (str, str), or DataFrame with text and perhaps text_pair."""


@dataclasses.dataclass(eq=False, repr=False)
class PooledStates(TakesTexts, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Texts to the pooled states of chosen layers of a frozen encoder, concatenated.

    The states are those that `extract` caches, to the bit; they are computed anew each time and not kept.
    Nothing is fitted: `transform` works without `fit`, which only looks whether it would.

    Parameters
    ----------
    encoder : str or path
        Folder of a Hugging Face encoder, or its name on the hub.
    layers : sequence of int
        Layers in the order of their columns, 0 (embeddings) to the number of blocks.
    pooling : str
        max, mean, cls or last, or one of them for each layer, joined by + ("max+mean").
    prompt : str
        Put before each text.
    max_length : int
        Tokens kept of a text or pair.
    special_tokens : {"include", "exclude"}
        Whether max and mean see the special tokens.
    dtype : {"auto", "float32", "bfloat16"}
        Of weights and activations.
    storage_dtype : {"float16", "float32"}
        Type that states are rounded to, as in a cache.
    tokens_per_batch : int
        Most padded tokens in a batch; 0: 4,096 on a CPU, 65,536 on a GPU.
    revision : str
        Commit, tag or branch of a hub name.
    remote_code : bool
        Run the Python files that come with the model.
    cache : str or path, optional
        Folder of all feature caches, which keeps what was found out about encoders.

    Examples
    --------
    >>> import mcbert
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> states = mcbert.PooledStates(mcbert.SAMPLES / "encoder", layers=[8], pooling="mean")
    >>> model = make_pipeline(states, LogisticRegression())
    >>> model.fit(["Where is my parcel?", "I want my money back."], ["track", "refund"])
    Pipeline(...)
    >>> model.predict(["Where is my parcel?"]).tolist()
    ['track']
    """

    encoder: str | os.PathLike[str] = "bert-base-multilingual-cased"
    _: dataclasses.KW_ONLY
    layers: Sequence[int] = (6, 8, 11)
    pooling: str = "max"
    prompt: str = ""
    max_length: int = 128
    special_tokens: Literal["include", "exclude"] = "include"
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    storage_dtype: Literal["float16", "float32"] = "float16"
    tokens_per_batch: int = 0
    revision: str = ""
    remote_code: bool = False
    cache: str | os.PathLike[str] | None = None

    def fit(self, X: Texts, y: Any = None) -> Self:
        """Look at the texts and open the encoder; nothing is learnt.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            Texts, pairs, or a table with the column text and perhaps text_pair.
        y : ignored

        Raises
        ------
        ValueError
            As `transform` does.
        """
        as_pairs(X)
        with named_arguments():
            fields, _ = self._fields()
            self._n_features_out = len(whole_numbers("layers", self.layers)) * fields["hidden_size"]
        return self

    def transform(self, X: Texts) -> np.ndarray:
        """Encode texts.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            Texts, pairs, or a table with the column text and perhaps text_pair.

        Returns
        -------
        ndarray
            (n_texts, n_layers * hidden_size), float32, columns layer by layer.

        Raises
        ------
        ValueError
            Something that is no text, an encoder, layer or pooling that there is not, a state that is not
            finite.
        """
        pairs = as_pairs(X)
        with named_arguments():
            fields, folder = self._fields()
            return self._columns(pairs, fields, _unit_encoder(folder, json.dumps(fields)))

    def __sklearn_tags__(self) -> Any:
        """Tell scikit-learn what goes in and out."""
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.transformer_tags.preserves_dtype = []  # states are float32
        return tags

    def _fields(self) -> tuple[dict[str, Any], Path]:
        """Return what decides the bits of a state, as in a fingerprint, and the encoder's folder."""
        from mcbert.features.encoder.opening import examined, open_encoder
        from mcbert.features.extraction.extract import fingerprint

        read = encoder_settings(self.encoder, **fields_of(self, EncoderSettings))
        features = self._features()
        settings = made(
            ExtractSettings,
            **fields_of(self, ExtractSettings, but=("layers",))
            | {
                "layers": tuple(sorted(set(features.layers))),
                "poolings": tuple(dict.fromkeys(features.poolings)),
            },
        )
        cache = cache_folder(self.cache)
        folder = open_encoder(read, cache)
        examined(folder, cache).require_poolings(settings.poolings, "pooling")
        return fingerprint("", folder, encoder=read, settings=settings), folder

    def _features(self) -> FeatureSpec:
        layers = whole_numbers("layers", self.layers)
        if not layers:
            raise ValueError("layers: got none, accepted: 0 (embeddings) to the number of blocks")
        return FeatureSpec.of(layers, self.pooling)

    def _columns(self, pairs: Pairs, fields: dict[str, Any], unit: UnitEncoder) -> np.ndarray:
        """Encode the distinct texts unit by unit, as an extraction plans them, and give each row its own."""
        from mcbert.features.extraction.texts import plan_units, survey

        found = survey([("", *pair) for pair in pairs])
        bounds = plan_units(
            found.sizes.sum(axis=1),
            max_length=fields["max_length"],
            rows=fields["unit_rows"],
            tokens=fields["unit_tokens"],
        )
        places = [
            (fields["layers"].index(layer), fields["poolings"].index(one))
            for layer, one in self._features().blocks
        ]
        h = fields["hidden_size"]
        out = np.empty((found.n_texts, len(places) * h), dtype=np.float32)
        for start, stop in itertools.pairwise(bounds):
            texts = [pairs[row] for row in found.rows[start:stop]]
            states = unit.encode(unit.prepare(texts), lambda: None)  # (n, n_layers, n_poolings, hidden)
            for k, (layer, one) in enumerate(places):
                out[start:stop, k * h : (k + 1) * h] = states[:, layer, one].float().cpu().numpy()
        bad = np.flatnonzero(~np.isfinite(out).all(axis=1))
        if bad.size:
            row = int(found.rows[bad].min()) + 1
            raise ValueError(
                f"X: row {row}: a state is not finite; accepted: storage_dtype float32, dtype float32"
            )
        columns: np.ndarray = out[found.index]
        return columns


@functools.lru_cache(maxsize=1)
def _unit_encoder(folder: Path, fields: str) -> UnitEncoder:
    """Return an encoder that stays loaded: clones of one estimator, as in a cross-validation, share it."""
    from mcbert.features.extraction.encode import UnitEncoder

    return UnitEncoder(folder, json.loads(fields))
