"""The ledger by which a killed `python -m pipeline gridsearch` goes on where it was.

A journal whose first record says which search this is, and whose others are one candidate each.
"""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from features.store.journal import Journal

FORMAT = 1
SYNC_SECONDS = 1.0  # a crash of the machine costs this much work at most; a kill of the process costs none


class Ledger:
    """Rows by candidate id, on disk and in `rows`.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    identity : mapping of str to JSON values
        What the rows depend on. A ledger of another identity is refused.

    Attributes
    ----------
    rows : dict of str to dict
        The rows by their `candidate_id`, those of an earlier, killed search included.

    Raises
    ------
    ValueError
        If the file is no ledger, belongs to another search, or is being written by another process.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.rows: dict[str, dict[str, Any]] = {}
        self._synced = 0.0
        self._journal = Journal(path)
        head = {"format": FORMAT, "identity": json.loads(json.dumps(identity))}  # tuples become lists
        if not self._journal.records:
            self._journal.append(head)
        try:
            self._require(self._journal.records[0], head)
        except ValueError:
            self._journal.close()
            raise
        for row in self._journal.records[1:]:
            self.rows.setdefault(row["candidate_id"], row)

    def append(self, row: Mapping[str, Any]) -> None:
        """Write a row unless its candidate has one already; a backend may run a task twice."""
        if row["candidate_id"] in self.rows:
            return
        now = time.monotonic()
        due = now - self._synced >= SYNC_SECONDS
        self._journal.append(row, sync=due)
        if due:
            self._synced = now
        self.rows[row["candidate_id"]] = self._journal.records[-1]

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(self, *_: object) -> None:
        self._journal.close()

    def _require(self, found: dict[str, Any], wanted: dict[str, Any]) -> None:
        path = self._journal.path
        if found.get("format") != FORMAT:
            raise ValueError(
                f"{path}: format: got {found.get('format')!r}, accepted: {FORMAT}; move the file away"
            )
        stored, identity = found["identity"], wanted["identity"]
        for key in (*identity, *stored):
            if stored.get(key) != identity.get(key):
                raise ValueError(
                    f"{path}: holds another search: {key} was {_short(stored.get(key))}, "
                    f"now {_short(identity.get(key))}; use another run name or move the file away"
                )


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
