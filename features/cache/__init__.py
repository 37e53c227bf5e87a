"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its checksums vouch."""

from mcbert.features.cache.catalogue import CacheInfo, caches, describe, remove
from mcbert.features.cache.errors import StoreError, StoreFullError
from mcbert.features.cache.lock import locked
from mcbert.features.cache.manifest import SCHEMA, begin, finish
from mcbert.features.cache.shard import ShardWriter, pending
from mcbert.features.cache.space import bytes_needed, require_space
from mcbert.features.cache.spec import Shard, StoreSpec, dataset_name
from mcbert.features.cache.store import FeatureStore
from mcbert.features.cache.verify import Damage, revoke, verify

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
