"""Corpus in, pooled hidden states of every layer out: readers, encoder, pooling, HDF5 store, extraction."""
