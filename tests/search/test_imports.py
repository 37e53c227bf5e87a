"""Workers start quickly: no torch, no transformers, no validation of settings."""

import subprocess
import sys


def imported(module, names):
    code = f"import sys, {module}; print([m for m in {names} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_worker_imports_no_torch():
    unwanted = ("torch", "transformers", "dask", "mcbert.finetune", "mcbert.pipeline")
    assert imported("mcbert.search.gridsearch", unwanted) == "[]"


def test_a_task_of_a_worker_validates_no_settings():
    assert imported("mcbert.search.task", ("torch", "pydantic")) == "[]"
