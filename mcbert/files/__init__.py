"""Files: opened without following links, read within bounds, written whole or not at all.

python -m pytest tests/files
"""

from mcbert.files.opening import RefusedFileError, open_file, opened, read_bytes, require_own
from mcbert.files.whole import (
    sha256,
    sha256_of_all,
    sync,
    take_mode,
    write_bytes,
    write_text,
    writing_beside,
    writing_folder,
)

__all__ = [
    "RefusedFileError",
    "open_file",
    "opened",
    "read_bytes",
    "require_own",
    "sha256",
    "sha256_of_all",
    "sync",
    "take_mode",
    "write_bytes",
    "write_text",
    "writing_beside",
    "writing_folder",
]
