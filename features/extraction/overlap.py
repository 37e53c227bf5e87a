"""Three steps of a line of work at once: the next item is prepared and the last one finished meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Ready = TypeVar("Ready")
Made = TypeVar("Made")
Result = TypeVar("Result")


def overlap(
    items: Sequence[Item],
    before: Callable[[Item], Ready],
    work: Callable[[Ready], Made],
    after: Callable[[Item, Made], Result],
) -> Iterator[Result]:
    """Run ``after(item, work(before(item)))`` for each item, in order.

    `before` runs in a thread one item ahead, `work` in the caller's, `after` in a thread one item behind, so
    no more than three items are under way. An error of any step ends the line once the threads are idle; the
    items before it are finished, those after it untouched.

    Yields
    ------
    Result
        What `after` returned, in order.
    """
    with ThreadPoolExecutor(1) as ahead, ThreadPoolExecutor(1) as behind:
        ready: Future[Ready] | None = ahead.submit(before, items[0]) if items else None
        finishing: Future[Result] | None = None
        for k, item in enumerate(items):
            prepared = ready.result() if ready is not None else before(item)
            ready = ahead.submit(before, items[k + 1]) if k + 1 < len(items) else None
            made = work(prepared)
            if finishing is not None:
                yield finishing.result()
            finishing = behind.submit(after, item, made)
        if finishing is not None:
            yield finishing.result()
