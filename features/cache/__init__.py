"""The feature cache: pooled states of every layer in HDF5, trusted only as far as its checksums vouch."""

from mcbert.features.cache.disk import bytes_needed, require_space
from mcbert.features.cache.listing import CacheInfo, caches, describe, remove
from mcbert.features.cache.lock import locked
from mcbert.features.cache.manifest import SCHEMA
from mcbert.features.cache.read import FeatureStore
from mcbert.features.cache.stored import StoreError, StoreFullError, StoreSpec
from mcbert.features.cache.verify import Damage, revoke, verify
from mcbert.features.cache.write import begin, finish, folder_bytes, pending, write_unit

__all__ = [
    "SCHEMA",
    "CacheInfo",
    "Damage",
    "FeatureStore",
    "StoreError",
    "StoreFullError",
    "StoreSpec",
    "begin",
    "bytes_needed",
    "caches",
    "describe",
    "finish",
    "folder_bytes",
    "locked",
    "pending",
    "remove",
    "require_space",
    "revoke",
    "verify",
    "write_unit",
]
