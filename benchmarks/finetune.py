"""The speed of fine-tuning, one run, last line JSON: `training_steps.py` has what is measured, and how.

python benchmarks/finetune.py
"""

from pathlib import Path

if __name__ == "__main__":
    from training_steps import main

    main()
else:  # a script of this folder imports the package `finetune`, which this file hides from it
    __path__ = [str(Path(__file__).resolve().parents[1] / "finetune")]
