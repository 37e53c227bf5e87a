"""The project's own files, and the default folders of runs and caches."""

from pathlib import Path

PACKAGE = Path(__file__).parent
IN_CHECKOUT = (PACKAGE / "samples").is_symlink()  # a wheel holds files where a checkout has links
HOME = PACKAGE.resolve().parent if IN_CHECKOUT else PACKAGE
"""Base of the relative paths of presets: the folder that `samples` is in."""

RUNS = Path("results/runs" if IN_CHECKOUT else "mcbert-runs")
"""Folder of all runs, from the working folder."""

CACHE = Path("cache" if IN_CHECKOUT else "mcbert-cache")
"""Folder of all feature caches, from the working folder."""

PRESETS = HOME / "pipeline" / "presets"
"""Folder of the configurations that come with the project."""

SAMPLES = HOME / "samples"
"""Folder of the texts and the small encoder that come with the project."""


def presets() -> list[str]:
    """Return the names of the configurations that come with the project."""
    return sorted(path.stem for path in PRESETS.glob("*.toml"))
