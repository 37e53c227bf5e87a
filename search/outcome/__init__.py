"""Artifacts of a finished search: the winner, every score, and their intervals."""
