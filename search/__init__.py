"""Search over layers, poolings and classifiers on cached features (`python -m pipeline gridsearch`)."""
