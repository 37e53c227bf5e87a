"""What can be wrong with a feature cache; every message is one line that says which file and why."""

from __future__ import annotations


class StoreError(ValueError):
    """A cache that is not whole, not ours, not the one asked for, or that cannot be written."""


class StoreFullError(StoreError, OSError):
    """There is no room for what was to be written; everything acknowledged before is kept."""
