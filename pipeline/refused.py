"""What is wrong with a setting, and where it was set: in a file, or by an override of the command line.

python -m pytest tests/pipeline/test_config.py
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

RENAMED = {"knobs": "tune"}
"""Commands and sections by the name that they had, and have."""


class SettingError(ValueError):
    """A key or a value of a wrong type, where it stands in a file."""

    def __init__(self, source: str, key: str, problem: str) -> None:
        text = problem if problem.startswith("unknown key") else f"{key}: {problem}"
        super().__init__(f"{source}: {text}")
        self._key, self._text = key, text

    def told(self, overrides: Mapping[str, str]) -> str:
        """Say what is wrong and where: in the override that set the key, or else in the file."""
        for key, override in reversed(list(overrides.items())):
            if f"{self._key}.".startswith(f"{key}.") or f"{key}.".startswith(f"{self._key}."):
                return f"override {shown(override)}: {self._text}"
        return str(self)


def shown(value: Any) -> str:
    """Return a value as Python writes it, shortened."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of more than 4,300 digits
        text = f"a {type(value).__name__}"
    return text if len(text) <= 60 else f"{text[:57]}..."
