"""Ctrl-C and SIGTERM: work that polls stops between two batches, other work at once, a second signal kills.

Raising from a handler is not enough while libraries run callbacks that swallow exceptions, and it may strike
in the middle of a write; a flag that is looked at between batches is neither.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)

_Handler = Callable[[int, FrameType | None], object] | int | None


class Interrupted(KeyboardInterrupt):
    """The user or the system asked this process to stop.

    Attributes
    ----------
    status : int
        Exit status by the convention of shells: 128 and the signal's number.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextmanager
def deferred() -> Iterator[None]:
    """Hold signals back until the block ends: what is interrupted half started cannot be closed.

    The first is given to whoever handles it when the block ends; a second one ends this process at once.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    received: list[int] = []

    def remember(number: int, _: FrameType | None) -> None:
        if received:
            os._exit(128 + number)
        received.append(number)

    before = {number: signal.signal(number, remember) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        if received:  # also where the block failed: processes that it started had the signal, too
            signal.raise_signal(received[0])


class Interruption:
    """The signals of one command.

    Parameters
    ----------
    kills : bool
        Whether a second signal ends the process; else it is raised at once, as a notebook's kernel needs it.

    Examples
    --------
    with Interruption() as interruption:
        with interruption.polled() as check:
            for batch in batches:
                check()
    """

    def __init__(self, *, kills: bool = True) -> None:
        self._kills = kills
        self._received = 0
        self._polled = False
        self._before: dict[int, _Handler] = {}

    def __enter__(self) -> Interruption:
        """Take the signals over; only the main thread can."""
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        """Give the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        again = self._received > 0
        if again and self._kills:
            os._exit(128 + number)
        self._received = number
        if again or not self._polled:
            raise Interrupted(number)

    @contextmanager
    def polled(self) -> Iterator[Callable[[], None]]:
        """Defer the signals; what this yields raises `Interrupted` once one has come."""
        self._polled = True
        try:
            yield self._check
            self._check()
        finally:
            self._polled = False

    def _check(self) -> None:
        if self._received:
            raise Interrupted(self._received)
