"""How the winner is selected: four protocols and one tie-break.

    python -m mcbert gridsearch --config demo gridsearch.protocol=auto

- `agreement`: how far a candidate's probabilities of source texts and of their translations agree, in the
  mean over the target languages that have such pairs, less its log-loss on the source language's dev texts;
  reads no label of a target language.
- `source-dev`: the score of the source language's dev texts; true zero-shot.
- `target-dev`: its mean over the target languages' dev texts; what the paper did, an oracle.
- `last`: by no labels: the fewest layers, the deepest of them, cls before other poolings, then the
  order of the search. Its winner is thus the deepest single layer, cls, with the first classifier of the
  settings.

The score of source-dev and target-dev is micro-F1 unless `gridsearch.metric` says otherwise. Ties go to the
lower log-loss on the same dev texts, which still tells candidates apart where nearly all texts are right;
then to fewer layers, then lower layers, then the candidate's name. Scores are compared unrounded, and exact
but for macro-F1, whose sums are rounded once (`search.scoring`). Nothing here sees a test label: the
functions take dev scores only.
`settle_protocol` needs the corpus alone: it says which protocol a search can choose by before anything is
extracted.
"""

import logging
import math
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
    settings: GridsearchSettings,
    languages: Sequence[str],
    dev: Collection[str],
    pairs: Collection[str],
    where: str,
) -> GridsearchSettings:
    """Return settings whose protocol is one of `search.space.PROTOCOLS` and has its dev texts.

    Parameters
    ----------
    settings : GridsearchSettings
        With `auto`, agreement is taken where target languages have pairs, else source-dev.
    languages : sequence of str
        Those that are scored, the source first.
    dev : collection of str
        Languages with dev texts; every text of a corpus has a label.
    pairs : collection of str
        Target languages with pairs of texts and their translations.
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
        protocol = "agreement" if any(language in pairs for language in targets) else "source-dev"
        if protocol == "source-dev" and targets:
            LOG.warning(
                "gridsearch.protocol: %s has no translations of its %s dev texts, and gridsearch.parallel "
                "names no parallel sentences, so %s dev labels alone choose: source-dev",
                where,
                source,
                source,
            )
    if protocol == "target-dev" and not targets:
        raise ValueError(
            f"gridsearch.protocol: got 'target-dev' with no language but {source!r} in {where}, "
            "accepted: source-dev, last"
        )
    if protocol == "agreement" and not any(language in pairs for language in targets):
        raise ValueError(
            f"gridsearch.protocol: got 'agreement' with no translations of {source!r} dev texts in {where}, "
            "accepted: gridsearch.parallel, a folder of parallel sentences, or source-dev, last"
        )
    own = [] if source in dev else [source]
    needed = {"agreement": own, "source-dev": own, "target-dev": lacking, "last": []}[protocol]
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
    rows: Mapping[str, Mapping[str, Any]],
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
    rows : mapping of candidate id to mapping
        log_loss and agreement of each by language (`search.task.transfer_scores`).
    protocol : Protocol
        How to choose.
    source_language : str
        Language that `source-dev` and `agreement` score.
    target_languages : sequence of str
        Languages whose mean `target-dev` scores.

    Returns
    -------
    list of (Candidate, float or None)
        Each with the score that the protocol ranks by; None where there is none (`last`).
        Empty if the protocol's languages have no dev texts.
    """
    languages = tuple(target_languages) if protocol == "target-dev" else (source_language,)
    scored = [candidate for candidate in candidates if candidate.id in dev]
    if protocol == "last":
        position = {candidate.id: number for number, candidate in enumerate(scored)}
        return [(candidate, None) for candidate in sorted(scored, key=_label_free(position))]
    if not languages or any(language not in found for found in dev.values() for language in languages):
        return []
    if protocol == "agreement":
        found = {c.id: merit(rows[c.id], protocol, source_language, target_languages) for c in scored}
        scores = {name: score for name, score in found.items() if score is not None}
        scored = [candidate for candidate in scored if candidate.id in scores]
    else:
        scores = {c.id: mean_score([dev[c.id][language] for language in languages]) for c in scored}
    losses = {c.id: _mean_loss(rows[c.id], languages) for c in scored}
    ordered = sorted(scored, key=lambda c: (-scores[c.id], losses[c.id], *tie_break(c)))
    return [(candidate, scores[candidate.id]) for candidate in ordered]


def merit(
    row: Mapping[str, Any], protocol: Protocol, source_language: str, targets: Sequence[str]
) -> float | None:
    """Return how well a candidate does by a protocol, in nats, however many labels are right already.

    Minus the log-loss on the dev texts that the protocol scores, plus the agreement where it reads that. None
    under `last`, and where there is no such number.

    Parameters
    ----------
    row : mapping
        The candidate's, as for `rank`.
    """
    loss = row["log_loss"]
    if protocol == "last" or source_language not in loss:
        return None
    if protocol == "target-dev":
        known = targets and all(language in loss for language in targets)
        return -_mean_loss(row, targets) if known else None
    agreed = mean_agreement(row) if protocol == "agreement" else 0.0
    return None if agreed is None else agreed - float(loss[source_language])


def mean_agreement(row: Mapping[str, Any]) -> float | None:
    """Return the mean agreement of a row over the target languages that have pairs; None where none has."""
    found = row["agreement"].values()
    return math.fsum(found) / len(found) if found else None


def _mean_loss(row: Mapping[str, Any], languages: Sequence[str]) -> float:
    """Return the mean log-loss over languages; 0 where the source has no dev texts to calibrate by."""
    found = row["log_loss"]
    return math.fsum(found[language] for language in languages) / len(languages) if found else 0.0


def tie_break(candidate: Candidate) -> Key:
    """Return the key that orders candidates of equal score and loss: fewer layers, lower layers, name."""
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
