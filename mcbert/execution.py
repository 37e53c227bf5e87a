"""Types of the executor and the progress bar that are passed to every stage.

`pipeline.cluster` makes the first, `pipeline.progress.track` is the second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

T = TypeVar("T")
R = TypeVar("R")
Triple = tuple[T, R | None, str | None]
"""A task, its result, and the error that it ended in instead."""


class Execute(Protocol):
    """Runs tasks in this process, in others or on other machines."""

    def __call__(self, function: Callable[[T], R], tasks: Iterable[T], /) -> Iterator[Triple[T, R]]:
        """Yield a triple for each task as it finishes, in any order.

        Parameters
        ----------
        function : callable
            Takes a task; both can be pickled. It may run more than once for a task whose worker died.
        tasks : iterable
            Asked for as workers get free.
        """


class Track(Protocol):
    """Shows how far along work is."""

    def __call__(
        self, items: Iterable[T], total: int, description: str, note: Callable[[], str] = ..., /
    ) -> Iterable[T]:
        """Return `items`; each counts as done when the next is asked for.

        Parameters
        ----------
        total : int
            Number of items.
        description : str
            Name of the items.
        note : callable, optional
            Returns what else to show, such as the best score so far.
        """


def untracked(
    items: Iterable[T], _total: int, _description: str, _note: Callable[[], str] = lambda: "", /
) -> Iterable[T]:
    """Show no progress."""
    return items
