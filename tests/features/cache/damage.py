"""Spoil a cache on purpose."""

import json
import zlib

from mcbert.features.cache.manifest import seal
from mcbert.features.cache.unit import read_head


def flip(path, position, bit=0):
    """Flip one bit of a file in place."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def place(path, dataset, text=0):
    """Return where the states of a text of a unit's file begin in one of its datasets."""
    head = read_head(path)
    return head.size + dataset * head.unit.extent + text * head.unit.spec.stride


def record(path):
    """Return the record of a unit's file as JSON."""
    return json.loads(path.read_bytes()[18:].split(b"\0", 1)[0])


def reseal(path, fields, head_size=None):
    """Give a unit's file another record, and a checksum that is right, as an attacker could."""
    data = path.read_bytes()
    block = data.index(b"\x89HDF")
    head_size = head_size or int(data[9:17])
    body = b" %08d\n%b" % (head_size, json.dumps(fields, separators=(",", ":")).encode())
    assert len(body) < block - 8, "the record must fit the user block"
    rest = body.ljust(block - 8, b"\0") + data[block:]
    path.write_bytes(b"%08x" % zlib.crc32(rest[: head_size - 8]) + rest)


def change_sealed(path, change):
    content = json.loads(path.read_text())
    del content["checksum"]
    change(content)
    path.write_bytes(seal(content))


def vouch(folder):
    """Make the manifest's checksums those of the files."""

    def change(manifest):
        manifest["identity"] = zlib.crc32((folder / "identity.json").read_bytes())
        manifest["index"] = zlib.crc32((folder / "index.npy").read_bytes())
        for entry in manifest["units"]:
            data = (folder / f"unit-{entry['start']:09d}.h5").read_bytes()
            entry["crc32"], entry["head"] = int(data[:8], 16), int(data[9:17])

    change_sealed(folder / "manifest.json", change)
