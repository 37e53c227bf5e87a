"""What a setting of the corpus is called in messages: `corpus.leaks`, or of other texts their section's.

python -m pytest tests/features/corpus/test_keys.py
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

_SECTION = ContextVar("section", default="corpus")


@contextlib.contextmanager
def of_section(name: str) -> Iterator[None]:
    """Have messages say that the corpus is configured by another section.

    >>> with of_section("embeddings.corpus"):
    ...     key("leaks")
    'embeddings.corpus.leaks'
    """
    token = _SECTION.set(name)
    try:
        yield
    finally:
        _SECTION.reset(token)


def key(name: str) -> str:
    """Return the full name of a setting of the corpus.

    >>> key("leaks")
    'corpus.leaks'
    """
    return f"{_SECTION.get()}.{name}"
