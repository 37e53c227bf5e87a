"""Settings of the fine-tuning stage; imports neither torch nor transformers.

python -m mcbert finetune --config demo finetune.epochs=3
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, get_args

from mcbert.features.spec import POOLINGS
from mcbert.results.schema.words import PROTOCOLS, Protocol

SYSTEMS = ("baseline", "mcbert", "mcbert_wf")
HeadStart = Literal["auto", "probe", "random"]
STARTS: tuple[HeadStart, ...] = get_args(HeadStart)
ClassWeight = Literal["none", "balanced"]
Optimizer = Literal["adam", "adamw"]
FreezeRule = Literal["schedule", "plateau", "slope", "gradient"]
FreezeWatch = Literal["source-dev", "target-dev"]
RENAMED_RULES = {"record": "plateau", "decline": "slope"}
WATCHING = ("plateau", "slope")  # rules that look at dev scores
Precision = Literal["auto", "float32", "bfloat16", "float16"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a model is trained, and how an epoch is chosen: what every training has.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``<section>.<field>``.
    """

    section: ClassVar[str]
    """Name of the settings in a configuration."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """One training per system and seed: the seed draws the head, the order of the texts and the dropout."""

    epochs: int = 5
    """Passes over the training texts."""

    learning_rate: float = 2e-5
    """Peak of the optimizer's learning rate, reached after `warmup`, then linear to 0."""

    head_learning_rate: float | None = None
    """The same for newly initialised weights (head, a pooler the encoder lacks); None: `learning_rate`."""

    lower_layer_decay: float = 1.0
    """A layer learns at this share of the rate of the layer above it; the deepest at `learning_rate`."""

    optimizer: Optimizer = "adamw"
    """adamw: decay apart from the gradient; adam: decay added to it, as published with a decay of 0."""

    batch_size: int = 32
    """Texts per optimizer step, of similar lengths."""

    batch_tokens: int = 0
    """Most tokens per optimizer step, padding included, instead of `batch_size` texts; 0: `batch_size`."""

    gradient_accumulation: int = 1
    """Parts that a step is computed in, each padded alone: less memory, the same gradient."""

    max_gradient_norm: float = 1.0
    """Longer gradients are scaled down to this norm; 0: never."""

    precision: Precision = "auto"
    """Of products in training and its dev scores: float32, bfloat16, float16 (GPU). auto: bfloat16 where the
    hardware has it and layers are wide enough for it to pay. Weights are float32 always."""

    dropout: float = 0.1
    """Share of the pooled states dropped before the linear head."""

    warmup: float = 0.1
    """Share of all steps in which the learning rate rises."""

    weight_decay: float = 0.01
    """The optimizer's decay of weights; biases and LayerNorm are exempt."""

    max_length: int = 0
    """Tokens kept of a text or pair, special tokens included; 0: `encoder.max_length`, as phase one."""

    layers: tuple[int, ...] = ()
    """Layers whose pooled states feed the head; empty: the winner's."""

    pooling: str = ""
    """max, mean, cls or last; empty: the winner's."""

    freeze: dict[int, tuple[int, ...]] = dataclasses.field(default_factory=dict)
    """Layers to freeze once so many epochs are complete: ``{2: (9, 11)}``; layer 0 is the embeddings."""

    freeze_rule: FreezeRule = "schedule"
    """What decides when layers freeze: schedule: `freeze`; plateau, slope: dev scores, group by group of
    `freeze_groups`; gradient: how the gradient of each layer changes, from the bottom (docs/freezing.md)."""

    freeze_groups: tuple[tuple[int, ...], ...] = ()
    """Layers that plateau and slope freeze together, in turn: ``[[11], [9, 10]]``."""

    freeze_watch: FreezeWatch = "source-dev"
    """Dev accuracy that plateau and slope look at; target-dev (mean) is an oracle and stamped as one."""

    freeze_patience: int = 1
    """plateau: freeze once the best score has not been beaten for so many evaluations."""

    freeze_window: int = 3
    """slope: freeze when the score's least-squares line over so many evaluations falls."""

    freeze_percentile: float = 50.0
    """gradient: layers from the bottom freeze whose change is below this percentile of the changes."""

    ignore_unused_frozen: bool = False
    """Skip, with a log line, layers to freeze that feed nothing; without it they are an error."""

    freeze_embeddings: bool = False
    """Freeze the word embeddings from the start in every system (else only source-language ones move)."""

    protocol: Protocol = "last"
    """How the weights are chosen: the last, the best on source dev, or on target dev (mean; an oracle)."""

    eval_steps: int = 0
    """Score dev every so many steps, besides every epoch's end; 0: there only."""

    patience: int = 0
    """Stop after so many evaluations without a better score of the protocol's; 0: never."""

    checkpoint_steps: int = 0
    """Save a checkpoint every so many steps, besides every epoch's end; 0: there only."""

    threads: int = 1
    """Threads of a training on the CPU; results are reproducible for one number of them."""

    def __post_init__(self) -> None:
        """Check every field, turn lists into tuples and text keys of `freeze` into epochs."""
        for name in ("seeds", "layers"):
            object.__setattr__(self, name, self._distinct(name, getattr(self, name)))
        self._require(len(self.seeds) > 0, "seeds", "nothing", "whole numbers from 0")
        for name in ("seeds", "layers"):
            for value in getattr(self, name):
                self._whole(name, value, 0)
        for name in ("epochs", "batch_size", "gradient_accumulation", "threads"):
            self._whole(name, getattr(self, name), 1)
        for name in ("batch_tokens", "eval_steps", "patience", "checkpoint_steps"):
            self._whole(name, getattr(self, name), 0)
        self._check_steps()
        self._whole("max_length", self.max_length or 3, 3)
        self._check_rates()
        self._require(self.pooling in ("", *POOLINGS), "pooling", self.pooling, ", ".join(POOLINGS))
        self._require(self.protocol in PROTOCOLS, "protocol", self.protocol, ", ".join(PROTOCOLS))
        self._check_freeze()
        self._check_rule()

    def _check_rates(self) -> None:
        for name in ("learning_rate", "head_learning_rate"):
            value = getattr(self, name)
            if value is not None or name == "learning_rate":
                self._require(_number(value) and 0 < value <= 1, name, value, "a number above 0, at most 1")
        for name in ("dropout", "warmup"):
            value = getattr(self, name)
            self._require(_number(value) and 0 <= value < 1, name, value, "a number from 0 to below 1")
        decay = self.weight_decay
        self._require(_number(decay) and 0 <= decay <= 1, "weight_decay", decay, "a number from 0 to 1")
        decay = self.lower_layer_decay
        self._require(
            _number(decay) and 0 < decay <= 1, "lower_layer_decay", decay, "a number above 0, at most 1"
        )
        norm = self.max_gradient_norm
        self._require(_number(norm) and 0 <= norm < math.inf, "max_gradient_norm", norm, "a number from 0")

    def _check_steps(self) -> None:
        for name, kind in (("optimizer", Optimizer), ("precision", Precision)):
            accepted = ", ".join(get_args(kind))
            self._require(getattr(self, name) in get_args(kind), name, getattr(self, name), accepted)
        parts = self.gradient_accumulation
        divides = bool(self.batch_tokens) or self.batch_size % parts == 0
        self._require(divides, "gradient_accumulation", parts, f"a divisor of batch_size, {self.batch_size}")
        waits = self.protocol != "last" or self.patience == 0
        self._require(
            waits,
            "patience",
            self.patience,
            f'0 with {self.section}.protocol = "last", which looks at no score',
        )

    def _check_freeze(self) -> None:
        self._require(isinstance(self.freeze, Mapping), "freeze", self.freeze, "a table of epoch = [layers]")
        freeze: dict[int, tuple[int, ...]] = {}
        for key, layers in self.freeze.items():
            epoch = _epoch(key)
            accepted = f"0 to {self.epochs - 1}, epochs after which training goes on"
            self._require(_is_whole(epoch) and 0 <= epoch < self.epochs, "freeze", f"epoch {key!r}", accepted)
            freeze[epoch] = self._distinct(f"freeze.{epoch}", layers)
            self._require(len(freeze[epoch]) > 0, f"freeze.{epoch}", "no layer", "at least one")
            for layer in freeze[epoch]:
                self._whole(f"freeze.{epoch}", layer, 0)
        everything = [layer for epoch in sorted(freeze) for layer in freeze[epoch]]
        for position, layer in enumerate(everything):
            once = layer not in everything[:position]
            self._require(once, "freeze", f"layer {layer} twice", "each layer once; it stays frozen")
        object.__setattr__(self, "freeze", {epoch: freeze[epoch] for epoch in sorted(freeze)})

    def _check_rule(self) -> None:
        for name, kind in (("freeze_rule", FreezeRule), ("freeze_watch", FreezeWatch)):
            accepted = ", ".join(get_args(kind))
            if now := RENAMED_RULES.get(getattr(self, name)) if name == "freeze_rule" else None:
                accepted += f"; it is now called {now}"
            self._require(getattr(self, name) in get_args(kind), name, getattr(self, name), accepted)
        self._whole("freeze_patience", self.freeze_patience, 1)
        self._whole("freeze_window", self.freeze_window, 2)
        percentile = self.freeze_percentile
        in_range = _number(percentile) and 0 <= percentile <= 100
        self._require(in_range, "freeze_percentile", percentile, "a number from 0 to 100")
        groups = self._distinct("freeze_groups", self.freeze_groups)
        groups = tuple(self._distinct("freeze_groups", group) for group in groups)
        self._require(all(groups), "freeze_groups", "a group without layers", "at least one layer each")
        for layer in self._distinct("freeze_groups", [layer for group in groups for layer in group]):
            self._whole("freeze_groups", layer, 0)
        object.__setattr__(self, "freeze_groups", groups)
        for name, rules in (("freeze", ("schedule",)), ("freeze_groups", WATCHING)):
            acts = not getattr(self, name) or self.freeze_rule in rules
            accepted = (
                f'nothing with {self.section}.freeze_rule = "{self.freeze_rule}", which does not look at it'
            )
            self._require(acts, name, getattr(self, name), accepted)

    def _distinct(self, name: str, value: Any) -> tuple[Any, ...]:
        self._require(isinstance(value, (list, tuple)), name, value, "a list")
        repeated = [item for position, item in enumerate(value) if item in value[:position]]
        self._require(not repeated, name, f"{repeated[:1]} twice", "each entry once")
        return tuple(value)

    def _whole(self, name: str, value: Any, least: int) -> None:
        self._require(_is_whole(value) and value >= least, name, value, f"whole numbers from {least}")

    def _require(self, holds: bool, field: str, given: Any, accepted: str) -> None:
        if not holds:
            shown = given if isinstance(given, str) and " " in given else repr(given)
            raise ValueError(f"{self.section}.{field}: got {shown}, accepted: {accepted}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneSettings(TrainingSettings):
    """How the winner is trained, beside what, and how an epoch is chosen."""

    section: ClassVar[str] = "finetune"

    systems: tuple[str, ...] = SYSTEMS
    """baseline: [CLS], pooler, linear; mcbert: the winner's layers; mcbert_wf: mcbert with `freeze`."""

    start: HeadStart = "auto"
    """The head's first weights: probe: phase one's best classifier that has a score for each label; random;
    auto: the best of the winner's own layers and pooling, where phase two has these; else random."""

    head_layers: int = 0
    """Hidden layers of the head, as wide as the encoder; 0: a linear head. Not with `start` = "probe"."""

    class_weight: ClassWeight = "none"
    """Weight of a text in the loss: none: 1; balanced: labels weigh the same however many texts they have."""

    def __post_init__(self) -> None:
        """Check every field."""
        object.__setattr__(self, "systems", self._distinct("systems", self.systems))
        for system in self.systems:
            self._require(system in SYSTEMS, "systems", system, ", ".join(SYSTEMS))
        self._require(len(self.systems) > 0, "systems", "nothing", ", ".join(SYSTEMS))
        self._require(self.start in STARTS, "start", self.start, ", ".join(STARTS))
        self._whole("head_layers", self.head_layers, 0)
        accepted = ", ".join(get_args(ClassWeight))
        known = self.class_weight in get_args(ClassWeight)
        self._require(known, "class_weight", self.class_weight, accepted)
        linear = self.start != "probe" or self.head_layers == 0
        self._require(
            linear, "head_layers", self.head_layers, '0 with finetune.start = "probe", a linear head'
        )
        super().__post_init__()

    @property
    def searches(self) -> bool:
        """Whether something of phase one is used: layers, pooling, the head's start."""
        return self.start == "probe" or not (self.layers and self.pooling)


def _epoch(key: Any) -> Any:
    """Read an epoch; the keys of a TOML table are texts."""
    return int(key) if isinstance(key, str) and key.isdigit() else key


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
