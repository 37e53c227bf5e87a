"""The states that phase one will encode: which there are, and made-up ones to time a search on.

python -m pytest tests/pipeline/commands/test_estimate.py
"""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcbert.pipeline.estimation import speed
from mcbert.pipeline.workspace import Workspace

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mcbert.features.corpus.corpus import Corpus
    from mcbert.features.extraction.texts import Survey
    from mcbert.search.settings import GridsearchSettings

TRAIN_TEXTS, EVAL_TEXTS = 2_000, 6_000  # most that a search is timed on; more are scaled up
UNIT = 512  # texts of a unit of made-up states


@dataclasses.dataclass(frozen=True, kw_only=True)
class States:
    """The states that phase one encodes: which there are, and the plan of their extraction."""

    rows: np.ndarray
    """Rows of the corpus, int64."""

    found: Survey
    """Their distinct texts."""

    fields: dict[str, Any]
    """Fingerprint of the cache."""

    units: list[tuple[int, int]]
    """Units of the extraction."""

    target: Path
    """Folder of the cache."""

    estimated: np.ndarray
    """Tokens of each distinct text, as estimated from bytes."""

    @classmethod
    def of(cls, workspace: Workspace, corpus: Corpus) -> States:
        """Plan the extraction of a workspace's texts."""
        import numpy as np

        from mcbert.features.cache.manifest import digest
        from mcbert.features.corpus.stratified import drawn_train
        from mcbert.features.extraction.extract import fingerprint, units_of
        from mcbert.features.extraction.texts import survey

        config, taken = workspace.config, np.ones(len(corpus.table), dtype=bool)
        if workspace.train_texts:
            key, source = "gridsearch.train_texts", config.corpus.source_language
            taken = drawn_train(corpus.table, source, **workspace.train_texts, key=key)
        rows = np.flatnonzero(taken)
        found = survey(text_rows(corpus.table.iloc[rows]))
        fields = fingerprint(found.digest, workspace.encoder, encoder=config.encoder, settings=config.extract)
        return cls(
            rows=rows,
            found=found,
            fields=fields,
            units=units_of(found, fields),
            target=workspace.cache / digest(fields)[:16],
            estimated=estimated_tokens(found.sizes.sum(axis=1), fields["max_length"]),
        )

    @property
    def there(self) -> bool:
        """Whether the cache is whole."""
        return (self.target / "manifest.json").is_file()

    def sample(
        self,
        corpus: Corpus,
        settings: GridsearchSettings,
        encoding: speed.Encoding | None,
        scratch: Path,
    ) -> tuple[speed.SearchSample, float]:
        """Return a search to time, and by how much the whole one takes longer.

        It reads the cache, or made-up states where there is none yet, of all texts or of some.
        """
        import numpy as np

        from mcbert.pipeline.stages.parallel import translated_dev
        from mcbert.search.data import SKIPPED, write_examples
        from mcbert.search.selection import scored_languages
        from mcbert.search.source import Inputs

        table = corpus.table.iloc[self.rows].reset_index(drop=True)
        split = table["split"].to_numpy(dtype=object).copy()
        scale = 1.0
        for part, most in ((("train",), TRAIN_TEXTS), (("dev", "test"), EVAL_TEXTS)):
            here = np.flatnonzero(np.isin(split, part))
            if len(here) > most:
                scale *= len(here) / most
                split[here[_every(table.iloc[here], most)]] = SKIPPED
        used = split != SKIPPED
        path = scratch / "examples.npz"
        pairs = translated_dev(table[used], corpus.source_language) if used.all() else {}
        write_examples(
            path,
            y=corpus.y[self.rows],
            language=table["language"].tolist(),
            split=split.tolist(),
            labels=corpus.labels,
            source_language=corpus.source_language,
            ids=table["id"].tolist(),
            pairs=pairs,
        )
        store = self.target
        if encoding is not None:
            store = scratch / "states"
            self._make_up(store, settings, encoding, corpus.y[self.rows], used)
        return speed.SearchSample(
            settings=settings if pairs else dataclasses.replace(settings, protocol="source-dev"),
            inputs=Inputs(store=store, examples=path),
            languages=scored_languages(settings, corpus.languages),
            out=scratch,
            stamp={},
        ), scale

    def _make_up(
        self,
        folder: Path,
        settings: GridsearchSettings,
        encoding: speed.Encoding,
        y: np.ndarray,
        used: np.ndarray,
    ) -> None:
        """Write a cache of made-up states: those of texts that were encoded, and normal noise."""
        import numpy as np

        from mcbert.features.cache import StoreSpec, begin, finish, write_unit

        layers, pooling = settings.layers, settings.poolings[0]
        fields = self.fields | {"layers": list(layers), "poolings": [pooling]}
        place = [self.fields["layers"].index(layer) for layer in layers]
        at = self.fields["poolings"].index(pooling)
        states = encoding.states[:, place][:, :, [at]]
        label = np.zeros(self.found.n_texts, dtype=np.int64)
        label[self.found.index] = y
        near = label[list(encoding.numbers)]
        index = np.zeros(len(y), dtype=np.int64)
        numbers, index[used] = np.unique(self.found.index[used], return_inverse=True)
        wanted, noise = label[numbers], 0.5 * states.std(axis=0, keepdims=True)
        rng, spec = np.random.default_rng(0), StoreSpec.of(fields)
        begin(folder, fields, {"encoder": "", "corpus": "", "created": ""})
        units = [(start, min(start + UNIT, len(wanted))) for start in range(0, len(wanted), UNIT)]
        for start, stop in units:
            own = [np.flatnonzero(near == one) for one in wanted[start:stop]]
            chosen = [int(rng.choice(some if len(some) else len(near))) for some in own]
            made = states[chosen] + noise * rng.standard_normal(states[chosen].shape, dtype=np.float32)
            write_unit(folder, spec, start=start, states=made.astype(spec.dtype))
        finish(folder, spec, units, index)


def estimated_tokens(sizes: np.ndarray, max_length: int) -> np.ndarray:
    """Return the tokens of texts of so many bytes, as units are planned by: `plan_units`."""
    import numpy as np

    from mcbert.features.extraction.texts import BYTES_PER_TOKEN, SPECIAL_TOKENS

    tokens: np.ndarray = np.minimum(sizes // BYTES_PER_TOKEN + SPECIAL_TOKENS, max_length)
    return tokens


def text_rows(table: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return id, text and second text of each row."""
    return list(zip(table["id"], table["text"], table["text_pair"], strict=True))


def _every(rows: pd.DataFrame, most: int) -> np.ndarray:
    """Return places of rows to leave out so that about `most` stay, spread over labels and languages."""
    import numpy as np

    order = rows.assign(at=np.arange(len(rows))).sort_values(["language", "split", "label"], kind="stable")
    stays = np.unique(np.linspace(0, len(rows) - 1, most).astype(np.int64))
    left_out: np.ndarray = np.delete(order["at"].to_numpy(), stays)
    return left_out


def settled(settings: GridsearchSettings, corpus: Corpus) -> GridsearchSettings:
    """Return the settings with the protocol that a search of these texts would have."""
    from mcbert.pipeline.stages.parallel import translated_dev
    from mcbert.search.selection import scored_languages, settle_protocol

    table = corpus.table
    languages = scored_languages(settings, corpus.languages)
    dev = set(table["language"][table["split"] == "dev"])
    translated = {*translated_dev(table, corpus.source_language)}
    if settings.parallel:  # sentences beside the texts, which are no part of the sample
        translated |= set(languages[1:])
    return settle_protocol(settings, languages, dev, translated, "the texts")


def sets_left(settings: GridsearchSettings, ledger: Path) -> tuple[Counter[int], int]:
    """Return the feature sets that are not scored yet, by number of layers, and their candidates."""
    from mcbert.search.order import Rounds

    known = set()
    if ledger.is_file():
        with ledger.open(encoding="utf-8") as lines:
            known = {json.loads(line).get("candidate_id") for line in lines if line.endswith("}\n")}
    settings = dataclasses.replace(settings, budget_seconds=0.0)
    planned = next(iter(Rounds(settings, lambda _: {})))
    left = [candidate for candidate in planned if candidate.id not in known]
    return Counter(len(features.layers) for features in {one.features for one in left}), len(left)
