"""Commands beside the stages: what is done with models, caches and runs."""
