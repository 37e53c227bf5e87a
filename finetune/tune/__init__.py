"""Search phase two's own settings on dev texts (`python -m mcbert tune`)."""
