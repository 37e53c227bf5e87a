"""The command line: configs, run folders, executors; wires the stages together."""

if __name__ != "mcbert.pipeline":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.pipeline, not pipeline")

RENAMED = {"knobs": "tune"}
"""Stages, and their sections of settings, by the name that they had, and have."""
