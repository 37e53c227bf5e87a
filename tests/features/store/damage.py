"""Spoil a cache on purpose."""

import dataclasses
import json
import zlib

from mcbert.features.store.layout import checksum
from mcbert.features.store.records import contents
from mcbert.features.store.sealed import seal
from mcbert.files.journal import encode, scan


def head_of(path):
    """Return what the journal beside an HDF5 file says that it holds."""
    journal = path.with_suffix(".journal")
    return contents(scan(journal.read_bytes()).records, journal).head


def flip(path, position, bit=0):
    """Flip one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def reseal(folder, path):
    """Make every checksum of a cache right for an HDF5 file that was changed, as an attacker could."""
    head = head_of(path)
    size = path.stat().st_size
    layout = dataclasses.replace(head.layout, size=size)
    with path.open("rb") as file:
        layout = dataclasses.replace(layout, metadata=checksum(file.fileno(), list(layout.gaps())))
    journal = path.with_suffix(".journal")
    records = [r for r in scan(journal.read_bytes()).records if "shard" not in r]
    head = dataclasses.replace(head, layout=layout)
    journal.write_bytes(b"".join(map(encode, [head.record(), *records])))
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["checksum"]
    for entry in manifest["files"]:
        if entry["start"] == head.shard.start:
            entry["size"], entry["journal"] = size, zlib.crc32(journal.read_bytes())
    (folder / "manifest.json").write_bytes(seal(manifest))
