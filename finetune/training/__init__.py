"""One training, step by step: transformers' Trainer with batches, evaluations, checkpoints and precision."""
