"""LayerSearch: the stage gridsearch, over layers, poolings and classifiers, as a scikit-learn estimator.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import dataclasses
import hashlib
import html
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, TypeVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.pipeline import Pipeline
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from mcbert.features.spec import FeatureSpec
from mcbert.interface.arguments import (
    TakesTexts,
    as_pairs,
    fields_of,
    made,
    named_arguments,
    require_columns,
    rows_of,
    whole_numbers,
)
from mcbert.search.settings import Chosen, GridsearchSettings
from mcbert.search.space import Candidate

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.features.cache import FeatureStore
    from mcbert.features.corpus.corpus import Corpus
    from mcbert.pipeline.cluster.settings import ClusterSettings

_SHOWN = (
    "rank",
    "layers",
    "pooling",
    "classifier",
    "params",
    "score",
    "dev_f1_micro_mean",
    "test_f1_micro_mean",
)
Decorated = TypeVar("Decorated", bound=Callable[..., Any])
_HEAD = 5  # rows of the results that a notebook shows


def _best_has(method: str) -> Callable[[Decorated], Decorated]:
    def is_there(search: LayerSearch) -> bool:
        # before `fit` it is there, as of scikit-learn's searches, and says that `fit` comes first
        return not hasattr(search, "best_estimator_") or hasattr(search.best_estimator_, method)

    decorator: Callable[[Decorated], Decorated] = available_if(is_there)
    return decorator


@dataclasses.dataclass(eq=False, repr=False)
class LayerSearch(TakesTexts, ClassifierMixin, BaseEstimator):
    """Search subset of layers x pooling x classifier on cached states of a frozen encoder.

    Every candidate is trained on the train texts of the source language and scored in every language; the
    protocol chooses by dev labels. Test labels choose nothing. Rows are those of the stage gridsearch.

    Parameters
    ----------
    layers : sequence of int
        Layers whose subsets are searched, 0 (embeddings) to the number of blocks.
    poolings : sequence of str
        Of max, mean, cls, last.
    classifiers : sequence of str
        logistic_regression, linear_svm, ridge, lda, knn, mlp, or names of `factories`.
    params : mapping of str to mapping, optional
        Per classifier its parameters: a value, or a list of values to search them all.
    factories : mapping of str to str, optional
        Your own classifiers: name -> "module:callable".
    seeds : sequence of int
        Of classifiers that draw random numbers; the first draws the sample of a budget.
    max_layers : int
        Largest subset; 0: all sizes.
    mixed : {"none", "greedy", "beam"}
        Search sets with a pooling for each layer after those of one.
    beam_width, mixed_steps : int
        Of the mixed search.
    budget : int
        Most candidates scored; 0: all.
    budget_seconds : float
        Seconds after which no more are started; 0: no limit.
    protocol : {"auto", "agreement", "source-dev", "target-dev", "last"}
        How the winner is chosen: by dev labels of the source language and how far its texts and their
        translations are labelled alike, by its dev labels alone, or by those of the target languages (an
        oracle). auto: agreement where dev texts are translated, else source-dev.
    ensemble : int
        The winner is the mean of so many linear candidates, chosen by how they do, as one linear classifier;
        0, or under the protocol last: the best candidate alone.
    metric : {"f1_micro", "f1_macro", "accuracy"}
        Dev score that chooses.
    top : int
        Best candidates whose confusion matrices are written.
    class_weight : {"none", "balanced"}
        balanced: rare labels weigh as much as frequent ones.
    target_languages : sequence of str
        Languages scored beside the source; empty: all.
    source_language : str
        Language of the training texts.
    n_jobs : int, optional
        Processes of this machine; None: 1, -1: one for each CPU.
    cluster : mapping, optional
        Settings of the section ``cluster`` instead of `n_jobs`, such as those of a running dask scheduler:
        ``{"scheduler": "tls://host:8786", "tls_ca": ..., "tls_cert": ..., "tls_key": ...}``.
    folder : str or path, optional
        Where tables and ledger go; an interrupted search resumes from there. None: a temporary one,
        which lives as long as the estimator.

    Attributes
    ----------
    results_ : DataFrame
        gridsearch.csv: a row per candidate, best first.
    best_params_ : dict
        The winner's layers, pooling, classifier and params.
    best_score_ : float
        Its dev score; NaN under the protocol last.
    best_index_ : int
        Its row in `results_`.
    best_estimator_ : Pipeline
        `PooledStates`, standardisation and classifier, fitted on the train texts: it labels texts. Of an
        ensemble the classifier is a logistic regression with the weights of the mean. What is pickled of it
        is all but the encoder, which is found by its name again.
    classes_ : ndarray, (n_classes,)
        The labels, sorted.
    folder_ : Path
        Where the tables are.

    Examples
    --------
    >>> import mcbert, tempfile
    >>> intents = mcbert.SAMPLES / "intents"
    >>> corpus = mcbert.prepare_corpus(
    ...     intents / "raw.csv", translations={"de": intents / "translations" / "de.csv"}, top_labels=4
    ... ).groupby(["split", "language"]).head(40)
    >>> states = mcbert.extract(
    ...     corpus, mcbert.SAMPLES / "encoder", layers=[6, 8], cache=tempfile.mkdtemp()
    ... )
    >>> search = mcbert.LayerSearch(layers=[6, 8], classifiers=["ridge"]).fit(states, corpus)
    >>> len(search.results_)  # 3 subsets of layers x 3 poolings, and the mean of all
    10
    >>> sorted(search.best_params_)
    ['classifier', 'layers', 'params', 'pooling']
    """

    _: dataclasses.KW_ONLY
    layers: Sequence[int] = (5, 6, 7, 8, 9, 10, 11, 12)
    poolings: Sequence[str] = ("max", "mean", "cls")
    classifiers: Sequence[str] = ("logistic_regression", "linear_svm", "ridge", "lda", "knn")
    params: Mapping[str, Mapping[str, Any]] | None = None
    factories: Mapping[str, str] | None = None
    seeds: Sequence[int] = (0,)
    max_layers: int = 0
    mixed: Literal["none", "greedy", "beam"] = "none"
    beam_width: int = 5
    mixed_steps: int = 8
    budget: int = 0
    budget_seconds: float = 0.0
    protocol: Chosen = "auto"
    ensemble: int = 100
    metric: Literal["f1_micro", "f1_macro", "accuracy"] = "f1_micro"
    top: int = 20
    class_weight: Literal["none", "balanced"] = "none"
    target_languages: Sequence[str] = ()
    source_language: str = "en"
    n_jobs: int | None = None
    cluster: Mapping[str, Any] | None = None
    folder: str | os.PathLike[str] | None = None

    def fit(self, states: FeatureStore, corpus: pd.DataFrame) -> Self:
        """Search.

        Parameters
        ----------
        states : FeatureStore
            As returned by `extract` for `corpus`.
        corpus : DataFrame
            As returned by `read_corpus`.

        Raises
        ------
        ValueError
            A parameter that does not fit the others or the states, states of other texts, texts that the
            protocol lacks.
        """
        with named_arguments():
            settings, cluster = self._settings(), self._cluster()
            texts = self._corpus(states, corpus)
            settings = _settled(settings, texts)
            out = self._place(settings, states, texts)
            self._search(settings, (states, texts), out=out, cluster=cluster)
            self._read(states, texts, out)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Label texts with `best_estimator_`.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            Texts, in any language that the encoder knows.

        Returns
        -------
        ndarray of str, (n_texts,)
        """
        check_is_fitted(self, "best_estimator_")
        found: np.ndarray = self.best_estimator_.predict(X)
        return found

    @_best_has("predict_proba")
    def predict_proba(self, X: Any) -> np.ndarray:
        """Return probabilities of `best_estimator_`, where its classifier has some.

        Returns
        -------
        ndarray
            (n_texts, n_classes), float64, columns in the order of `classes_`.
        """
        check_is_fitted(self, "best_estimator_")
        found: np.ndarray = self.best_estimator_.predict_proba(X)
        return found

    def score(self, X: Any, y: Any) -> float:
        """Return the accuracy of `best_estimator_` on texts.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
        y : array-like of str, (n_texts,)
        """
        check_is_fitted(self, "best_estimator_")
        return float(self.best_estimator_.score(X, y))

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle keeps: all but the temporary folder."""
        state: dict[str, Any] = dict(super().__getstate__())
        state.pop("_scratch", None)
        return state

    def _html_repr(self) -> str:
        """Return scikit-learn's diagram, with the head of the results below it."""
        diagram = str(super()._html_repr())
        if not hasattr(self, "results_"):
            return diagram
        shown = [name for name in _SHOWN if name in self.results_]
        table = self.results_[shown].head(_HEAD).to_html(index=False, na_rep="", escape=True)
        told = html.escape(f"{len(self.results_)} candidates, the best {min(_HEAD, len(self.results_))}:")
        return f"{diagram}<p>{told}</p>{table}"

    def _settings(self) -> GridsearchSettings:
        own = fields_of(self, GridsearchSettings)
        own |= {name: whole_numbers(name, own[name]) for name in ("layers", "seeds")}
        own |= {name: tuple(own[name]) for name in ("poolings", "classifiers", "target_languages")}
        own |= {"params": dict(self.params or {}), "factories": dict(self.factories or {})}
        settings: GridsearchSettings = made(GridsearchSettings, **own)
        return settings

    def _cluster(self) -> ClusterSettings:
        """Return where the search runs."""
        from mcbert.pipeline.cluster.settings import ClusterSettings

        jobs, given = self.n_jobs, dict(self.cluster or {})
        if jobs is not None and (not isinstance(jobs, int) or (jobs < 1 and jobs != -1)):
            raise ValueError(f"n_jobs: got {jobs!r}, accepted: 1 or more, -1 (one for each CPU), None")
        if jobs is not None and given:
            raise ValueError(f"n_jobs: got {jobs} beside cluster, accepted: either of them")
        if not given:
            given = {"backend": "serial" if jobs in (None, 1) else "loky", "workers": max(0, jobs or 1)}
        settings: ClusterSettings = made(ClusterSettings, **given)
        return settings

    def _corpus(self, states: FeatureStore, corpus: pd.DataFrame) -> Corpus:
        """Return the corpus, checked, and checked to be what the states are of."""
        from mcbert.features.cache import FeatureStore
        from mcbert.features.corpus.corpus import Corpus
        from mcbert.features.extraction.texts import survey

        if not isinstance(states, FeatureStore):
            raise ValueError(f"states: got a {type(states).__name__}, accepted: what extract returns")
        require_columns(corpus, "corpus")
        found = Corpus.of(corpus.reset_index(drop=True), self.source_language, "corpus")
        rows = rows_of(found.table, as_pairs(found.table, "corpus"))
        if survey(rows).digest != states.fingerprint.get("texts"):
            raise ValueError(
                f"states: got {states.n_rows} rows, of other texts, accepted: those of corpus, "
                f"{len(rows)} rows"
            )
        return found

    def _place(self, settings: GridsearchSettings, states: FeatureStore, corpus: Corpus) -> Path:
        """Return the folder of this search; a temporary one is kept for each search, to resume in."""
        if self.folder is not None:
            out = Path(self.folder)
        else:
            if not hasattr(self, "_scratch"):
                self._scratch = tempfile.TemporaryDirectory(prefix="mcbert-search-")
            out = Path(self._scratch.name) / _digest(settings, states, corpus)
        out.mkdir(parents=True, exist_ok=True)
        return out

    def _search(
        self,
        settings: GridsearchSettings,
        data: tuple[FeatureStore, Corpus],
        *,
        out: Path,
        cluster: ClusterSettings,
    ) -> None:
        from mcbert.pipeline.cluster import kept_executor
        from mcbert.pipeline.run import stamped_versions
        from mcbert.pipeline.stages.gridsearch import search
        from mcbert.pipeline.workspace import shown

        states, corpus = data
        stamp = {
            "run": out.name,
            "config_digest": _digest(settings, *data),
            "encoder": shown(str(states.about.get("encoder", ""))),
            "versions": stamped_versions(),
            "transfer": "zero-shot",
        }
        with kept_executor(cluster) as execute:
            search(settings, states, corpus, out=out, execute=execute, stamp=stamp)

    def _read(self, states: FeatureStore, corpus: Corpus, out: Path) -> None:
        """Read what the search wrote; fit the winner on the train texts as scikit-learn does."""
        from mcbert.files.objects import read_object
        from mcbert.interface.winners import fitted, folded, pooled_states
        from mcbert.results.csv_files import read
        from mcbert.results.schema.search import GRIDSEARCH
        from mcbert.results.schema.words import ENSEMBLE

        winner = read_object(out / "winner.json")
        self.results_, self.folder_ = read(GRIDSEARCH, out / "gridsearch.csv"), out
        self.best_index_, self.best_score_ = 0, float(self.results_["score"].iloc[0])
        self.best_params_ = {
            "layers": tuple(winner["layers"]),
            "pooling": winner["pooling"],
            "classifier": winner["classifier"],
            "params": winner["params"],
        }
        self.classes_ = np.array(corpus.labels)
        pooled = pooled_states(states, self.best_params_)
        if winner["classifier"] == ENSEMBLE:
            self.best_estimator_ = Pipeline([("states", pooled), *folded(out / "probe.npz")])
            return
        candidate = Candidate(
            features=FeatureSpec.of(winner["layers"], winner["pooling"]),
            classifier=winner["classifier"],
            params=tuple(winner["params"].items()),
            seed=winner["seed"],
            factory=(self.factories or {}).get(winner["classifier"], ""),
        )
        self.best_estimator_ = Pipeline([("states", pooled), *fitted(candidate, states, corpus)])


def _settled(settings: GridsearchSettings, corpus: Corpus) -> GridsearchSettings:
    """Return the settings with a protocol that the texts can choose by, as the stage settles it."""
    from mcbert.pipeline.stages.parallel import translated_dev
    from mcbert.search.selection import scored_languages, settle_protocol

    languages = scored_languages(settings, corpus.languages)
    dev = {language for language in languages if len(corpus.rows("dev", language))}
    pairs = translated_dev(corpus.table, corpus.source_language)
    return settle_protocol(settings, languages, dev, pairs, "corpus")


def _digest(settings: GridsearchSettings, states: FeatureStore, corpus: Corpus) -> str:
    """Return 12 hex digits of what a search depends on."""
    content = [
        json.dumps(dataclasses.asdict(settings), sort_keys=True, default=str),
        states.digest,
        corpus.table.to_json(),
        corpus.source_language,
    ]
    return hashlib.sha256("\n".join(content).encode()).hexdigest()[:12]
