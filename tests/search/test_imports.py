"""Workers start quickly: the search imports neither torch nor transformers."""

import subprocess
import sys


def test_a_worker_imports_no_torch():
    unwanted = ("torch", "transformers", "dask", "mcbert.finetune", "mcbert.pipeline")
    code = f"import sys, mcbert.search.gridsearch; print([m for m in {unwanted} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
