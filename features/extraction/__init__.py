"""Extract: run the frozen encoder over every distinct text once and cache all layers x poolings."""

from mcbert.features.extraction.extract import Means, extract

__all__ = ["Means", "extract"]
