"""Search over layers, poolings and classifiers on cached features (`python -m mcbert gridsearch`)."""

if __name__ != "mcbert.search":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.search, not search")
