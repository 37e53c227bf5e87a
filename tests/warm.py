"""What the fork server of processes.py imports: the code of its processes, and what it does at first use."""

import gc

import torch.utils.tensorboard  # noqa: F401

import tests.features.extraction.killable
import tests.finetune.killable
import tests.finetune.ranked  # noqa: F401
from features.corpus.checks import invisible

invisible()
gc.collect()
gc.freeze()  # a process that collects garbage need not look through all that was imported
