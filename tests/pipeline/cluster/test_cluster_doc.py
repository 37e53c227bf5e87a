"""The commands of docs/cluster.md, run as they stand: real processes on loopback."""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

from mcbert.home import HOME
from tests import processes

BLOCKS = re.findall(r"```bash\n(.*?)```", (HOME / "docs/cluster.md").read_text(encoding="utf-8"), re.S)


def bash(script, folder):
    """Run a script in a folder as a user would, mcbert importable; end whatever it leaves running."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=os.environ | {"PATH": path, "PYTHONPATH": str(HOME)},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            _, said = process.communicate(timeout=200)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, said
    return said


@pytest.fixture(scope="module")
def serial(tmp_path_factory):
    """A folder with the demo searched in one process."""
    folder = tmp_path_factory.mktemp("demo")
    settings = ("cluster.backend=serial", "gridsearch.max_layers=1")
    with contextlib.chdir(folder):
        processes.finish(processes.mcbert("gridsearch", "--config", "demo", "--run", "serial", *settings))
    return folder


def table(folder, run):
    frame = pd.read_csv(folder / "results/runs" / run / "gridsearch.csv")
    return frame.drop(columns=["fit_seconds", "score_seconds"])


def test_the_page_has_the_two_scripts():
    assert [re.search(r"--run (\S+)", block)[1] for block in BLOCKS] == ["cluster", "cluster-tls"]
    assert all(
        "--host 127.0.0.1 " in line for block in BLOCKS for line in block.splitlines() if "dask " in line
    )


@pytest.mark.slow
@pytest.mark.parametrize("block", BLOCKS, ids=["tcp", "tls"])
def test_the_commands_of_the_page_search_and_find_what_one_process_finds(serial, block):
    if "openssl" in block and shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    said = bash(block, serial)
    run = re.search(r"--run (\S+)", block)[1]
    scheduler = re.search(r"--scheduler (\S+)", block)[1]
    assert f"dask: {scheduler}, dashboard http" in said
    pd.testing.assert_frame_equal(table(serial, run), table(serial, "serial"))
    one, other = (
        json.loads((serial / "results/runs" / r / "winner.json").read_text()) for r in (run, "serial")
    )
    assert one | {"run": "serial"} == other
    port = int(scheduler.rpartition(":")[2])
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)):
                return
        time.sleep(0.1)
    pytest.fail(f"something still listens on port {port}")
