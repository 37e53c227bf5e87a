"""What the journal beside an HDF5 file says: its shape, who wrote, and the units that are on the disk."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mcbert.features.cache.errors import StoreError
from mcbert.features.cache.layout import Layout
from mcbert.features.cache.spec import Shard, StoreSpec, require_whole

MOST_UNIT = 1 << 31  # bytes of a unit in one dataset: what is read at once; by default some 6 MB of M-BERT


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

    def __post_init__(self) -> None:
        """Refuse what no writer writes."""
        require_whole("a unit", (self.start, self.stop, *self.crc32, *self.skipped))
        if self.start >= self.stop or not all(self.start <= text < self.stop for text in self.skipped):
            raise StoreError(f"a unit: got texts {self.start} to {self.stop}, accepted: rising numbers")

    def record(self) -> dict[str, Any]:
        """Return the journal's record of this unit."""
        return dataclasses.asdict(self)


@dataclasses.dataclass(frozen=True)
class Head:
    """What an HDF5 file was made as."""

    shard: Shard
    spec: StoreSpec
    layout: Layout

    def __post_init__(self) -> None:
        """Refuse units that are too large to be read at once."""
        rows = max(stop - start for start, stop in self.shard.units.items())
        if rows * self.spec.stride > MOST_UNIT:
            raise StoreError(
                f"a unit of {rows} texts of {self.spec.stride} bytes each, accepted: {MOST_UNIT:,} bytes; "
                "extract.unit_rows makes it smaller"
            )

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

    strangers: tuple[tuple[int, int], ...] = ()
    """(start, stop) of units that are none of the file's: no reader takes them, no writer either."""

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
                require_whole("a revocation", (record["revoked"],))
                units.pop(record["revoked"], None)
            elif "writer" not in record:
                unit = _unit(record)
                units[unit.start] = unit
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: a record is no feature cache's ({error}); move the file away") from error
    if head is None:
        return Contents(None, units)
    fitting = {start: unit for start, unit in units.items() if _fits(unit, head.shard, head.spec)}
    strangers = tuple((unit.start, unit.stop) for start, unit in units.items() if start not in fitting)
    return Contents(head, fitting, strangers)


def _head(record: Mapping[str, Any]) -> Head:
    shard, spec = Shard(tuple(record["shard"]["bounds"])), StoreSpec.of(record["spec"])
    return Head(shard, spec, Layout.of(record["layout"], spec, shard.n_texts))


def _unit(record: Mapping[str, Any]) -> Unit:
    return Unit(record["start"], record["stop"], tuple(record["crc32"]), tuple(record["skipped"]))


def _fits(unit: Unit, shard: Shard, spec: StoreSpec) -> bool:
    return shard.units.get(unit.start) == unit.stop and len(unit.crc32) == spec.n_datasets
