"""Trust settings: pickled weights are read and a model's own code is run only where a setting allows it.

Pickled weights are converted once, with torch's loader that builds tensors and nothing else, and safetensors
are read from then on. Code that comes with a model runs only for the folders named in an environment
variable, which worker processes of this machine inherit and those of other machines need to be given.
"""

from __future__ import annotations

import logging
import os
import pickle
import re
import shutil
from pathlib import Path

from mcbert.features.encoder.files import PICKLED_FILES, EncoderError, text_files
from mcbert.files import sha256_of_all, writing_folder

log = logging.getLogger(__name__)

REMOTE_CODE = "MCBERT_REMOTE_CODE"
_COMMIT = re.compile(r"[0-9a-f]{40}")


def require_commit(name: str, revision: str, keys: tuple[str, str]) -> None:
    """Refuse code of the hub that is not pinned to a commit; a folder needs none.

    Parameters
    ----------
    name : str
        A folder, or a name on the hub.
    revision : str
        Revision asked for of the latter.
    keys : (str, str)
        The settings that name the revision and allow the code, for messages.
    """
    if not Path(name).is_dir() and not _COMMIT.fullmatch(revision):
        raise EncoderError(
            f"{keys[0]}: got {revision!r}, accepted: the 40 digits of a commit, since {keys[1]} runs what "
            "the hub holds under it"
        )


def allow(folder: Path) -> None:
    """Let the code in a model's folder run, in this process and those that it starts."""
    log.warning("encoder: the code in %s will run with your rights", folder)
    os.environ[REMOTE_CODE] = os.pathsep.join([*_trusted(), str(folder.resolve())])


def trusts(folder: str | os.PathLike[str]) -> bool:
    """Return whether the code in a model's folder may run."""
    return str(Path(folder).resolve()) in _trusted()


def _trusted() -> list[str]:
    return [name for name in os.environ.get(REMOTE_CODE, "").split(os.pathsep) if name]


def converted(folder: Path, into: Path) -> Path:
    """Return a copy of an encoder whose pickled weights have become safetensors; made once.

    Raises
    ------
    EncoderError
        The pickle holds anything but tensors.
    """
    files = sorted(folder.glob(PICKLED_FILES))
    target = into / sha256_of_all([*files, *text_files(folder)])[:16]
    if target.is_dir():
        return target
    import torch
    from safetensors.torch import save_file

    weights: dict[str, torch.Tensor] = {}
    for path in files:
        try:
            weights |= torch.load(path, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, TypeError, EOFError) as error:
            raise EncoderError(
                f"encoder.path: {path}: holds something other than tensors, which is not loaded: "
                f"{str(error).splitlines()[0]}"
            ) from error
    tensors = {name: value.clone().contiguous() for name, value in weights.items() if torch.is_tensor(value)}
    with writing_folder(target) as partial:
        save_file(tensors, partial / "model.safetensors", metadata={"format": "pt"})
        for path in (*text_files(folder), *folder.glob("*.py")):
            shutil.copyfile(path, partial / path.name)
    log.info("encoder: pickled weights of %s converted to %s", folder, target)
    return target
