"""Commands beside the stages, for saved models, feature caches and runs."""
