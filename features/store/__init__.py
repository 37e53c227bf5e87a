"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its checksums vouch."""

from mcbert.features.store.catalogue import CacheInfo, caches, describe, remove
from mcbert.features.store.errors import StoreError, StoreFullError
from mcbert.features.store.lock import locked
from mcbert.features.store.manifest import SCHEMA, begin, finish
from mcbert.features.store.shard import ShardWriter, pending
from mcbert.features.store.space import bytes_needed, require_space
from mcbert.features.store.spec import Shard, StoreSpec, dataset_name
from mcbert.features.store.store import FeatureStore
from mcbert.features.store.verify import Damage, revoke, verify

__all__ = [
    "SCHEMA",
    "CacheInfo",
    "Damage",
    "FeatureStore",
    "Shard",
    "ShardWriter",
    "StoreError",
    "StoreFullError",
    "StoreSpec",
    "begin",
    "bytes_needed",
    "caches",
    "dataset_name",
    "describe",
    "finish",
    "locked",
    "pending",
    "remove",
    "require_space",
    "revoke",
    "verify",
]
