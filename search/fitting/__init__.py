"""Fits of a candidate: classifiers, Gram matrices summed over layers, primal and dual solvers."""
