"""Real SIGKILLs at random moments, MCBERT_KILLS of them (25 unless set): resumed and bit-identical."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.features.cache.conftest import Made
from tests.features.cache.test_crashes import files_of, units_there

KILLS = int(os.environ.get("MCBERT_KILLS", "25"))
ROOT = Path(__file__).parents[3]
MADE = Made.of(*range(0, 801, 20), layers=(0, 1, 2), hidden_size=96, dtype="float32")
SERVER = """
import os, sys, traceback
from pathlib import Path
from tests.features.cache.test_kills import MADE
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if not child:
        try:
            MADE.fill(Path(line.strip()))
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture
def start():
    """Let a process that has everything loaded fork one that makes the cache in a folder."""
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert server.stdout.readline() == "ready\n"

    def begin(folder):
        server.stdin.write(f"{folder}\n")
        server.stdin.flush()
        return int(server.stdout.readline()), lambda: int(server.stdout.readline())

    yield begin
    server.stdin.close()
    assert server.wait() == 0
    server.stdout.close()


def test_killed_at_random_moments_ends_bit_identical(start, tmp_path):
    began = time.monotonic()
    assert start(tmp_path / "whole")[1]() == 0
    seconds = time.monotonic() - began
    right = files_of(tmp_path / "whole")
    rng = np.random.default_rng(int(os.environ.get("MCBERT_SEED", "0")))
    n_killed = n_finished = 0
    there = set()
    while n_killed < KILLS or there:
        folder = tmp_path / f"killed-{n_finished}"
        child, status = start(folder)
        if n_killed < KILLS:
            time.sleep(float(rng.uniform(0, seconds / 2)))
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        ended = status()
        assert ended in (0, -signal.SIGKILL)
        n_killed += ended != 0
        now, wrong = units_there(MADE, folder)
        assert wrong == []
        assert there <= now
        there = now
        if ended == 0:
            assert files_of(folder) == right
            assert not list(folder.glob(".*.tmp"))
            MADE.expect(folder)
            n_finished, there = n_finished + 1, set()
    assert n_finished >= 1
