"""Write settings as TOML, for messages, overrides and whole files; `tomllib` reads it back.

python -m pytest tests/files/test_toml.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def spelled(value: Any) -> str:
    """Spell a value as TOML does; None, which it has not, as settings do: "none".

    >>> spelled({"0": [1, 2], "a b": True}), spelled("probe"), spelled(None)
    ('{ 0 = [1, 2], "a b" = true }', '"probe"', '"none"')
    """
    if value is None:
        return '"none"'
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(key)} = {spelled(entry)}" for key, entry in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spelled, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def document(sections: Mapping[str, Mapping[str, Any]]) -> str:
    """Return sections of settings as a file; a dot in a section's name is one between tables."""
    parts = (
        "\n".join([f"[{name}]", *(f"{_key(key)} = {spelled(value)}" for key, value in section.items()), ""])
        for name, section in sections.items()
    )
    return "\n".join(parts)


def _key(key: object) -> str:
    return str(key) if _BARE.fullmatch(str(key)) else spelled(str(key))
