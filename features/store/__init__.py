"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its journal vouches."""

from features.store.store import SCHEMA, FeatureStore, StoreError, StoreWriter, dataset_name

__all__ = ["SCHEMA", "FeatureStore", "StoreError", "StoreWriter", "dataset_name"]
