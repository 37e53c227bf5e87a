"""Settings of the search over phase two's own settings; imports neither torch nor transformers.

python -m mcbert tune --config demo 'tune.values.learning_rate=[5e-5, 1e-4, 2e-4]'
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal, Self

from pydantic import model_validator

from mcbert.finetune.settings import FinetuneSettings
from mcbert.settings import HERE, Filled, Whole, require, require_default, section

Method = Literal["grid", "each", "random"]
Chosen = Literal["source-dev", "agreement", "target-dev"]
Searched = Literal["mcbert", "baseline"]

UNSEARCHED = ("systems", "seeds", "threads", "checkpoint_steps")
"""Settings that say what is run, or where, and not how well it learns."""
OF_MCBERT = ("layers", "pooling", "start", "head_layers")
"""With the freezing ones, settings that the baseline does not look at."""


@section("tune")
class TuneSettings:
    """Which settings of ``finetune`` are tried, in which combinations, and how the best is chosen.

    Raises
    ------
    ValueError
        From the constructor, naming the field as ``tune.<field>``.
    """

    values: dict[str, Filled[Any]] = dataclasses.field(default_factory=dict)
    """Values to try of each setting of ``finetune``; what is not named here stays as it is there."""

    method: Method = "grid"
    """grid: every combination of the values; each: one setting at a time, the others as they are, which tells
    what each of them does; random: `trials` of the combinations."""

    trials: Whole = 0
    """Combinations drawn by random, each once; 0 otherwise."""

    seed: Whole = 0
    """Draws the combinations of random; 0 otherwise."""

    seeds: Filled[Whole] = (0, 1, 2)
    """Trainings of each combination: the seed draws the head, the order of the texts and the dropout."""

    protocol: Chosen = "source-dev"
    """What combinations are ranked by. source-dev: the accuracy on the source language's dev texts;
    agreement: that of dev texts and their translations less the source's log-loss, no target label read;
    target-dev: the mean accuracy over the target languages, an oracle and stamped as one."""

    system: Searched = "mcbert"
    """What is trained: mcbert, with freezing where the settings freeze anything; or the [CLS] baseline."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        known = [f.name for f in dataclasses.fields(FinetuneSettings) if f.name not in UNSEARCHED]
        looked_at = f'settings that {HERE}.system = "{self.system}" looks at'
        for name in self.values:
            require(name in known, "values", name, ", ".join(known))
            idle = self.system == "baseline" and (name in OF_MCBERT or is_freezing(name))
            require(not idle, "values", name, looked_at)
        return self

    @model_validator(mode="after")
    def _check_trials(self) -> Self:
        if self.method != "random":
            require_default(self, ("trials", "seed"), f'with {HERE}.method = "{self.method}"')
            return self
        most = f"whole numbers from 1 to {self.combinations}, the combinations"
        require(1 <= self.trials <= self.combinations, "trials", self.trials, most)
        return self

    @property
    def combinations(self) -> int:
        """How many combinations of the values there are."""
        return math.prod(len(values) for values in self.values.values())


def is_freezing(name: str) -> bool:
    """Tell whether a setting of ``finetune`` says what freezes during training, and when."""
    return (name.startswith("freeze") and name != "freeze_embeddings") or name == "ignore_unused_frozen"
