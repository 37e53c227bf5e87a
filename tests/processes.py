"""Processes of their own: a fork server imports what they need once, so that each starts in no time."""

import atexit
import contextlib
import multiprocessing
import os
import sys
from multiprocessing import forkserver
from pathlib import Path

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["tests.warm"])


def _end():
    """Kill what a failed test left running: Python would wait for it at its own end."""
    for process in multiprocessing.active_children():
        process.kill()


atexit.register(_end)


def begin(function, *given):
    """Call a function of a module in a new process, in the folder of this one."""
    with contextlib.chdir(Path(__file__).parents[1]):  # where the server finds `tests`
        forkserver.ensure_running()
    process = CONTEXT.Process(target=function, args=given)
    process.start()
    return process


def finish(process):
    """Wait for a process that must end well."""
    process.join()
    assert process.exitcode == 0


def mcbert(*arguments, said=os.devnull):
    """Start the command line; what it writes goes to a file."""
    return begin(_mcbert, arguments, said)


def say_in(path):
    """Have this process write to a file instead."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)


def _mcbert(arguments, said):
    import torch

    from mcbert.pipeline.cli import main

    say_in(said)
    torch.set_num_threads(1)
    sys.exit(main(arguments))
