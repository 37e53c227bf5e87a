"""A journal of finished candidates or trainings, from which a killed search resumes.

A journal whose first record says which search this is, and whose others are one piece of work each.

    python -m pytest tests/files/test_ledger.py
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.files.journal import Journal

FORMAT = 1
KEY = "candidate_id"
RETRY = {"retry": "error"}  # a record: the rows before it with this status count no more


class Ledger:
    """Rows by their key, on disk and in `rows`.

    Parameters
    ----------
    path : Path
        The file; made when it is not there.
    identity : mapping of str to JSON values
        Everything that the rows depend on. A ledger of another identity is refused.
    key : str
        The field of a row that names it.
    require : callable, optional
        Is given each row that is there, and raises where it is none of this search.

    Attributes
    ----------
    rows : dict of str to dict
        The rows by their key, those of an earlier, killed search included.

    Raises
    ------
    ValueError
        If the file is no ledger, belongs to another search, or is being written by another process.
    """

    def __init__(
        self,
        path: Path,
        identity: Mapping[str, Any],
        key: str = KEY,
        *,
        require: Callable[[Mapping[str, Any]], None] = lambda _: None,
    ) -> None:
        self._journal = Journal(path, 0o666)  # of a run, whose other files are as open as the umask says
        self._key = key
        head = {"format": FORMAT, "identity": json.loads(json.dumps(identity))}  # tuples become lists
        if not self._journal.records:
            self._journal.append(head)
        try:
            self._require(self._journal.records[0], head)
            self.rows = _rows(self._journal, key, require)
        except ValueError:
            self._journal.close()
            raise

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Write the rows of a finished task; they are on the disk when this returns.

        What has a row keeps it: a backend may run a task twice. Syncing each task took 0.13 ms on
        the disk tried, 0.03% of a task at the paper's size, and the workers continue meanwhile.
        """
        for row in rows:
            if row[self._key] not in self.rows:
                self._journal.append(row, sync=False)
                self.rows[row[self._key]] = self._journal.records[-1]
        self._journal.sync()

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
        stored, identity = found.get("identity"), wanted["identity"]
        if not isinstance(stored, dict):
            raise ValueError(
                f"{path}: identity: got {_short(stored)}, accepted: an object; move the file away"
            )
        for key in (*identity, *stored):
            if stored.get(key) != identity.get(key):
                raise ValueError(
                    f"{path}: holds another search: {key} was {_short(stored.get(key))}, "
                    f"now {_short(identity.get(key))}; use another run name or move the file away"
                )


def retry_errors(path: Path, key: str = KEY) -> int:
    """Mark failed items to be run again by the next search; return their number.

    The file is only ever appended to: killed at any moment, the next search resumes from here.
    """
    if not path.exists():
        return 0
    with Journal(path) as journal:
        n_failed = len([row for row in _rows(journal, key).values() if row["status"] == RETRY["retry"]])
        if n_failed:
            journal.append(RETRY)
    return n_failed


def _rows(
    journal: Journal, key: str, require: Callable[[Mapping[str, Any]], None] = lambda _: None
) -> dict[str, dict[str, Any]]:
    """Return the rows that count, by key: the first of each since it was last to be run again."""
    rows: dict[str, dict[str, Any]] = {}
    for number, record in enumerate(journal.records[1:], start=2):
        if record == RETRY:
            rows = {name: row for name, row in rows.items() if row["status"] != RETRY["retry"]}
            continue
        try:
            if not isinstance(record[key], str) or not isinstance(record["status"], str):
                raise ValueError(f"{key}, status: accepted: text")
            require(record)
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(
                f"{journal.path}: record {number}: no row of this search ({type(error).__name__}: {error}); "
                "move the file away"
            ) from error
        rows.setdefault(record[key], record)
    return rows


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "..."
