"""Readers of every input format, row by row, with the rows that cannot be used."""
