"""The feature caches on the disk: ``mcbert caches`` lists and removes them, ``mcbert verify`` checks one.

mcbert verify cache/0123456789abcdef --repair
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from mcbert.home import CACHE

if TYPE_CHECKING:
    from mcbert.features.cache import CacheInfo, FeatureStore

HEADER = ("DIGEST", "SIZE", "TEXTS", "LAYERS", "CREATED", "ENCODER", "CORPUS", "STATE")
AGES = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))
UNITS = ("B", "kB", "MB", "GB", "TB", "PB")


def add_commands(add: Callable[..., argparse.ArgumentParser]) -> None:
    """Declare the commands with `add`, the command line's `add_parser`."""
    text = "read a feature cache against its checksums; status 1 when something is damaged"
    command = add("verify", help=text, description=text)
    command.add_argument(
        "folder", type=Path, metavar="CACHE", help="folder of the cache, such as cache/DIGEST"
    )
    command.add_argument(
        "--repair", action="store_true", help="drop damaged units; the next extract encodes only those"
    )
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_verify)
    text = "list the feature caches, or remove one"
    command = add("caches", help=text, description=text)
    command.add_argument("--cache", type=Path, default=CACHE, help="folder of all feature caches")
    command.add_argument("--remove", metavar="DIGEST", help="delete the cache whose digest begins so")
    command.add_argument("--debug", action="store_true", help="show tracebacks")
    command.set_defaults(command=_caches)


def open_cache(folder: Path) -> FeatureStore:
    """Open the feature cache that a run's record names by its fingerprint.

    Raises
    ------
    StoreError
        It is not there or not whole.
    ValueError
        Another cache lies there: its fingerprint is not the one that the folder is named by.
    """
    from mcbert.features.cache import FeatureStore

    store = FeatureStore.open(folder)
    if not store.digest.startswith(folder.name):
        raise ValueError(
            f"{folder}: fingerprint: got {store.digest[:16]} (made of {store.about.get('corpus')} with "
            f"{store.about.get('encoder')}), accepted: {folder.name}, the corpus's; "
            "move it away and extract again"
        )
    return store


def _verify(args: argparse.Namespace, *_: object) -> int:
    from mcbert.features.cache import describe, revoke, verify

    damages = verify(args.folder)
    for damage in damages:
        _say(f"{args.folder}/{damage}")
    info = describe(args.folder)
    if not damages:
        _say(f"{args.folder}: {info.state}: {info.n_texts} texts, {size_text(info.n_bytes)}, no damage")
        return 0
    _say(f"{args.folder}: {len(damages)} damaged")
    if args.repair:
        revoke(args.folder, damages)
        _say(
            f"{args.folder}: taken back; run the same extract again to encode what was damaged, and only that"
        )
    return 1


def _caches(args: argparse.Namespace, *_: object) -> int:
    from mcbert.features.cache import caches, remove

    if args.remove is not None:
        _say(f"removed {remove(args.cache, args.remove)}")
        return 0
    rows = [_row(info) for info in caches(args.cache)]
    if not rows:
        _say(f"{args.cache}: no feature caches")
        return 0
    table = [HEADER, *rows]
    widths = [max(len(row[k]) for row in table) for k in range(len(HEADER))]
    for row in table:
        _say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    return 0


def _row(info: CacheInfo) -> tuple[str, ...]:
    size, texts = size_text(info.n_bytes), str(info.n_texts)
    return (
        info.digest,
        size,
        texts,
        _ranges(info.layers),
        _age(info.created),
        _plain(info.encoder),
        _plain(info.corpus),
        _plain(info.state),
    )


def size_text(n_bytes: int) -> str:
    """Return bytes in the unit that leaves one to three digits before the point: 59.9 kB."""
    power = min((len(str(n_bytes)) - 1) // 3, len(UNITS) - 1)
    return f"{n_bytes / 1000**power:.{1 if power else 0}f} {UNITS[power]}"


def _ranges(numbers: Sequence[int]) -> str:
    """Return ``0-3,7`` for 0, 1, 2, 3, 7."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and runs[-1][-1] == number - 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ",".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs) or "-"


def _age(created: str) -> str:
    try:
        since = datetime.fromisoformat(created).astimezone(UTC)
    except ValueError:
        return "-"
    seconds = max((datetime.now(UTC) - since).total_seconds(), 0.0)  # another machine's clock may be ahead
    size, unit = next((entry for entry in AGES if seconds >= entry[0]), AGES[-1])
    return f"{since:%Y-%m-%d %H:%M} ({seconds / size:.0f} {unit} ago)"


def _plain(text: str) -> str:
    """Return text that a terminal only shows: names come from whoever made the cache."""
    return "".join(c if c.isprintable() else "?" for c in text) or "-"


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
