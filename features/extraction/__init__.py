"""Extract: run the frozen encoder over every distinct text once and cache all layers x poolings."""

from mcbert.features.extraction.extract import Runtime, extract

__all__ = ["Runtime", "extract"]
