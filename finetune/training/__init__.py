"""One training, step by step: the library's Trainer with batches, evaluations, checkpoints and precision."""
