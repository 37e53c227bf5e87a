"""Read JSON objects from untrusted files: bounded in size and depth, with the keys asked for.

python -m pytest tests/files/test_objects.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcbert.files.opening import MOST, read_bytes

Types = Mapping[str, type | tuple[type, ...]]
AGAIN = "move it away to have it made again"


def parse(content: bytes | str) -> Any:
    """Return the value that a text in JSON stands for.

    Raises
    ------
    ValueError
        It is not JSON, not UTF-8, or nested too deeply.
    """
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply to be read") from error


def read_object(
    path: Path,
    keys: Types | Sequence[str] = (),
    *,
    optional: Types | None = None,
    remedy: str = AGAIN,
    most: int = MOST,
) -> dict[str, Any]:
    """Read a JSON object.

    Parameters
    ----------
    keys : sequence of str, or mapping of str to type
        Required keys and the type of each.
    optional : mapping of str to type, optional
        Of which type is what need not be in it.
    remedy : str
        End of the message: the remedy for a damaged file.
    most : int
        Bytes of the file.

    Raises
    ------
    ValueError
        It is none with these keys; the message names the file.
    OSError
        It cannot be opened; a link is not followed.
    """
    try:
        found = parse(read_bytes(path, most))
    except ValueError as error:
        raise ValueError(f"{path}: damaged ({error}); {remedy}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path}: damaged ({type(found).__name__}, accepted: an object); {remedy}")
    types = keys if isinstance(keys, Mapping) else dict.fromkeys(keys, object)
    missing = [key for key in types if key not in found]
    if missing:
        raise ValueError(f"{path}: damaged ({missing[0]!r} is missing); {remedy}")
    types = dict(types) | {key: kind for key, kind in (optional or {}).items() if key in found}
    for key, kind in types.items():
        if not isinstance(found[key], kind) or (kind is int and isinstance(found[key], bool)):
            raise ValueError(f"{path}: damaged ({key!r} is {short(found[key])}); {remedy}")
    return found


def short(value: object, most: int = 40) -> str:
    """Return a value as JSON, shortened for a message."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (RecursionError, ValueError):
        text = f"a {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."
