"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its checksums vouch."""

from features.store.catalogue import CacheInfo, caches, describe, remove
from features.store.errors import StoreError, StoreFullError
from features.store.lock import locked
from features.store.manifest import SCHEMA, begin, finish
from features.store.shard import ShardWriter, pending
from features.store.space import bytes_needed, require_space
from features.store.spec import Shard, StoreSpec, dataset_name
from features.store.store import FeatureStore
from features.store.verify import Damage, revoke, verify

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
