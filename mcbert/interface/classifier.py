"""MCBertClassifier: the model of the stage finetune, trained end to end, as a scikit-learn estimator.

python -m pytest tests/test_interface.py
"""

from __future__ import annotations

import dataclasses
import logging
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from mcbert.interface.arguments import TakesTexts, as_pairs, named_arguments
from mcbert.interface.training import classes_and_codes, job_of, trained
from mcbert.results.schema.words import Protocol

if TYPE_CHECKING:
    import pandas as pd

    from mcbert.finetune.export.saved import SavedModel
    from mcbert.finetune.jobs import FinetuneJob
    from mcbert.finetune.training.callback import Training
    from mcbert.interface.arguments import Pairs

log = logging.getLogger(__name__)

_AT_ONCE = 2048  # texts labelled together, as the command predict does


@dataclasses.dataclass(eq=False, repr=False)
class MCBertClassifier(TakesTexts, ClassifierMixin, BaseEstimator):
    """Pooled states of chosen layers and a linear head, fine-tuned with layers frozen on the way.

    Trained on texts of one language, it labels texts of every language that the encoder knows. With the same
    settings, texts and seed it is the model that the stage finetune saves.

    Parameters
    ----------
    encoder : str or path
        Folder of a Hugging Face encoder, or its name on the hub.
    layers : sequence of int
        Layers that feed the head, 0 (embeddings) to the number of blocks.
    pooling : str
        max, mean, cls or last, or one of them for each layer, joined by + ("max+mean").
    freeze : mapping of int to sequence of int, optional
        Layers to freeze once so many epochs are complete: ``{2: [9, 11]}``.
    freeze_rule : {"schedule", "plateau", "slope", "gradient"}
        Rule that decides when layers freeze; schedule: `freeze`.
    freeze_groups : sequence of sequence of int
        Layers that plateau and slope freeze together, in turn.
    freeze_watch : {"source-dev", "target-dev"}
        Dev accuracy that plateau and slope look at.
    freeze_embeddings : bool
        Freeze the word embeddings from the start.
    ignore_unused_frozen : bool
        Skip layers to freeze that feed nothing; without it they are an error.
    epochs : int
        Passes over the training texts.
    learning_rate : float
        Peak of the optimizer's learning rate.
    head_learning_rate : float, optional
        The same for the head; None: `learning_rate`.
    lower_layer_decay : float
        A layer learns at this share of the rate of the layer above it.
    optimizer : {"adam", "adamw"}
    batch_size : int
        Texts per optimizer step.
    gradient_accumulation : int
        Parts that a step is computed in.
    dropout : float
        Share of the pooled states dropped before the head.
    head_layers : int
        Hidden layers of the head.
    warmup : float
        Share of all steps in which the learning rate rises.
    weight_decay : float
    class_weight : {"none", "balanced"}
        Weight of a text in the loss; balanced: labels weigh the same.
    precision : {"auto", "float32", "bfloat16", "float16"}
        Of products in training.
    protocol : {"last", "source-dev", "target-dev"}
        How the weights are chosen: the last, or the best on dev texts, which `fit` is given.
    eval_steps : int
        Score dev every so many steps, besides every epoch's end; 0: there only.
    patience : int
        Stop after so many evaluations without a better score of the protocol's; 0: never.
    seed : int
        Of the head, the order of the texts and the dropout.
    threads : int, optional
        Threads on a CPU, on whose number the last bits depend; None: as many as torch takes.
    source_language : str
        Language of the training texts.
    prompt : str
        Put before each text, in training and afterwards.
    max_length : int
        Tokens kept of a text or pair.
    revision : str
        Commit, tag or branch of a hub name.
    remote_code : bool
        Run the Python files that come with the encoder.
    cache : str or path, optional
        Folder of all feature caches, which keeps what was found out about encoders.
    folder : str or path, optional
        Keeps a checkpoint of every epoch while it trains: interrupted, the same fit resumes from there.

    Attributes
    ----------
    classes_ : ndarray, (n_classes,)
        The labels, sorted.
    history_ : DataFrame
        Dev scores of every evaluation: epoch, step, language, accuracy, loss, frozen_layers, and the columns
        of finetune.csv beside them; empty without dev texts.
    freezing_ : DataFrame
        Layers frozen, with epoch and reason: the columns of freezing.csv.
    model_, tokenizer_
        The transformers model, on this machine's best device.

    Examples
    --------
    >>> import mcbert
    >>> model = mcbert.MCBertClassifier(
    ...     mcbert.SAMPLES / "encoder", layers=[6, 8], epochs=1, learning_rate=1e-3
    ... )
    >>> texts = ["Where is my parcel?", "I want my money back.", "Track my order.", "Refund me!"]
    >>> model = model.fit(texts, ["track", "refund", "track", "refund"])
    >>> model.predict(["Wo ist mein Paket?"]).shape
    (1,)
    >>> model.predict_proba(["Wo ist mein Paket?"]).shape
    (1, 2)
    """

    encoder: str | os.PathLike[str] = "bert-base-multilingual-cased"
    _: dataclasses.KW_ONLY
    layers: Sequence[int] = (6, 8, 11)
    pooling: str = "max"
    freeze: Mapping[int, Sequence[int]] | None = None
    freeze_rule: Literal["schedule", "plateau", "slope", "gradient"] = "schedule"
    freeze_groups: Sequence[Sequence[int]] = ()
    freeze_watch: Literal["source-dev", "target-dev"] = "source-dev"
    freeze_embeddings: bool = False
    ignore_unused_frozen: bool = False
    epochs: int = 5
    learning_rate: float = 2e-5
    head_learning_rate: float | None = None
    lower_layer_decay: float = 1.0
    optimizer: Literal["adam", "adamw"] = "adamw"
    batch_size: int = 32
    gradient_accumulation: int = 1
    dropout: float = 0.1
    head_layers: int = 0
    warmup: float = 0.1
    weight_decay: float = 0.01
    class_weight: Literal["none", "balanced"] = "none"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    protocol: Protocol = "last"
    eval_steps: int = 0
    patience: int = 0
    seed: int = 0
    threads: int | None = None
    source_language: str = "en"
    prompt: str = ""
    max_length: int = 128
    revision: str = ""
    remote_code: bool = False
    cache: str | os.PathLike[str] | None = None
    folder: str | os.PathLike[str] | None = None

    def fit(self, X: Any, y: Any, *, dev: pd.DataFrame | None = None) -> Self:
        """Train.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            Texts, pairs, or a table with the column text and perhaps text_pair, in the source language.
        y : array-like, (n_texts,)
            Labels: text, or whole numbers.
        dev : DataFrame, optional
            Texts to watch: the columns text, label, and perhaps text_pair and language (else that of the
            training texts). Those of the source language also make probabilities mean what they say.

        Raises
        ------
        ValueError
            A parameter that does not fit the encoder or the others, texts or labels that cannot be used.
        RuntimeError
            A loss that is not finite; no memory.
        """
        pairs = as_pairs(X)
        classes, codes = classes_and_codes(y, len(pairs))
        with named_arguments():
            job = job_of(self)
            saved, training = trained(
                job, (pairs, codes), [str(one) for one in classes], dev=dev, keeps=self.folder is not None
            )
        self._keep(saved, classes)
        self._note(job, training)
        return self

    def predict(self, X: Any) -> np.ndarray:
        """Label texts.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            As for `fit`, in any language that the encoder knows.

        Returns
        -------
        ndarray
            (n_texts,), of the dtype of `classes_`.
        """
        labels = self._labelled(X)
        names = {str(name): code for code, name in enumerate(self.classes_)}
        codes = [names[label] for label in labels["label"]]
        found: np.ndarray = self.classes_[codes]
        return found

    def predict_proba(self, X: Any) -> np.ndarray:
        """Return the probability of each label.

        Parameters
        ----------
        X : sequence of str, sequence of (str, str), or DataFrame
            As for `predict`.

        Returns
        -------
        ndarray
            (n_texts, n_classes), float64, columns in the order of `classes_`; rows add up to 1.
        """
        labels = self._labelled(X)
        return labels[[f"probability_{name}" for name in self.classes_]].to_numpy(dtype=np.float64)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Write the model as a folder that `from_pretrained`, ``mcbert predict`` and transformers read.

        Parameters
        ----------
        folder : str or path
            A new one, or one that holds a model, which is replaced.

        Raises
        ------
        ValueError
            The folder holds something else.
        OSError
            It cannot be written.
        """
        from mcbert.finetune.export.saved import save_model

        check_is_fitted(self, "model_")
        there = Path(folder)
        if there.exists() and not (there / "config.json").is_file() and any(there.iterdir()):
            raise ValueError(f"folder: {there}: it holds no model; accepted: a new folder, or a model's")
        save_model(self.model_, self.tokenizer_, there, max_length=self._longest)

    @classmethod
    def from_pretrained(cls, name: str | os.PathLike[str]) -> Self:
        """Load a model that `save_pretrained` or the stages finetune and export wrote.

        Parameters
        ----------
        name : str or path
            Its folder, or a name on the hub.

        Returns
        -------
        MCBertClassifier
            Fitted, with the labels as text. To fit it anew give it an encoder by ``set_params``.

        Raises
        ------
        ValueError
            No such model, a damaged one, or one of another kind.
        """
        from mcbert.finetune.export.saved import load_model
        from mcbert.finetune.model_config import MCBertConfig

        saved = load_model(name, key="name")
        config = saved.model.config
        if not isinstance(config, MCBertConfig) or saved.estimator is not None:
            raise ValueError(
                f"name: {name}: not a model of this class, whose head is a layer of weights; accepted: a "
                "folder that save_pretrained, finetune or export wrote"
            )
        model = cls(
            os.fspath(name), layers=tuple(config.layers), pooling=config.pooling, max_length=saved.max_length
        )
        model._keep(saved, np.array(saved.labels))
        return model

    def __getstate__(self) -> dict[str, Any]:
        """Return what pickle keeps: of a trained model the files that `save_pretrained` writes."""
        state: dict[str, Any] = dict(super().__getstate__())
        if "model_" in state:
            del state["model_"], state["tokenizer_"]
            with tempfile.TemporaryDirectory() as scratch:
                self.save_pretrained(Path(scratch) / "model")
                files = (Path(scratch) / "model").iterdir()
                state["_files"] = {path.name: path.read_bytes() for path in sorted(files)}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Load the model from its files, on this machine's best device."""
        from mcbert.finetune.export.saved import load_model

        files = state.pop("_files", None)
        super().__setstate__(state)
        if files is not None:
            with tempfile.TemporaryDirectory() as scratch:
                for name, content in files.items():
                    (Path(scratch) / name).write_bytes(content)
                self._keep(load_model(scratch, key="pickle"), self.classes_)

    def _note(self, job: FinetuneJob, training: Training) -> None:
        import pandas as pd

        from mcbert.finetune.rows import freeze_rows, score_rows

        self.history_ = pd.DataFrame(score_rows(job, training, {}))
        self.freezing_ = pd.DataFrame(freeze_rows(job, training))

    def _keep(self, saved: SavedModel, classes: np.ndarray) -> None:
        self.model_, self.tokenizer_ = saved.model, saved.tokenizer
        self.classes_, self._longest = classes, saved.max_length

    def _read(self, pairs: Pairs) -> Pairs:
        """Return what the model reads of texts: pairs or single texts, as it was trained on."""
        trained_on_pairs = self.model_.config.text_pairs
        single = [k for k, (_, second) in enumerate(pairs, start=1) if not second]
        if trained_on_pairs and single:
            raise ValueError(
                f"X: row {single[0]}: no second text; accepted: pairs, as the model was trained on"
            )
        if trained_on_pairs is False and len(single) < len(pairs):
            log.warning("the second texts of %d rows are not read", len(pairs) - len(single))
            return [(text, "") for text, _ in pairs]
        return pairs

    def _labelled(self, X: Any) -> pd.DataFrame:
        """Label texts as the command predict does."""
        import pandas as pd

        from mcbert.finetune.export.saved import SavedModel
        from mcbert.finetune.predict import label_texts

        check_is_fitted(self, "model_")
        pairs = self._read(as_pairs(X))
        saved = SavedModel(
            model=self.model_,
            tokenizer=self.tokenizer_,
            labels=tuple(str(name) for name in self.classes_),
            max_length=self._longest,
        )
        blocks = [pairs[start : start + _AT_ONCE] for start in range(0, len(pairs), _AT_ONCE)]
        frames, cut = zip(*(label_texts(saved, block) for block in blocks), strict=True)
        if any(cut):
            log.warning("%d texts were longer than %d tokens and cut", sum(cut), saved.max_length)
        labels: pd.DataFrame = pd.concat(frames, ignore_index=True)
        return labels
