"""Results: what every table means, how it is written and read, Table 1, the charts and the report.

    from mcbert import results
    candidates = results.read("gridsearch", "demo")
    both = results.compare(["demo", "wider"], "table1")

The package imports none of the others: every stage writes its rows through `results.tables` with a table
declared in `results.schema`, and the report is made from those files alone.

    python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mcbert.results.frames import compare, read

if __name__ != "mcbert.results":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.results, not results")

__all__ = ["compare", "read"]


def __getattr__(name: str) -> Any:
    """Import `read` and `compare` when they are used: who only needs the schema starts without pandas."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mcbert.results import frames

    return getattr(frames, name)
