"""What the journal beside an HDF5 file says: its shape, who wrote, and the units that are on the disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from features.store.errors import StoreError
from features.store.layout import Layout
from features.store.spec import Shard, StoreSpec


@dataclasses.dataclass(frozen=True)
class Unit:
    """Rows that are on the disk."""

    start: int
    """First distinct text."""

    stop: int
    """The number after the last."""

    crc32: tuple[int, ...]
    """Checksum of its bytes in each dataset, in the order of `StoreSpec.datasets`."""

    skipped: tuple[int, ...]
    """Distinct texts that had no finite state; their rows are zeros that no reader gets."""

    def record(self) -> dict[str, Any]:
        """Return the journal's record of this unit."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Head:
    """What an HDF5 file was made as."""

    shard: Shard
    spec: StoreSpec
    layout: Layout

    def record(self) -> dict[str, Any]:
        """Return the journal's first record."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Contents:
    """A journal's records, taken together."""

    head: Head | None
    """None when its line is missing or damaged."""

    units: dict[int, Unit]
    """Acknowledged units by their start."""

    def pending(self, shard: Shard) -> list[tuple[int, int]]:
        """Return the units of `shard` that are not acknowledged, in order."""
        return [unit for unit in shard.units.items() if unit[0] not in self.units]


def revocation(unit: tuple[int, int]) -> dict[str, Any]:
    """Return the record that takes the acknowledgement of a unit back."""
    return {"revoked": unit[0], "stop": unit[1]}


def contents(records: Iterable[Mapping[str, Any]], path: Path) -> Contents:
    """Take the records of a journal together; the last word on a unit counts.

    Raises
    ------
    StoreError
        A record is none of a feature cache; `path` stands for the journal in the message.
    """
    head: Head | None = None
    units: dict[int, Unit] = {}
    try:
        for record in records:
            if "shard" in record:
                head = _head(record)
            elif "revoked" in record:
                units.pop(record["revoked"], None)
            elif "writer" not in record:
                unit = _unit(record)
                units[unit.start] = unit
    except (KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path}: a record is no feature cache's ({error}); move the file away") from error
    if head is not None:
        units = {start: unit for start, unit in units.items() if _fits(unit, head.shard, head.spec)}
    return Contents(head, units)


def _head(record: Mapping[str, Any]) -> Head:
    shard, spec = Shard(tuple(record["shard"]["bounds"])), StoreSpec.of(record["spec"])
    return Head(shard, spec, Layout.of(record["layout"], spec, shard.n_texts))


def _unit(record: Mapping[str, Any]) -> Unit:
    return Unit(record["start"], record["stop"], tuple(record["crc32"]), tuple(record["skipped"]))


def _fits(unit: Unit, shard: Shard, spec: StoreSpec) -> bool:
    whole = shard.units.get(unit.start) == unit.stop and len(unit.crc32) == spec.n_datasets
    return whole and all(unit.start <= text < unit.stop for text in unit.skipped)
