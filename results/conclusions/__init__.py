"""The published conclusions, tested on a run."""
