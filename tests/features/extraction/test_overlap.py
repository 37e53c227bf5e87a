import threading

import pytest

from mcbert.features.extraction.overlap import overlap


def test_results_come_in_order_from_three_threads():
    threads = {"before": set(), "work": set(), "after": set()}

    def step(name, value):
        threads[name].add(threading.get_ident())
        return value

    out = overlap(
        range(20),
        before=lambda item: step("before", item * 2),
        work=lambda ready: step("work", ready + 1),
        after=lambda item, made: step("after", (item, made)),
    )
    assert list(out) == [(k, 2 * k + 1) for k in range(20)]
    assert threads["work"] == {threading.get_ident()}
    assert len(set.union(*threads.values())) == 3


def test_the_next_item_is_prepared_while_one_is_worked_on():
    preparing = threading.Event()

    def before(item):
        if item == 1:
            preparing.set()
        return item

    def work(ready):
        assert ready != 0 or preparing.wait(10), "item 1 was not prepared while item 0 was worked on"
        return ready

    assert list(overlap([0, 1], before, work, lambda item, _: item)) == [0, 1]


@pytest.mark.parametrize("step", ["before", "work", "after"])
def test_an_error_ends_the_line_with_the_items_before_it_finished(step):
    finished = []

    def fail(name, item):
        if name == step and item == 3:
            raise OSError("full")
        return item

    def after(item, made):
        fail("after", item)
        finished.append(made)
        return item

    with pytest.raises(OSError, match="full"):
        list(overlap(range(9), lambda k: fail("before", k), lambda k: fail("work", k), after))
    assert finished == [0, 1, 2]


def test_no_items():
    assert list(overlap([], lambda k: k, lambda k: k, lambda k, _: k)) == []
