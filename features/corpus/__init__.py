"""Labelled texts in, one checked table out: readers, releases, checks, preparation, statistics."""
