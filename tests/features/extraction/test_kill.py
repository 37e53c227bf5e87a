"""SIGKILL at random moments: what is left is finished by the next run, and ends bit-identical."""

import hashlib
import os
import random
import shutil
import time

import pytest

from tests import processes
from tests.features.extraction import killable

pytestmark = pytest.mark.slow
KILLS = int(os.environ.get("MCBERT_KILLS", "25"))


def features(target):
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(target.glob("*.h5"))}


@pytest.mark.timeout(60 + 10 * KILLS)
def test_killed_at_random_moments_ends_bit_identical(texts_table, encoder_folder, tmp_path):
    table = tmp_path / "texts.csv"
    texts_table.to_csv(table, index=False)

    def start(cache):
        return processes.begin(killable.run, str(table), str(encoder_folder), str(cache))

    processes.finish(start(tmp_path / "whole"))
    began = time.monotonic()
    start(tmp_path / "again").join()
    lasts = time.monotonic() - began
    (expected,) = (tmp_path / "whole").glob("?" * 16)
    moments, kills, cache = random.Random(0), 0, tmp_path / "killed"
    while kills < KILLS:
        process = start(cache)
        process.join(moments.uniform(0, lasts))
        if process.is_alive():
            kills += 1
            process.kill()
            process.join()
            continue
        assert process.exitcode == 0
        (found,) = cache.glob("?" * 16)
        assert features(found) == features(expected)
        shutil.rmtree(cache)
    processes.finish(start(cache))
    (found,) = cache.glob("?" * 16)
    assert features(found) == features(expected)
