"""What the fork server of processes.py imports: the code of its processes, and what it does at first use."""

import gc
import importlib

for name in (
    "torch.utils.tensorboard",
    "tests.features.extraction.killable",
    "tests.finetune.killable",
    "tests.finetune.ranked",
):
    importlib.import_module(name)
gc.collect()
gc.freeze()  # a process that collects garbage need not look through all that was imported
