"""The tables of vectors of texts: whose they are, and which texts are near.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.columns import Column, Table
from mcbert.results.kinds import count, text

_ROW = count("row", "data row of the input, from 1; rows that were left out are missing", least=1)
_ID = text("id", "id in the input; empty where it has none", nullable=True)

VECTOR_IDS = Table(
    file_name="*.ids.csv",
    meaning="Whose the vectors of an array are: `python -m mcbert embed` with an output `.npy`.",
    row="a row of the array, in its order",
    key=("position",),
    columns=(count("position", "row of the array, from 0"), _ROW, _ID),
)

NEIGHBOURS = Table(
    file_name="neighbours*.csv",
    meaning="The nearest texts of a corpus for each query: `python -m mcbert nearest`.",
    row="a query and one of its neighbours; queries in the input's order, the nearest first",
    key=("query_row", "rank"),
    columns=(
        count("query_row", "data row of the query, from 1; rows that were left out are missing", least=1),
        text("query_id", "id of the query; empty where it has none", nullable=True),
        count("rank", "1 the nearest; equally near ones in the order of the corpus", least=1),
        count("row", "data row of the neighbour in the corpus, from 1", least=1),
        text("id", "id of the neighbour; empty where it has none", nullable=True),
        Column(
            name="cosine",
            dtype="float",
            meaning="cosine of the two vectors",
            unit="-1 to 1",
            bounds=(-1, 1),
        ),
    ),
)
