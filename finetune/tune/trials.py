"""Trials: combinations of values over the settings as they are.

python -m pytest tests/finetune/tune/test_trials.py
"""

from __future__ import annotations

import dataclasses
import json
import random
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcbert.files.toml import spelled
from mcbert.finetune.settings import FinetuneSettings
from mcbert.finetune.tune.settings import TuneSettings

NONE = "none"  # how a configuration spells the absence of a number


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """A combination of values to be tried."""

    number: int
    """In the order of the plan; 0 changes nothing."""

    changes: Mapping[str, Any]
    """The settings that differ from `FinetuneSettings` as given, with their values."""

    settings: FinetuneSettings | None
    """All settings; None where they do not go together."""

    message: str = ""
    """Why they do not."""


def plan_trials(tune: TuneSettings, base: FinetuneSettings) -> list[Trial]:
    """Return the trials: first the settings as they are, then each new combination.

    Parameters
    ----------
    tune : TuneSettings
        Values and how they are combined.
    base : FinetuneSettings
        The settings that the values replace.

    Returns
    -------
    list of Trial
        With settings None where a combination is refused, because its values do not go together.

    Raises
    ------
    ValueError
        There are no values, or every combination is refused.
    """
    if not tune.values:
        raise ValueError(
            "tune.values: got nothing, accepted: lists of values, such as tune.values.learning_rate = "
            "[5e-5, 1e-4]"
        )
    trials = [Trial(number=0, changes={}, settings=base)]
    for combination in _combinations(tune):
        trial = _trial(len(trials), combination, base)
        if trial.settings is None or trial.settings not in [known.settings for known in trials]:
            trials.append(trial)
    refused = [trial for trial in trials if trial.settings is None]
    if refused and len(refused) == len(trials) - 1:
        raise ValueError(f"tune.values: all {len(refused)} combinations are refused: {refused[0].message}")
    return trials


def _combinations(tune: TuneSettings) -> Iterable[dict[str, Any]]:
    """Yield combinations in the order of the grid, the last setting changing fastest; of each, alone."""
    if tune.method == "each":
        yield from ({name: value} for name, values in tune.values.items() for value in values)
        return
    numbers: Sequence[int] = range(tune.combinations)
    if tune.method == "random":
        numbers = sorted(random.Random(tune.seed).sample(numbers, tune.trials))
    for number in numbers:
        combination = {}
        rest = number
        for name, values in reversed(tune.values.items()):
            rest, place = divmod(rest, len(values))
            combination[name] = values[place]
        yield {name: combination[name] for name in tune.values}


def _trial(number: int, combination: Mapping[str, Any], base: FinetuneSettings) -> Trial:
    given = _given(combination)
    try:
        settings = dataclasses.replace(base, **given)
    except ValueError as error:
        return Trial(number=number, changes=_plain(combination), settings=None, message=str(error))
    changed = {name for name in given if getattr(settings, name) != getattr(base, name)}
    kept = {name: value for name, value in combination.items() if name in changed}
    return Trial(number=number, changes=_plain(kept), settings=settings)


def _given(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {name: None if value == NONE else value for name, value in changes.items()}


def _plain(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return values as JSON gives them back."""
    plain: dict[str, Any] = json.loads(json.dumps(changes))
    return plain


def freezes(settings: FinetuneSettings) -> bool:
    """Tell whether the settings freeze anything during training."""
    return bool(settings.freeze) or settings.freeze_rule != "schedule"


def overrides(changes: Mapping[str, Any], base: FinetuneSettings) -> list[str]:
    """Return what to add to ``mcbert finetune`` for the settings of a trial: ``finetune.key=value``.

    Parameters
    ----------
    changes : mapping
        Of a trial, or its cell of tune.csv.
    base : FinetuneSettings
        The settings that the trial replaced values of.
    """
    freezing = freezes(dataclasses.replace(base, **_given(changes)))
    systems = tuple(name for name in base.systems if freezing or name != "mcbert_wf")
    if freezing and "mcbert_wf" not in systems:
        systems = (*systems, "mcbert_wf")
    same = systems in (base.systems, base.trained)
    everything = dict(changes) if same else {**changes, "systems": list(systems)}
    return [f"finetune.{name}={spelled(value)}" for name, value in everything.items()]
