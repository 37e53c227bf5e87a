"""Corpus in, pooled hidden states of every layer out: readers, encoder, pooling, HDF5 store, extraction."""

if __name__ != "mcbert.features":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.features, not features")
