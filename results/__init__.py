"""Results: declared tables, their writers and readers, Table 1, charts and the report.

The package imports none of the others: every stage writes its rows through `results.csv_files` with a table
declared in `results.schema`, and the report is made from those files alone.

    python -m mcbert.results.dictionary > results/README.md
"""

if __name__ != "mcbert.results":  # a checkout on the path would offer it under two names
    raise ImportError("import mcbert.results, not results")
