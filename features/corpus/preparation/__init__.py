"""From raw texts to a corpus: labels, splits, balance, translations."""
