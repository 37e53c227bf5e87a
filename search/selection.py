"""How the winner is selected: three protocols and one tie-break.

    python -m mcbert gridsearch --config demo gridsearch.protocol=auto

- `source-dev`: the score of the source language's dev texts; true zero-shot.
- `target-dev`: its mean over the target languages' dev texts; what the paper did, an oracle.
- `last`: by no labels: the fewest layers, the deepest of them, cls before other poolings, then the
  order of the search. Its winner is thus the deepest single layer, cls, with the first classifier of the
  settings.

The score is micro-F1 unless `gridsearch.metric` says otherwise. Ties of the first two go to fewer layers,
then lower layers, then the candidate's name. Scores are compared unrounded, and exact but for macro-F1, whose
sums are rounded once (`search.scoring`). Nothing here sees a test label: the functions take dev scores only.
`settle_protocol` needs the corpus alone: it says which protocol a search can choose by before anything is
extracted.
"""

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from mcbert.features.spec import FeatureSpec
from mcbert.results.schema.words import Protocol
from mcbert.search.scoring import Score, mean_score
from mcbert.search.settings import AUTO, GridsearchSettings
from mcbert.search.space import Candidate

LOG = logging.getLogger(__name__)
DevScores = Mapping[str, Score]
Key = tuple[Any, ...]


def scored_languages(settings: GridsearchSettings, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the languages of a corpus that are scored, the source first.

    Raises
    ------
    ValueError
        `gridsearch.target_languages` names one that is not there.
    """
    source, *targets = languages
    for language in settings.target_languages:
        if language not in targets:
            accepted = ", ".join(targets) or "none, the corpus has only its source language"
            raise ValueError(f"gridsearch.target_languages: got {language!r}, accepted: {accepted}")
    return (source, *(sorted(settings.target_languages) or targets))


def settle_protocol(
    settings: GridsearchSettings, languages: Sequence[str], dev: Collection[str], where: str
) -> GridsearchSettings:
    """Return settings whose protocol is one of `search.space.PROTOCOLS` and has its dev texts.

    Parameters
    ----------
    settings : GridsearchSettings
        With `auto`, target-dev is taken where all target languages have dev texts, else source-dev.
    languages : sequence of str
        Those that are scored, the source first.
    dev : collection of str
        Languages with dev texts; every text of a corpus has a label.
    where : str
        File of the texts, for messages.

    Raises
    ------
    ValueError
        A protocol that was asked for lacks its dev texts, or source-dev, taken in its place, does.
    """
    source, *targets = languages
    lacking = [language for language in targets if language not in dev]
    protocol = settings.protocol
    if protocol == AUTO:
        protocol = "source-dev" if lacking or not targets else "target-dev"
        if protocol == "source-dev":
            lack = f"no labelled dev texts of {', '.join(lacking)}" if lacking else "no target language"
            LOG.warning(
                "gridsearch.protocol: %s has %s, so %s dev labels alone choose: source-dev",
                where,
                lack,
                source,
            )
    if protocol == "target-dev" and not targets:
        raise ValueError(
            f"gridsearch.protocol: got 'target-dev' with no language but {source!r} in {where}, "
            "accepted: source-dev, last"
        )
    needed = {"target-dev": lacking, "source-dev": [] if source in dev else [source], "last": []}[protocol]
    if needed:
        hint = ", or another protocol" if needed[0] != source else ""
        raise ValueError(
            f"{where}: language {needed[0]!r}: got no dev rows, accepted under gridsearch.protocol "
            f"{protocol}: at least one{hint}"
        )
    return replace(settings, protocol=protocol)


def rank(
    candidates: Sequence[Candidate],
    dev: Mapping[str, DevScores],
    *,
    protocol: Protocol,
    source_language: str,
    target_languages: Sequence[str],
) -> list[tuple[Candidate, float | None]]:
    """Order candidates, best first.

    Parameters
    ----------
    candidates : sequence of Candidate
        In the order of the search; those without an entry in `dev` (which failed) are left out.
    dev : mapping of candidate id to mapping of language to score
        Dev texts only.
    protocol : Protocol
        How to choose.
    source_language : str
        Language that `source-dev` scores.
    target_languages : sequence of str
        Languages whose mean `target-dev` scores.

    Returns
    -------
    list of (Candidate, float or None)
        Each with the score that the protocol ranks by; None where there is none (`last`).
        Empty if the protocol's languages have no dev texts.
    """
    languages = {"source-dev": (source_language,), "target-dev": tuple(target_languages), "last": ()}[
        protocol
    ]
    scored = [candidate for candidate in candidates if candidate.id in dev]
    if protocol == "last":
        position = {candidate.id: number for number, candidate in enumerate(scored)}
        return [(candidate, None) for candidate in sorted(scored, key=_label_free(position))]
    if not languages or any(language not in found for found in dev.values() for language in languages):
        return []
    scores = {
        candidate.id: mean_score([dev[candidate.id][language] for language in languages])
        for candidate in scored
    }
    ordered = sorted(scored, key=lambda candidate: (-scores[candidate.id], *tie_break(candidate)))
    return [(candidate, scores[candidate.id]) for candidate in ordered]


def tie_break(candidate: Candidate) -> Key:
    """Return the key that orders candidates of equal score: fewer layers, lower layers, name."""
    return len(candidate.layers), candidate.layers, candidate.id


def places(ranking: Sequence[tuple[Candidate, float | None]]) -> dict[FeatureSpec, Key]:
    """Return each feature set's place, that of its best candidate: the negated score, then the tie-break."""
    found: dict[FeatureSpec, Key] = {}
    for candidate, score in ranking:
        if score is not None:
            found.setdefault(candidate.features, (-score, *tie_break(candidate)))
    return found


def _label_free(position: Mapping[str, int]) -> Callable[[Candidate], Key]:
    def key(candidate: Candidate) -> Key:
        deepest_first = tuple(-layer for layer in reversed(candidate.layers))
        return len(candidate.layers), deepest_first, candidate.pooling != "cls", position[candidate.id]

    return key
