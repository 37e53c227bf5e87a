"""Settings of the stage that trains sentence embeddings; imports neither torch nor transformers.

python -m mcbert embeddings --config demo embeddings.objective=ranking
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mcbert.features.corpus.settings import CorpusSettings
from mcbert.finetune.settings import HeadPooling, TrainingSettings
from mcbert.settings import (
    HERE,
    Distinct,
    Filled,
    Positive,
    Share,
    Whole,
    require,
    require_default,
    section,
)

Objective = Literal["softmax", "ranking"]


@section("embeddings")
class EmbeddingsSettings(TrainingSettings):
    """How an encoder learns, from pairs of English sentences, to put sentences of like meaning close.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``embeddings.<field>``.
    """

    corpus: CorpusSettings = dataclasses.field(default_factory=CorpusSettings)
    """Labelled pairs: a folder of train.csv and dev.csv (format ``nli``), or a release such as ``allnli``."""

    objective: Objective = "softmax"
    """softmax: classify a pair from (u, v, |u - v|); ranking: find the hypothesis that each premise
    entails among those of the batch, with the one that contradicts it where there is one."""

    scale: Annotated[float, Field(gt=0)] = 20.0
    """ranking: what cosines are multiplied by before the softmax over the batch."""

    freeze_lower: Whole = 0
    """Blocks from the bottom, with the embeddings, that are frozen from the start; 0: none."""

    freeze_embeddings: bool = True
    """Freeze the word embeddings from the start: else those of English words move away from the others."""

    layers: Distinct[Whole] = ()
    """Layers whose pooled states are the vector; empty: the best for `parallel` on the frozen encoder."""

    pooling: HeadPooling = ""
    """max, mean, cls or last; empty: the best for `parallel` on the frozen encoder."""

    parallel: str = ""
    """Folder of translated sentences, as ``retrieval.tatoeba`` but another one, that says which layer and
    pooling are best; empty: the dev texts of the run's corpus and their translations."""

    seeds: Filled[Whole] = (0,)
    """One training per seed, which draws the head, the order of the pairs and the dropout."""

    epochs: Positive = 1
    """Passes over the training pairs."""

    batch_size: Positive = 16
    """Pairs per optimizer step, of similar lengths."""

    dropout: Share = 0.0
    """softmax: share of (u, v, |u - v|) dropped before the linear head."""

    @model_validator(mode="after")
    def _check_objective(self) -> Self:
        ranks = self.objective == "ranking"
        idle = ("dropout", "head_learning_rate") if ranks else ("scale",)
        require_default(self, idle, f'with {HERE}.objective = "{self.objective}"')
        alone = f'1 with {HERE}.objective = "ranking": the other pairs of a step are its wrong answers'
        parts = self.gradient_accumulation
        require(not ranks or parts == 1, "gradient_accumulation", parts, alone)
        enough = not ranks or self.batch_tokens > 0 or self.batch_size > 1
        require(enough, "batch_size", self.batch_size, "2 or more")
        return self

    @model_validator(mode="after")
    def _check_choice(self) -> Self:
        accepted = "last, source-dev, target-dev"
        require(self.protocol != "agreement", "protocol", self.protocol, accepted)
        return self

    @model_validator(mode="after")
    def _check_vector(self) -> Self:
        found = bool(self.pooling) or len(self.layers) < 2
        require(found, "pooling", self.pooling, "max, mean, cls, last with several layers")
        used = self.searches or not self.parallel
        require(used, "parallel", self.parallel, "nothing with layers and pooling")
        return self

    @property
    def searches(self) -> bool:
        """Whether layers or pooling are to be found on the frozen encoder."""
        return not (self.layers and self.pooling)
