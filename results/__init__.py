"""Results: what every table means, how it is written and read, Table 1, the charts and the report.

The package imports none of the others: every stage writes its rows through `results.tables` with a table
declared in `results.schema`, and the report is made from those files alone.

    python -m results.dictionary > results/README.md
"""
