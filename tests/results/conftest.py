"""A made-up run on disk, shared by the tests of this folder."""

import pytest

from tests.results import synthetic


@pytest.fixture(scope="session")
def run_dir(tmp_path_factory):
    return synthetic.write_run(tmp_path_factory.mktemp("runs") / "demo")
