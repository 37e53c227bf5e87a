"""Texts in: every format that is read, row by row, and the rows that cannot be used."""
