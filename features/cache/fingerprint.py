"""What makes a feature cache that cache: every field that could change one of its bits, hashed.

Labels are left out on purpose: relabelling a corpus must not cost an extraction.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any


def digest(fields: Mapping[str, Any]) -> str:
    """Return sha256 of the fields as canonical JSON."""
    canonical = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[str]:
    """Return ``field: found -> wanted`` for every field that differs, sorted by name."""
    names = sorted(found.keys() | wanted.keys())
    return [f"{n}: {found.get(n)!r} -> {wanted.get(n)!r}" for n in names if found.get(n) != wanted.get(n)]
