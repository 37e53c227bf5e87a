"""How a candidate is fitted: classifiers, the algebra of sums over layers, linear weights."""
