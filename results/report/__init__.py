"""The report: one HTML file of a run, or of several side by side."""

from mcbert.results.report.report import build

__all__ = ["build"]
