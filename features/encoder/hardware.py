"""Choose device, precision and batch size for this machine, and set up its memory allocator."""

from __future__ import annotations

import ctypes
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import torch
from torch import nn

WORKER_NUMBER = "MCBERT_WORKER"  # set by executors that start several workers on one machine
BFLOAT16_OF_X86 = ("avx512_bf16", "amx_bf16")  # dot products, tiles
BFLOAT16_FLAGS = (*BFLOAT16_OF_X86, "bf16")  # the last of Arm
LIMITS = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")  # the first that is set holds
WITHOUT_BFLOAT16 = ("sse41", "avx", "avx2", "avx2_vnni", "avx2_vnni_2", "avx512_core", "avx512_core_vnni")
ALIGNMENT = 64  # bytes: where memory of torch's own begins
FEW_TOKENS = 128
NARROWEST_BFLOAT16 = 256  # columns; at 128 the conversions cost more than the products save
TOKENS_PER_BATCH = {"cpu": 4096, "cuda": 65_536}
KEPT_PRODUCTS = "64"
MALLOPT = {-1: 2**31 - 1, -2: 1 << 26, -3: 1 << 30}  # M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD: bytes


def device() -> torch.device:
    """Return a GPU when there is one, else the CPU; worker processes share the GPUs by their number."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    number = os.environ.get(WORKER_NUMBER, "0")
    return torch.device("cuda", int(number) % torch.cuda.device_count() if number.isdigit() else 0)


def compute_dtype(wanted: str, hidden_size: int, kind: str) -> str:
    """Return the dtype to compute in.

    Parameters
    ----------
    wanted : str
        ``float32``, ``bfloat16``, or ``auto``: bfloat16 where the hardware multiplies it and it pays.
    hidden_size : int
        Columns of a layer.
    kind : str
        Device type, ``cpu`` or ``cuda``.
    """
    if wanted != "auto":
        return wanted
    return "bfloat16" if hidden_size >= NARROWEST_BFLOAT16 and has_bfloat16(kind) else "float32"


@cache
def has_bfloat16(kind: str) -> bool:
    """Return True if the device multiplies bfloat16 in hardware, and torch may use what it has there."""
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities = torch.cpu.get_capabilities()
    usable = set(BFLOAT16_FLAGS) - (set(BFLOAT16_OF_X86) if _limited() else set())
    return torch.backends.mkldnn.is_available() and any(capabilities.get(flag, False) for flag in usable)


def _limited() -> bool:
    """Return True if the environment keeps torch or oneDNN from x86's bfloat16, as on an older CPU.

    The flags are of the CPU itself and do not tell: with ``ONEDNN_MAX_CPU_ISA=AVX2`` bfloat16 is emulated
    and takes four times as long as float32.
    """
    limit = next((os.environ[name] for name in LIMITS if os.environ.get(name)), "")
    return limit.lower() in WITHOUT_BFLOAT16 or "AVX512" not in torch.backends.cpu.get_cpu_capability()


def align(model: nn.Module) -> None:
    """Move weights to addresses at which memory of torch's own begins, in place.

    Weights are mapped from their file at whatever address its header leaves them, and the last bits of a
    product depend on that: a model would not give after saving what it gave before.
    """
    for tensor in itertools.chain(model.parameters(), model.buffers()):
        if tensor.device.type == "cpu" and tensor.data_ptr() % ALIGNMENT:
            tensor.data = tensor.data.clone()


@contextmanager
def steady_threads(n_tokens: int) -> Iterator[None]:
    """Compute a batch of few tokens with one thread, so that the number of threads changes no bit of it.

    MKL computes products of few rows otherwise when it has 2 threads or more: of 5 to 7 and 9 to 11 rows on
    an AMD EPYC, which moves states by up to 2e-6. None of 12 to 2,048 rows differed between 1 and 8 threads.
    """
    before = torch.get_num_threads()
    if n_tokens >= FEW_TOKENS or before == 1:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@cache
def keep_buffers() -> bool:
    """Keep what the next batch needs again, and no more; return whether the allocator could be told.

    glibc gives large freed blocks back to the system at once and maps them again, so that every layer pays
    for page faults: a quarter of the time of a 12 x 768 encoder in bfloat16 at 4,096 tokens. What is kept
    is bounded by the largest batch, which the token budget bounds.
    """
    mallopt = _of_libc("mallopt")
    # compiled products of shapes not seen for a while, a quarter of a megabyte each; 1,024 of them by default
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", KEPT_PRODUCTS)
    return mallopt is not None and all(bool(mallopt(key, value)) for key, value in MALLOPT.items())


def release_buffers() -> None:
    """Give back what is kept, now and then.

    Buffers of ever new sizes leave holes that nothing fits in any more; kept for good they made the process
    grow by a third over a million texts.
    """
    trim = _of_libc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_libc(name: str) -> Callable[..., int] | None:
    """Return a function of glibc, or None on a system without it."""
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None
