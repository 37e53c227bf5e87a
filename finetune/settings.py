"""Settings of the fine-tuning stage; imports neither torch nor transformers.

python -m mcbert finetune --config demo finetune.epochs=3
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mcbert.features.spec import Pooling
from mcbert.results.schema.words import Protocol
from mcbert.settings import (
    HERE,
    Distinct,
    Filled,
    Number,
    Optional,
    Positive,
    Share,
    Whole,
    distinct,
    require,
    section,
)

System = Literal["baseline", "mcbert", "mcbert_wf"]
SYSTEMS: tuple[System, ...] = get_args(System)
FREEZES: System = "mcbert_wf"
HeadPooling = Literal["", Pooling]
HeadStart = Literal["auto", "probe", "ensemble", "random"]
TRAINED_STARTS = ("probe", "ensemble")  # of `HeadStart`: always a classifier of phase one
ClassWeight = Literal["none", "balanced"]
Optimizer = Literal["adam", "adamw"]
FreezeRule = Literal["schedule", "plateau", "slope", "gradient"]
FreezeWatch = Literal["agreement", "source-dev", "target-dev"]
WATCHING = ("plateau", "slope")  # rules that look at dev scores
Precision = Literal["auto", "float32", "bfloat16", "float16"]
Rate = Annotated[float, Field(gt=0, le=1)]


def _epoch(key: Any) -> Any:
    """Read an epoch; the keys of a TOML table are texts."""
    return int(key) if isinstance(key, str) and key.isdecimal() else key


def _renamed(rule: Any) -> Any:
    """Refuse a rule by the name that it had, and say the one it has."""
    if now := {"record": "plateau", "decline": "slope"}.get(str(rule)):
        raise ValueError(f"got {rule!r}, which is now called {now!r}")
    return rule


def _by_epoch(freeze: dict[int, tuple[int, ...]]) -> dict[int, tuple[int, ...]]:
    """Return the epochs in order; refuse a layer that is frozen twice."""
    distinct(tuple(layer for layers in freeze.values() for layer in layers))
    return dict(sorted(freeze.items()))


def _apart(groups: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    distinct(tuple(layer for group in groups for layer in group))
    return groups


Epoch = Annotated[int, Field(ge=0), BeforeValidator(_epoch)]
Freeze = Annotated[dict[Epoch, Filled[Whole]], AfterValidator(_by_epoch)]
Groups = Annotated[Distinct[Filled[Whole]], AfterValidator(_apart)]


@section("training")
class TrainingSettings:
    """How a model is trained, and how an epoch is chosen: what every training has.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``<section>.<field>``.
    """

    section: ClassVar[str]
    """Name of the settings in a configuration."""

    seeds: Filled[Whole] = (0, 1, 2)
    """One training per system and seed: the seed draws the head, the order of the texts and the dropout."""

    epochs: Positive = 5
    """Passes over the training texts."""

    learning_rate: Rate = 2e-5
    """Peak of the optimizer's learning rate, reached after `warmup`, then linear to 0."""

    head_learning_rate: Optional[Rate] = None
    """The same for newly initialised weights (head, a pooler the encoder lacks); none: `learning_rate`."""

    lower_layer_decay: Rate = 1.0
    """A layer learns at this share of the rate of the layer above it; the deepest at `learning_rate`."""

    optimizer: Optimizer = "adamw"
    """adamw: decay apart from the gradient; adam: decay added to it, as published with a decay of 0."""

    batch_size: Positive = 32
    """Texts per optimizer step, of similar lengths."""

    batch_tokens: Whole = 0
    """Most tokens per optimizer step, padding included, instead of `batch_size` texts; 0: `batch_size`."""

    gradient_accumulation: Positive = 1
    """Parts that a step is computed in, each padded alone: less memory, the same gradient."""

    max_gradient_norm: Number = 1.0
    """Longer gradients are scaled down to this norm; 0: never."""

    precision: Precision = "auto"
    """Of products in training and its dev scores: float32, bfloat16, float16 (GPU). auto: bfloat16 where the
    hardware has it and layers are wide enough for it to pay. Weights are float32 always."""

    dropout: Share = 0.1
    """Share of the pooled states dropped before the linear head."""

    warmup: Share = 0.1
    """Share of all steps in which the learning rate rises."""

    weight_decay: Annotated[float, Field(ge=0, le=1)] = 0.01
    """The optimizer's decay of weights; biases and LayerNorm are exempt."""

    max_length: Whole = 0
    """Tokens kept of a text or pair, special tokens included; 0: `encoder.max_length`, as phase one."""

    layers: Distinct[Whole] = ()
    """Layers whose pooled states feed the head; empty: the winner's."""

    pooling: HeadPooling = ""
    """max, mean, cls or last; empty: the winner's."""

    freeze: Freeze = dataclasses.field(default_factory=dict)
    """Layers to freeze once so many epochs are complete: ``{2: (9, 11)}``; layer 0 is the embeddings."""

    freeze_rule: Annotated[FreezeRule, BeforeValidator(_renamed)] = "schedule"
    """What decides when layers freeze: schedule: `freeze`; plateau, slope: dev scores, group by group of
    `freeze_groups`; gradient: how the gradient of each layer changes, from the bottom (docs/freezing.md)."""

    freeze_groups: Groups = ()
    """Layers that plateau and slope freeze together, in turn: ``[[11], [9, 10]]``."""

    freeze_watch: FreezeWatch = "source-dev"
    """Dev score that plateau and slope look at: agreement (of dev texts and their translations, no target
    label read), the accuracy on source-dev, or on target-dev (mean), an oracle and stamped as one."""

    freeze_patience: Positive = 1
    """plateau: freeze once the best score has not been beaten for so many evaluations."""

    freeze_window: Annotated[int, Field(ge=2)] = 3
    """slope: freeze when the score's least-squares line over so many evaluations falls."""

    freeze_percentile: Annotated[float, Field(ge=0, le=100)] = 50.0
    """gradient: layers from the bottom freeze whose change is below this percentile of the changes."""

    ignore_unused_frozen: bool = False
    """Skip, with a log line, layers to freeze that feed nothing; without it they are an error."""

    freeze_embeddings: bool = False
    """Freeze the word embeddings from the start in every system (else only source-language ones move)."""

    protocol: Protocol = "last"
    """How the weights are chosen: the last; the best by agreement (of dev texts and their translations, no
    target label read), on source dev, or on target dev (mean; an oracle)."""

    eval_steps: Whole = 0
    """Score dev every so many steps, besides every epoch's end; 0: there only."""

    patience: Whole = 0
    """Stop after so many evaluations without a better score of the protocol's; 0: never."""

    checkpoint_steps: Whole = 0
    """Save a checkpoint every so many steps, besides every epoch's end; 0: there only."""

    threads: Positive = 1
    """Threads of a training on the CPU; results are reproducible for one number of them."""

    @model_validator(mode="after")
    def _check_steps(self) -> Self:
        parts, size = self.gradient_accumulation, self.batch_size
        divides = bool(self.batch_tokens) or size % parts == 0
        require(divides, "gradient_accumulation", parts, f"a divisor of batch_size, {size}")
        require(self.max_length not in (1, 2), "max_length", self.max_length, "0, or 3 or more")
        waits = self.protocol != "last" or self.patience == 0
        idle = f'0 with {HERE}.protocol = "last", which looks at no score'
        require(waits, "patience", self.patience, idle)
        return self

    @model_validator(mode="after")
    def _check_freezing(self) -> Self:
        for epoch in self.freeze:
            accepted = f"epochs 0 to {self.epochs - 1}, after which training continues"
            require(epoch < self.epochs, "freeze", epoch, accepted)
        for name, rules in (("freeze", ("schedule",)), ("freeze_groups", WATCHING)):
            acts = not getattr(self, name) or self.freeze_rule in rules
            accepted = f'nothing with {HERE}.freeze_rule = "{self.freeze_rule}", which does not look at it'
            require(acts, name, getattr(self, name), accepted)
        return self


@section("finetune")
class FinetuneSettings(TrainingSettings):
    """How the winner is trained, beside what, and how an epoch is chosen."""

    systems: Filled[System] = SYSTEMS
    """baseline: [CLS], pooler, linear; mcbert: the winner's layers; mcbert_wf: mcbert with `freeze`. Of these
    three, the default, mcbert_wf is left out, with a log line, where nothing says what freezes."""

    start: HeadStart = "auto"
    """The head's first weights: probe: phase one's best classifier that has a score for each label; ensemble:
    phase one's, over all of its layers and poolings; random; auto: the best of the winner's own layers and
    pooling, where phase two has these; else random. Of an ensemble that won, the winner's are its best's."""

    head_layers: Whole = 0
    """Hidden layers of the head, as wide as the encoder; 0: a linear head. Not with a linear `start`."""

    class_weight: ClassWeight = "none"
    """Weight of a text in the loss: none: 1; balanced: labels weigh the same however many texts they have."""

    eval_texts: Whole = 0
    """Dev texts of each language scored during training, for curves, the epoch kept and rules that freeze,
    drawn by label and the same in every training; 0: all. The weights kept label all of dev, once."""

    @model_validator(mode="after")
    def _check_head(self) -> Self:
        linear = self.start not in TRAINED_STARTS or self.head_layers == 0
        why = f'0 with {HERE}.start = "{self.start}", a linear head'
        require(linear, "head_layers", self.head_layers, why)
        own = self.start != "ensemble" or not (self.layers or self.pooling)
        given = list(self.layers) or self.pooling
        require(own, "layers", given, f'nothing with {HERE}.start = "ensemble", which has its own')
        return self

    @property
    def trained(self) -> tuple[System, ...]:
        """Systems that are trained: of the default ones mcbert_wf only where something says what freezes.

        No schedule fits every encoder and every winner, and freezing neither gained nor lost where it was
        measured (docs/findings.md): settings that nobody touched train without it.
        """
        idle = self.freeze_rule == "schedule" and not self.freeze
        if self.systems != SYSTEMS or not idle:
            return self.systems
        return tuple(name for name in SYSTEMS if name != FREEZES)

    @property
    def freezes(self) -> bool:
        """Whether a system is trained whose layers freeze."""
        return FREEZES in self.trained

    @property
    def searches(self) -> bool:
        """Whether something of phase one is used: layers, pooling, the head's start."""
        return self.start in TRAINED_STARTS or not (self.layers and self.pooling)
