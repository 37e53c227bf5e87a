"""Which protocol a search can choose by, told from the corpus alone: before anything is extracted.

python -m mcbert gridsearch --config demo gridsearch.protocol=auto
"""

import logging
from collections.abc import Collection, Sequence
from dataclasses import replace

from mcbert.search.space import AUTO, GridsearchSettings

LOG = logging.getLogger(__name__)


def settled(
    settings: GridsearchSettings, languages: Sequence[str], dev: Collection[str], where: str
) -> GridsearchSettings:
    """Return settings whose protocol is one of `results.schema.PROTOCOLS`, and has the texts to choose by.

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


def scored(settings: GridsearchSettings, languages: Sequence[str]) -> tuple[str, ...]:
    """Return the languages that are scored, of those of a corpus; the source first.

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
