"""Made-up runs on disk, shared by the tests of this folder."""

import pytest

from tests.results import synthetic


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    return synthetic.write_run(tmp_path_factory.mktemp("runs") / "demo")


@pytest.fixture(scope="session")
def whole_run_dir(tmp_path_factory):
    return synthetic.write_whole_run(tmp_path_factory.mktemp("whole") / "all of the space, with its spaces")
