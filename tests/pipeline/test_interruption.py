import os
import signal
import subprocess
import sys

import pytest

from mcbert.pipeline.interruption import Interrupted, Interruption, deferred


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_work_that_does_not_poll_is_stopped_at_once(number):
    with Interruption(), pytest.raises(Interrupted) as caught:
        os.kill(os.getpid(), number)
    assert caught.value.status == 128 + number


def test_work_that_polls_ends_its_batch():
    done = []
    with Interruption() as interruption, pytest.raises(Interrupted), interruption.polled() as check:
        for batch in range(5):
            check()
            os.kill(os.getpid(), signal.SIGTERM) if batch == 2 else None
            done.append(batch)
    assert done == [0, 1, 2]


def test_a_signal_in_the_last_batch_is_not_lost():
    with Interruption() as interruption, pytest.raises(Interrupted), interruption.polled():
        os.kill(os.getpid(), signal.SIGINT)


def test_the_handlers_are_given_back():
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_a_second_signal_ends_the_process():
    code = """
import os, signal
from mcbert.pipeline.interruption import Interruption
with Interruption() as interruption, interruption.polled():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (128 + signal.SIGTERM, "")


def test_a_second_signal_is_raised_where_the_process_must_stay():
    done = []
    with Interruption(kills=False) as interruption, pytest.raises(Interrupted), interruption.polled():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("deferred")
        os.kill(os.getpid(), signal.SIGINT)
        done.append("still here")
    assert done == ["deferred"]


@pytest.mark.parametrize("fails", [False, True])
def test_a_signal_that_is_deferred_comes_when_the_block_ends_however_it_ends(fails):
    done = []
    with Interruption(), pytest.raises(Interrupted) as caught, deferred():
        os.kill(os.getpid(), signal.SIGTERM)
        done.append("started")
        if fails:
            raise RuntimeError("what was started had the signal, too")
    assert (done, caught.value.status) == (["started"], 128 + signal.SIGTERM)


def test_without_a_signal_nothing_is_deferred_and_the_handlers_are_given_back():
    with Interruption():
        before = signal.getsignal(signal.SIGTERM)
        with deferred():
            assert signal.getsignal(signal.SIGTERM) != before
        assert signal.getsignal(signal.SIGTERM) == before


def test_a_second_signal_is_not_deferred():
    code = """
import os, signal
from mcbert.pipeline.interruption import deferred
with deferred():
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""
    run = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (128 + signal.SIGTERM, "")
