"""Zero-shot cross-lingual classifiers and sentence embeddings from multilingual encoders.

    import mcbert
    corpus = mcbert.read_corpus("intents.csv")
    states = mcbert.extract(corpus, encoder="bert-base-multilingual-cased")
    search = mcbert.LayerSearch(layers=range(5, 13), n_jobs=2).fit(states, corpus)

What is listed in `__all__` is the public interface; everything else may change. Names are imported when they
are first used, so that ``import mcbert`` loads neither torch nor scikit-learn nor pandas.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcbert.features.cache import FeatureStore
    from mcbert.home import SAMPLES
    from mcbert.interface.classifier import MCBertClassifier
    from mcbert.interface.corpus import prepare_corpus, read_corpus
    from mcbert.interface.extraction import extract
    from mcbert.interface.layer_search import LayerSearch
    from mcbert.interface.pooled_states import PooledStates
    from mcbert.interface.sentence_encoder import SentenceEncoder
    from mcbert.results.runs import compare_results, read_results

__version__ = "0.1.0"

__all__ = [
    "SAMPLES",
    "FeatureStore",
    "LayerSearch",
    "MCBertClassifier",
    "PooledStates",
    "SentenceEncoder",
    "__version__",
    "compare_results",
    "extract",
    "prepare_corpus",
    "read_corpus",
    "read_results",
]

_PLACES = {
    "SAMPLES": "home:SAMPLES",
    "FeatureStore": "features.cache:FeatureStore",
    "LayerSearch": "interface.layer_search:LayerSearch",
    "MCBertClassifier": "interface.classifier:MCBertClassifier",
    "PooledStates": "interface.pooled_states:PooledStates",
    "SentenceEncoder": "interface.sentence_encoder:SentenceEncoder",
    "compare_results": "results.runs:compare_results",
    "extract": "interface.extraction:extract",
    "prepare_corpus": "interface.corpus:prepare_corpus",
    "read_corpus": "interface.corpus:read_corpus",
    "read_results": "results.runs:read_results",
}
"""Public name -> module and name in it."""


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name not in _PLACES:
        raise AttributeError(f"module 'mcbert' has no attribute {name!r}")
    module, _, own = _PLACES[name].partition(":")
    found = getattr(importlib.import_module(f"mcbert.{module}"), own)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
