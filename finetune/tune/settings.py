"""Settings of the search over phase two's own settings; imports neither torch nor transformers.

python -m mcbert tune --config demo 'tune.values.learning_rate=[5e-5, 1e-4, 2e-4]'
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, get_args

from mcbert.finetune.settings import FinetuneSettings

Method = Literal["grid", "each", "random"]
Chosen = Literal["source-dev", "target-dev"]
Searched = Literal["mcbert", "baseline"]

UNSEARCHED = ("systems", "seeds", "threads", "checkpoint_steps")
"""Settings that say what is run, or where, and not how well it learns."""
OF_MCBERT = ("layers", "pooling", "start", "head_layers")
"""With the freezing ones, settings that the baseline does not look at."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TuneSettings:
    """Which settings of ``finetune`` are tried, in which combinations, and how the best is chosen.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``tune.<field>``.
    """

    values: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    """Values to try of each setting of ``finetune``; what is not named here stays as it is there."""

    method: Method = "grid"
    """grid: every combination of the values; each: one setting at a time, the others as they are, which tells
    what each of them does; random: `trials` of the combinations."""

    trials: int = 0
    """Combinations drawn by random, each once; 0 otherwise."""

    seed: int = 0
    """Draws the combinations of random; 0 otherwise."""

    seeds: tuple[int, ...] = (0, 1, 2)
    """Trainings of each combination: the seed draws the head, the order of the texts and the dropout."""

    protocol: Chosen = "source-dev"
    """Dev accuracy that combinations are ranked by: the source language's, or target-dev, the mean over
    the target languages, an oracle and stamped as one."""

    system: Searched = "mcbert"
    """What is trained: mcbert, with freezing where the settings freeze anything; or the [CLS] baseline."""

    def __post_init__(self) -> None:
        """Check every field and turn lists into tuples."""
        for name, kind in (("method", Method), ("protocol", Chosen), ("system", Searched)):
            accepted = ", ".join(get_args(kind))
            _require(getattr(self, name) in get_args(kind), name, getattr(self, name), accepted)
        _require(_is_whole(self.seed), "seed", self.seed, "whole numbers from 0")
        seeds = tuple(self.seeds)
        sound = seeds and all(_is_whole(seed) for seed in seeds) and len(set(seeds)) == len(seeds)
        _require(bool(sound), "seeds", self.seeds, "whole numbers from 0, each once")
        object.__setattr__(self, "seeds", seeds)
        for name, values in self.values.items():
            self._check_values(name, values)
        self._check_trials()

    @property
    def combinations(self) -> int:
        """How many combinations of the values there are."""
        return math.prod(len(values) for values in self.values.values())

    def _check_values(self, name: str, values: tuple[Any, ...]) -> None:
        known = [f.name for f in dataclasses.fields(FinetuneSettings) if f.name not in UNSEARCHED]
        _require(name in known, "values", name, ", ".join(known))
        idle = self.system == "baseline" and (name in OF_MCBERT or is_freezing(name))
        _require(not idle, "values", name, f'settings that tune.system = "{self.system}" looks at')
        repeated = [value for place, value in enumerate(values) if value in values[:place]]
        _require(bool(values) and not repeated, f"values.{name}", values, "at least one value, each once")

    def _check_trials(self) -> None:
        if self.method != "random":
            only = f'0 with tune.method = "{self.method}"'
            _require(self.trials == 0, "trials", self.trials, only)
            _require(self.seed == 0, "seed", self.seed, only)
            return
        most = self.combinations
        drawn = _is_whole(self.trials) and 1 <= self.trials <= most
        _require(drawn, "trials", self.trials, f"whole numbers from 1 to {most}, the combinations")


def is_freezing(name: str) -> bool:
    """Tell whether a setting of ``finetune`` says what freezes during training, and when."""
    return (name.startswith("freeze") and name != "freeze_embeddings") or name == "ignore_unused_frozen"


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _require(holds: bool, field: str, given: Any, accepted: str) -> None:
    if not holds:
        raise ValueError(f"tune.{field}: got {given!r}, accepted: {accepted}")
