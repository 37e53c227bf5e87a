import logging
import re

import pytest

from mcbert.finetune.evaluation import Evaluation, Score
from mcbert.finetune.freezing.rules import (
    FreezeEvent,
    Watched,
    gradient,
    plan_freezing,
    plateau,
    require_feeding,
    rule_of,
    scheduled,
    slope,
    slope_of,
)
from mcbert.finetune.settings import FinetuneSettings

FREEZE = {0: (1,), 2: (11, 9)}
GROUPS = {0: (11,), 1: (9, 8)}
SOURCE = Watched(protocol="source-dev", source_language="en")
TARGETS = Watched(protocol="target-dev", source_language="en")


def score(accuracy):
    return Score(accuracy=accuracy, loss=1.0, n_texts=10)


def history_of(scores, steps=None, frozen=None, norms=None):
    """One evaluation per score: a number, of every language, or a pair, of English and the others."""
    found = []
    for k, value in enumerate(scores):
        en, others = value if isinstance(value, tuple) else (value, value)
        found.append(
            Evaluation(
                epoch=k,
                step=steps[k] if steps else 10 * k,
                scores={"en": score(en), "de": score(others), "zh": score(others)},
                frozen=frozen[k] if frozen else (),
                gradient_norms=norms[k] if norms else (),
            )
        )
    return found


def run(rule, scores, **kwargs):
    """Let a rule act evaluation by evaluation: what it freezes, by the evaluation's number."""
    frozen, states, events = (), [], {}
    for k in range(len(scores)):
        states.append(frozen)
        event = rule(history_of(scores[: k + 1], frozen=states, **kwargs))
        if event:
            events[k] = event.layers
            frozen = tuple(sorted({*frozen, *event.layers}))
    return events


@pytest.mark.parametrize(
    ("epoch", "frozen", "layers"),
    [(0, (), (1,)), (1, (1,), None), (2, (1,), (9, 11)), (2, (9,), (11,)), (2, (9, 11), None), (3, (), None)],
)
def test_the_schedule_from_a_table(epoch, frozen, layers):
    past = Evaluation(epoch=0, step=0, scores={})
    event = scheduled([past, Evaluation(epoch=epoch, step=7 * epoch, scores={}, frozen=frozen)], FREEZE)
    if layers is None:
        assert event is None
    else:
        assert event == FreezeEvent(
            epoch=epoch, step=7 * epoch, layers=layers, reason=f"schedule: after epoch {epoch}"
        )


@pytest.mark.parametrize(
    ("patience", "scores", "events"),
    [
        (1, [0.1, 0.5], {}),  # the best, for no evaluation yet
        (1, [0.1, 0.5, 0.4], {2: (11,)}),
        (1, [0.1, 0.5, 0.5], {2: (11,)}),  # an equal score does not beat it
        (2, [0.1, 0.5, 0.4, 0.5], {3: (11,)}),
        (2, [0.1, 0.5, 0.4, 0.6, 0.6], {}),  # a better score starts the count again
        (2, [0.1, 0.5, 0.4, 0.6, 0.6, 0.5], {5: (11,)}),
        (1, [0.5, 0.4], {1: (11,)}),  # a head that starts well has its best score before training
        (1, [0.1, 0.5, 0.4, 0.4, 0.4, 0.4], {2: (11,), 3: (8, 9)}),  # then there is nothing left
        (2, [0.1, 0.5, 0.4, 0.4, 0.4, 0.4], {3: (11,), 5: (8, 9)}),  # the count starts again at a freezing
        (2, [0.1, 0.5, 0.4, 0.4, 0.6, 0.5, 0.5], {3: (11,), 6: (8, 9)}),
        (3, [0.1, 0.2, 0.3, 0.4, 0.5], {}),
    ],
)
def test_plateau_from_a_table(patience, scores, events):
    assert run(lambda h: plateau(h, GROUPS, watched=SOURCE, patience=patience), scores) == events


@pytest.mark.parametrize(
    ("window", "scores", "events"),
    [
        (2, [0.5], {}),
        (2, [0.5, 0.4], {1: (11,)}),
        (3, [0.5, 0.4], {}),  # not enough seen
        (3, [0.5, 0.6, 0.5], {}),  # a level line
        (3, [0.1, 0.1, 0.1, 0.1], {}),
        (3, [0.5, 0.6, 0.49], {2: (11,)}),
        (3, [0.1, 0.5, 0.6, 0.55, 0.4], {4: (11,)}),  # 0.5 0.6 0.55 still rises
        (2, [0.5, 0.4, 0.3, 0.2], {1: (11,), 2: (8, 9)}),
        (3, [0.5, 0.4, 0.3, 0.2, 0.1], {2: (11,), 4: (8, 9)}),  # a window lies after the last freezing
        (3, [0.5, 0.4, 0.3, 0.4, 0.5], {2: (11,)}),
    ],
)
def test_slope_from_a_table(window, scores, events):
    assert run(lambda h: slope(h, GROUPS, watched=SOURCE, window=window), scores) == events


def test_the_slope_is_over_steps_not_evaluations():
    assert slope_of([0, 10, 20], [0.1, 0.2, 0.3]) == pytest.approx(0.01)
    scores = [0.50, 0.40, 0.48]  # over places the line falls; over these steps it rises
    assert slope_of([0, 1, 2], scores) < 0 < slope_of([0, 1, 100], scores)
    history = history_of(scores, steps=[0, 1, 100])
    assert slope(history, GROUPS, watched=SOURCE, window=3) is None


@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 0.7])
def test_a_score_that_stands_still_has_no_slope_not_even_a_rounded_one(value):
    assert slope_of([3, 10, 17, 23, 31], [value] * 5) == 0


@pytest.mark.parametrize("rule", [
    lambda h, w: plateau(h, GROUPS, watched=w, patience=1),
    lambda h, w: slope(h, GROUPS, watched=w, window=2),
])  # fmt: skip
def test_the_score_watched_is_the_one_asked_for(rule):
    history = history_of([(0.5, 0.6), (0.7, 0.4)])  # English rises while the others fall
    assert rule(history, SOURCE) is None
    assert rule(history, TARGETS).layers == (11,)
    mean = [Evaluation(epoch=k, step=k, scores={"en": score(0.5), "de": score(de), "zh": score(zh)})
            for k, (de, zh) in enumerate([(0.5, 0.5), (0.9, 0.2)])]  # fmt: skip
    assert rule(mean, TARGETS) is None  # the mean of the others rises


def test_reasons_name_rule_score_and_numbers():
    falling = history_of([0.25, 0.75, 0.5, 0.5])
    event = plateau(falling, GROUPS, watched=TARGETS, patience=2)
    assert event == FreezeEvent(
        epoch=3,
        step=30,
        layers=(11,),
        reason="plateau: target-dev 0.7500 of step 10 not beaten for 2 evaluations, now 0.5000",
    )
    event = slope(falling, GROUPS, watched=SOURCE, window=3)
    assert event.reason == (
        "slope: source-dev -1.2500 per 100 steps over 3 evaluations (0.7500, 0.5000, 0.5000)"
    )


# norms of the embeddings and of blocks 1 to 4; the embeddings' never count
BEFORE = (1.0, 10.0, 10.0, 10.0, 10.0)
BOTTOM = {0: (0, 1, 2, 3)}


@pytest.mark.parametrize(
    ("percentile", "after", "frozen", "layers"),
    [
        # changes 0.1 0.1 0.4 0.5, median 0.25: blocks 1 and 2 are below it
        (50, (9.0, 9.0, 9.0, 6.0, 5.0), (), (0, 1, 2)),
        (50, (9.0, 11.0, 11.0, 14.0, 15.0), (), (0, 1, 2)),  # growing norms change as much
        # 0.5 0.1 0.1 0.1: block 1 changes most, so nothing is frozen though others have settled
        (50, (1.0, 5.0, 9.0, 9.0, 9.0), (), None),
        # 0.1 0.5 0.1 0.4: only up to the first that has not settled
        (50, (1.0, 9.0, 5.0, 9.0, 6.0), (), (0, 1)),
        (50, (9.0, 9.0, 9.0, 9.0, 9.0), (), None),  # all equal: the first is at the threshold
        (0, (9.0, 9.0, 9.0, 6.0, 5.0), (), None),  # the least is at its own percentile
        (100, (9.0, 9.0, 9.0, 6.0, 5.0), (), (0, 1, 2, 3)),  # all but the greatest, which stays
        # frozen ones take no part: 0.4 0.5 left, median 0.45
        (50, (0.0, 0.0, 0.0, 6.0, 5.0), (0, 1, 2), (3,)),
        (50, (0.0, 0.0, 0.0, 0.0, 5.0), (0, 1, 2, 3), None),  # the last one never
    ],
)
def test_gradient_from_a_table(percentile, after, frozen, layers):
    history = history_of([0.5, 0.5, 0.5], frozen=[(), (), frozen], norms=[(), BEFORE, after])
    event = gradient(history, BOTTOM, percentile=percentile)
    assert (event.layers if event else None) == layers


def test_gradient_waits_for_two_measurements():
    after = (9.0, 9.0, 9.0, 6.0, 5.0)
    assert gradient(history_of([0.5], norms=[()]), BOTTOM, percentile=50) is None
    assert gradient(history_of([0.5] * 2, norms=[(), after]), BOTTOM, percentile=50) is None
    assert gradient(history_of([0.5] * 2, norms=[BEFORE, ()]), BOTTOM, percentile=50) is None
    still = (1.0, 0.0, 10.0, 10.0, 10.0)  # nothing to compare with
    assert gradient(history_of([0.5] * 2, norms=[still, after]), BOTTOM, percentile=50) is None
    assert gradient(history_of([0.5] * 2, norms=[BEFORE, after]), BOTTOM, percentile=50) is not None


def test_gradient_says_what_changed():
    history = history_of([0.5, 0.5], norms=[BEFORE, (9.0, 9.0, 9.0, 6.0, 5.0)])
    event = gradient(history, BOTTOM, percentile=50)
    assert event.reason == (
        "gradient: below layer 3 norms change by less than 0.250 (1: 0.100, 2: 0.100, 3: 0.400, 4: 0.500)"
    )


@pytest.mark.parametrize(
    ("settings", "history", "layers"),
    [
        ({"freeze": {1: (2,)}}, history_of([0.5, 0.6]), (2,)),
        ({"freeze_rule": "plateau", "freeze_groups": ((2, 1),), "freeze_patience": 2},
         history_of([0.1, 0.5, 0.4, 0.4]), (1, 2)),
        ({"freeze_rule": "plateau", "freeze_groups": ((2, 1),), "freeze_patience": 3},
         history_of([0.1, 0.5, 0.4, 0.4]), None),
        ({"freeze_rule": "plateau", "freeze_groups": ((2,),), "freeze_watch": "target-dev"},
         history_of([(0.1, 0.5), (0.2, 0.4)]), (2,)),
        ({"freeze_rule": "plateau", "freeze_groups": ((2,),)}, history_of([(0.1, 0.5), (0.2, 0.4)]), None),
        ({"freeze_rule": "slope", "freeze_groups": ((2,),), "freeze_window": 2},
         history_of([0.1, 0.5, 0.4]), (2,)),
        ({"freeze_rule": "slope", "freeze_groups": ((2,),)}, history_of([0.1, 0.5, 0.4]), None),
        ({"freeze_rule": "gradient"}, history_of([0.5] * 2, norms=[BEFORE, (9.0, 9.0, 9.0, 6.0, 5.0)]),
         (0, 1, 2)),
        ({"freeze_rule": "gradient", "freeze_percentile": 100},
         history_of([0.5] * 2, norms=[BEFORE, (9.0, 9.0, 9.0, 6.0, 5.0)]), (0, 1, 2, 3)),
    ],
)  # fmt: skip
def test_the_settings_name_the_rule_and_its_numbers(settings, history, layers):
    settings = FinetuneSettings(**settings)
    rule = rule_of(settings, plan_freezing(settings, 4), "en")
    event = rule(history)
    assert (event.layers if event else None) == layers


def test_without_layers_no_rule_acts():
    for rule in ("plateau", "gradient"):
        settings = FinetuneSettings(freeze_rule=rule)
        assert rule_of(settings, {}, "en")(history_of([0.5, 0.1], norms=[BEFORE, (1.0,) * 5])) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"freeze": {2: (9, 11, 12)}}, "finetune.freeze: epoch 2: layer 12 feeds nothing, the deepest layer "
         "used is 11; accepted: layers from 0 to 11, or finetune.ignore_unused_frozen = true"),
        ({"freeze_rule": "plateau", "freeze_groups": ((9,), (12,))},
         "finetune.freeze_groups: group 1: layer 12 feeds nothing"),
        ({"freeze_rule": "slope", "freeze_groups": ((12, 9),)},
         "finetune.freeze_groups: group 0: layer 12 feeds nothing"),
        ({}, "finetune.freeze: got nothing, but finetune.systems names mcbert_wf"),
        ({"freeze_rule": "slope"}, "finetune.freeze_groups: got nothing"),
        ({"freeze_rule": "plateau", "freeze_groups": ((12,),), "ignore_unused_frozen": True},
         "finetune.freeze_groups: every layer is deeper than 11"),
    ],
)  # fmt: skip
def test_nothing_to_freeze_or_layers_that_feed_nothing_are_refused(settings, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        plan_freezing(FinetuneSettings(**settings), 11)


def test_or_left_out_and_logged(caplog):
    with caplog.at_level(logging.INFO):
        assert require_feeding({2: (9, 11, 12), 3: (12,)}, 11, ignore=True) == {2: (9, 11)}
    assert "layer 12 feeds nothing" in caplog.text


def test_gradient_may_freeze_all_that_feeds_the_head_but_the_deepest():
    assert plan_freezing(FinetuneSettings(freeze_rule="gradient"), 3) == {0: (0, 1, 2)}
