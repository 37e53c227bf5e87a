"""Corpus in, pooled states of every layer out: readers, encoder, pooling, feature cache, extraction."""

if __name__ != "mcbert.features":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.features, not features")
