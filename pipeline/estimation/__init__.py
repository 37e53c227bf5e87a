"""What a run will cost before it runs: its counts, the speed of this machine, and costs made of both."""
