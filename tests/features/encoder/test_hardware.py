import os
import platform
import subprocess
import sys

import pytest
import torch
from torch import nn

from mcbert.features.encoder import hardware


@pytest.fixture
def capabilities(monkeypatch):
    flags = {}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags)
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "AVX512")
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name in hardware.LIMITS:
        monkeypatch.delenv(name, raising=False)
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


@pytest.mark.parametrize(
    ("name", "limit", "expected"),
    [
        ("ONEDNN_MAX_CPU_ISA", "AVX2", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "avx512_core", "float32"),  # bfloat16 is emulated there
        ("DNNL_MAX_CPU_ISA", "SSE41", "float32"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_BF16", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "AVX512_CORE_AMX", "bfloat16"),
        ("ONEDNN_MAX_CPU_ISA", "ALL", "bfloat16"),
    ],
)
def test_auto_follows_the_instructions_that_onednn_may_use(capabilities, monkeypatch, name, limit, expected):
    capabilities["avx512_bf16"] = True
    monkeypatch.setenv(name, limit)
    assert hardware.compute_dtype("auto", 768, "cpu") == expected


@pytest.mark.parametrize("capability", ["AVX2", "DEFAULT"])
def test_auto_follows_the_instructions_that_torch_may_use(capabilities, monkeypatch, capability):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    capabilities["avx512_bf16"] = True
    assert hardware.compute_dtype("auto", 768, "cpu") == "float32"
    hardware.has_bfloat16.cache_clear()
    capabilities["bf16"] = True  # Arm's, where the limits of x86 say nothing
    assert hardware.compute_dtype("auto", 768, "cpu") == "bfloat16"


def test_auto_takes_float32_where_torch_has_no_onednn(capabilities, monkeypatch):
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    capabilities["amx_bf16"] = True
    assert hardware.compute_dtype("auto", 768, "cpu") == "float32"


@pytest.mark.parametrize("limit", ["AVX2", "SSE41"])
def test_a_process_under_a_limit_takes_float32(limit):
    """Whatever this machine has: the variables are those that a real process reads."""
    code = "from mcbert.features.encoder import hardware; print(hardware.compute_dtype('auto', 768, 'cpu'))"
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": limit, "ATEN_CPU_CAPABILITY": "avx2"}
    run = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    if platform.machine() in ("x86_64", "AMD64"):
        assert run.stdout.strip() == "float32"


def unaligned(tensor, by):
    """Return a copy that begins `by` numbers after an address of the allocator's."""
    return torch.cat([torch.zeros(by), tensor.flatten()])[by:].view(tensor.shape)


def test_weights_are_moved_to_where_torch_would_have_put_them():
    layer = nn.Linear(7, 5)
    layer.register_buffer("mean", unaligned(torch.ones(5), 1))
    kept, bias = layer.weight.detach().clone(), layer.bias.data_ptr()
    layer.weight.data = unaligned(kept, 3)
    assert layer.weight.data_ptr() % hardware.ALIGNMENT
    hardware.align(layer)
    assert not any(t.data_ptr() % hardware.ALIGNMENT for t in (layer.weight, layer.mean))
    assert torch.equal(layer.weight, kept)  # moved, not computed
    assert layer.bias.data_ptr() == bias  # what lies well stays


def test_a_batch_of_few_tokens_is_computed_by_one_thread():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with hardware.steady_threads(hardware.FEW_TOKENS - 1):
            assert torch.get_num_threads() == 1
        with hardware.steady_threads(hardware.FEW_TOKENS):
            assert torch.get_num_threads() == 3
        with pytest.raises(KeyError), hardware.steady_threads(1):
            raise KeyError
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_what_is_asked_for_is_what_one_gets(capabilities):
    assert hardware.compute_dtype("bfloat16", 128, "cpu") == "bfloat16"
    assert hardware.compute_dtype("float32", 768, "cpu") == "float32"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc only")
def test_large_buffers_are_kept_between_batches():
    """A block of 64 MiB that is made again and again stops costing page faults."""
    code = """
import resource, sys, torch
from mcbert.features.encoder import hardware
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
from mcbert.features.encoder import hardware
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
