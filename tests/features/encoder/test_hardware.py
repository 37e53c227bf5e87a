import subprocess
import sys

import pytest
import torch

from features.encoder import hardware


@pytest.fixture
def capabilities(monkeypatch):
    flags = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    hardware.has_bfloat16.cache_clear()
    yield flags
    hardware.has_bfloat16.cache_clear()


@pytest.mark.parametrize("flag", hardware.BFLOAT16_FLAGS)
def test_auto_takes_bfloat16_where_the_processor_multiplies_it_and_layers_are_wide(capabilities, flag):
    capabilities[flag] = True
    assert hardware.compute_dtype("auto", 768, "cpu") == "bfloat16"
    assert hardware.compute_dtype("auto", 128, "cpu") == "float32"


def test_auto_takes_float32_elsewhere(capabilities):
    capabilities["avx512_bf16"] = False
    assert hardware.compute_dtype("auto", 768, "cpu") == "float32"


def test_what_is_asked_for_is_what_one_gets(capabilities):
    assert hardware.compute_dtype("bfloat16", 128, "cpu") == "bfloat16"
    assert hardware.compute_dtype("float32", 768, "cpu") == "float32"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_buffers_are_kept_between_batches():
    """A block of 64 MiB that is made again and again stops costing page faults."""
    code = """
import resource, sys, torch
from features.encoder import hardware
if sys.argv[1] == "keep":
    assert hardware.keep_buffers()
def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(1 << 24)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([faults() for _ in range(20)][-1])
"""
    command = [sys.executable, "-c", code]
    kept, given_back = (
        int(subprocess.run([*command, how], check=True, capture_output=True, text=True).stdout)
        for how in ("keep", "")
    )
    assert kept * 10 < given_back


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_kept_buffers_can_be_given_back():
    code = """
import torch
from features.encoder import hardware
assert hardware.keep_buffers()
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096
for _ in range(20):
    torch.ones(1 << 24)
kept = resident()
hardware.release_buffers()
print(kept - resident())
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert int(run.stdout) > 32 << 20
