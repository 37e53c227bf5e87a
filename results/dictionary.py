"""The data dictionary, `results/README.md`, made from the declarations in `results.schema`.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

from mcbert.results.column import Column, Table
from mcbert.results.schema import TABLES

_OPENING = """\
# What the files of a run mean

Generated from `results/schema/` by `python -m mcbert.results.dictionary > results/README.md`; do not edit by
hand.

All tables are CSV as RFC 4180 has it: UTF-8, one header line, LF line ends, comma separated, quoted where
needed.

- **Numbers are raw.** Accuracies and F1 are shares from 0 to 1, written with all digits that make the number;
  nothing is rounded before it is ranked, nothing is in percent. Only the report rounds.
- **Rows are tidy**: no totals, no blank lines, no comments. Rows that sum up others have files of their own,
  `NAME_overall.csv` beside `NAME.csv`: means over the target languages (their language is `mean`), whose
  intervals do not follow from the languages', and both directions of a search together.
- **An empty cell** means "none" in a text column and "not known" in a number column. The words NA, null and
  nan are texts like any other: `results.csv_files.read` keeps them; with plain pandas use
  `keep_default_na=False`.
- **Formulas.** A text that a spreadsheet might run as a formula (it begins with `=`, `+`, `-` or `@`, also in
  full width, or with a tab, a line end or a NUL, with or without apostrophes before it) is written with one
  more apostrophe in front. `results.csv_files.read` takes it off again; a text that lacks it is refused.
- **Plain pandas** takes texts that look like numbers for numbers: where `layers` are single ones, or labels
  and ids digits, give `dtype={"layers": "str"}`. `mcbert.read_results` types by the declarations.
- **Stamp.** What all rows of a file share stands once in `run.json` beside it, under the file's name: `run`,
  `config_digest`, `encoder`, `versions` and `transfer`. `mcbert.read_results` puts them into every row, so
  that rows of several runs can be put into one table; without a `run.json` beside the file they are empty.
- **Protocol and seed** are columns where a choice or random numbers had part: `corpus.csv` and `effects.csv`
  choose nothing, `table1.csv`, `tune.csv` and `conclusions.csv` are over `n_seeds` seeds or over candidates.
- **Layers** are numbered as in the encoder: 0 the embedding output, 1 to N the transformer blocks; `6+8+11`
  is the concatenation of three.
- **Protocols.** `source-dev` chose by dev labels of the source language only (true zero-shot); `target-dev`
  by the mean over the target languages' dev labels (an oracle: in practice those labels do not exist); `last`
  chose nothing. Test labels never choose anything.
- **Intervals** are paired bootstrap intervals over texts (10,000 resamples, percentile, 95%); a text and its
  translations are resampled together. They say how a score or difference would vary over other texts, not
  over other seeds: for that see `sd` in `table1.csv`. On dev the winner of a search is the luckiest of many,
  which the interval of its own score does not correct: judge it on test.
- **Chance** is the share of the most frequent label of a language and split, what always giving it scores. It
  is never below the uniform rate. A language at most 3 points above chance, while the source language is at
  least 10 above its own, raises an alarm in the log and the report.

From Python, typed and checked:

    import mcbert
    from mcbert.results import csv_files

    candidates = mcbert.read_results("gridsearch", "demo")           # of the run results/runs/demo
    both = mcbert.compare_results(["demo", "wider"], "table1")       # rows of both; refuses unlike runs
    both = mcbert.compare_results(["demo", "wider"], "table1", allow=["protocol"])       # unless allowed
    problems = csv_files.validate("results/runs/demo/gridsearch.csv")        # [] when nothing is wrong

Runs may differ in what `allow` names: protocol, split, language, texts (ids, languages and labels of the test
texts; not known without a texts.csv) and transfer. `python -m mcbert runs` lists all runs, with `--csv
FILE` as the table runs.csv, and puts some side by side in a page with `--html FILE`.

What every candidate predicted for every dev and test text is in `predictions.npz`, from which the scores,
tests and intervals of the search follow. It holds `candidates` (ids, best first), `codes` (one row per
candidate, one column per distinct text; positions in `labels`), for every dev and test text `ids`,
`language`, `split`, `y` (true label) and `text` (column of `codes`), and `languages`, `labels` and `format`:

    from mcbert.search.outcome.intervals import Sample, intervals
    from mcbert.search.outcome.predictions import Predictions

    predictions = Predictions.load("results/runs/demo/predictions.npz")
    sample = Sample.of(predictions, "test")
    difference = [[1, -1] + [0] * (sample.n_candidates - 2)]         # the first candidate against the second
    intervals(sample, difference)[0]["mean"]                         # difference, low, high
"""


def render() -> str:
    """Return the whole text of the README."""
    twins = {table.overall.file_name for table in TABLES if table.overall}
    return _OPENING + "".join(_section(table) for table in TABLES if table.file_name not in twins)


def _section(table: Table) -> str:
    told = f"\n## {table.file_name}\n\n{table.meaning} One row is {table.row}; {_key(table)} it.\n\n"
    if table.sums is None or table.overall is None:
        return told + _columns(table.columns)
    without = f"It has no `{'`, `'.join(table.sums.without)}`; else the" if table.sums.without else "The"
    overall = (
        f"\n### {table.overall.file_name}\n\n{table.overall.meaning} One row is {table.sums.row}. "
        f"{without} columns and the key are the same, but for these declarations:\n\n"
    )
    return told + _columns(table.columns) + overall + _columns(table.sums.columns)


def _key(table: Table) -> str:
    return f"`{'`, `'.join(table.key)}` {'identifies' if len(table.key) == 1 else 'together identify'}"


def _columns(columns: Iterable[Column]) -> str:
    rows = "".join(_row(column) for column in columns)
    return f"| column | type | unit | meaning | accepted |\n|---|---|---|---|---|\n{rows}"


def _row(column: Column) -> str:
    accepted = column.accepted() + ("; files of earlier versions lack it" if column.later else "")
    accepted += "; left out where all would be empty" if column.optional else ""
    return f"| `{column.name}` | {column.dtype} | {column.unit} | {column.meaning} | {accepted} |\n"


if __name__ == "__main__":
    sys.stdout.write(render())
