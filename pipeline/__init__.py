"""The command line: configs, run folders, executors; wires the stages together."""

from pipeline._version import __version__

__all__ = ["__version__"]
