"""Settings of the stage that trains sentence embeddings; imports neither torch nor transformers.

python -m mcbert embeddings --config demo embeddings.objective=ranking
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal, get_args

from mcbert.features.corpus import CorpusSettings
from mcbert.finetune.settings import TrainingSettings

Objective = Literal["softmax", "ranking"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EmbeddingsSettings(TrainingSettings):
    """How an encoder learns, from pairs of English sentences, to put sentences of like meaning close.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``embeddings.<field>``.
    """

    section: ClassVar[str] = "embeddings"

    corpus: CorpusSettings = dataclasses.field(default_factory=CorpusSettings)
    """Labelled pairs: a folder of train.csv and dev.csv (format ``nli``), or a release such as ``allnli``."""

    objective: Objective = "softmax"
    """softmax: classify a pair from (u, v, |u - v|); ranking: find the hypothesis that each premise
    entails among those of the batch, with the one that contradicts it where there is one."""

    scale: float = 20.0
    """ranking: what cosines are multiplied by before the softmax over the batch."""

    freeze_lower: int = 0
    """Blocks from the bottom, with the embeddings, that are frozen from the start; 0: none."""

    freeze_embeddings: bool = True
    """Freeze the word embeddings from the start: else those of English words move away from the others."""

    layers: tuple[int, ...] = ()
    """Layers whose pooled states are the vector; empty: the best for `parallel` on the frozen encoder."""

    pooling: str = ""
    """max, mean, cls or last; empty: the best for `parallel` on the frozen encoder."""

    parallel: str = ""
    """Folder of translated sentences, as ``retrieval.tatoeba`` but another one, that says which layer and
    pooling are best; empty: the dev texts of the run's corpus and their translations."""

    seeds: tuple[int, ...] = (0,)
    """One training per seed, which draws the head, the order of the pairs and the dropout."""

    epochs: int = 1
    """Passes over the training pairs."""

    batch_size: int = 16
    """Pairs per optimizer step, of similar lengths."""

    dropout: float = 0.0
    """softmax: share of (u, v, |u - v|) dropped before the linear head."""

    def __post_init__(self) -> None:
        """Check every field."""
        super().__post_init__()
        accepted = ", ".join(get_args(Objective))
        self._require(self.objective in get_args(Objective), "objective", self.objective, accepted)
        self._require(self.scale > 0, "scale", self.scale, "a number above 0")
        self._whole("freeze_lower", self.freeze_lower, 0)
        ranks = self.objective == "ranking"
        for name, idle in (("dropout", ranks), ("scale", not ranks), ("head_learning_rate", ranks)):
            default = next(field.default for field in dataclasses.fields(self) if field.name == name)
            given = getattr(self, name)
            accepted = f'{default} with embeddings.objective = "{self.objective}", which does not look at it'
            self._require(not idle or given == default, name, given, accepted)
        self._require(
            not ranks or self.gradient_accumulation == 1,
            "gradient_accumulation",
            self.gradient_accumulation,
            '1 with embeddings.objective = "ranking": the other pairs of a step are its wrong answers',
        )
        enough = not ranks or self.batch_tokens > 0 or self.batch_size > 1
        self._require(enough, "batch_size", self.batch_size, "2 or more")
        found = bool(self.pooling) or len(self.layers) < 2
        self._require(found, "pooling", self.pooling, "max, mean, cls, last with several layers")
        self._require(
            self.searches or not self.parallel, "parallel", self.parallel, "nothing with layers and pooling"
        )

    @property
    def searches(self) -> bool:
        """Whether layers or pooling are to be found on the frozen encoder."""
        return not (self.layers and self.pooling)
