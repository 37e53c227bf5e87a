"""What a finished search writes: the winner, every score, and how sure they are."""
