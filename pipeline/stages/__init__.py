"""The stages, wired: each reads one artifact and writes the next."""
