"""The search of all 3,825 candidates against the plain way of fitting each, on one cache in one run.

    python benchmarks/gridsearch.py

Plain: stack the columns of the layers, StandardScaler, fit scikit-learn's estimator in float64, predict; the
states are in memory before the clock starts. It is timed on a stratified sample of feature sets (by number
of layers and pooling), each with every classifier, two at a time with one BLAS thread each, and extrapolated:
the mean of each stratum times its size. Ours: the real driver on all candidates with two loky workers, from
starting them to the last table. Every sampled candidate is fitted both ways and its predictions for all dev
and test texts compared. The cache is made (`made_states.py`): 1,500 train texts, 4 languages x (100 dev + 500
test), 8 layers x 3 poolings of 768 columns, 4 classes. `--growth` prints how time and memory grow instead.
The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import logging
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import made_states
import numpy as np
import peak
from plain_way import Measured, Trial, both

from mcbert.features.cache import FeatureStore
from mcbert.features.spec import FeatureSpec
from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.results.csv_files import read
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.search.data import Examples
from mcbert.search.gridsearch import gridsearch
from mcbert.search.settings import GridsearchSettings
from mcbert.search.source import Inputs, Source
from mcbert.search.space import Candidate, Space

CORES = 2
NEAR = 0.01  # a margin below this share of the spread of the plain decision function is a near-tie


def main() -> None:
    """Measure, print tables, print the figures as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--sample", type=int, default=60, help="feature sets fitted the plain way, at least")
    parser.add_argument("--only", choices=["plain", "ours"], help="leave the other out, for development")
    parser.add_argument("--quick", action="store_true", help="small sizes, under a minute, for CI")
    parser.add_argument("--growth", action="store_true", help="tables of time and memory by size instead")
    args = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    if args.growth:
        import growth

        growth.main(quick=args.quick)
        return
    shape = made_states.Shape()
    if args.quick:
        small = {"n_train": 240, "n_dev": 20, "n_test": 60, "hidden_size": 96}
        shape = made_states.Shape(**small, layers=(9, 10, 11, 12))
        args.sample = min(args.sample, 12)
    settings = GridsearchSettings(layers=shape.layers)
    with tempfile.TemporaryDirectory() as scratch:
        store, table = made_states.write(Path(scratch), shape)
        figures: dict[str, Any] = {}
        if args.only != "plain":
            figures |= search(settings, store, table, Path(scratch))
        if args.only != "ours":
            figures |= sample(settings, store, table, args.sample)
    print(json.dumps(compare(figures)))


def search(settings: GridsearchSettings, store: Path, texts: Path, out: Path) -> dict[str, Any]:
    """Run the whole search; return seconds, seconds by classifier on one core, and peak memory."""
    cluster = ClusterSettings(backend="loky", workers=CORES)
    began = time.perf_counter()
    with peak.Memory() as memory:
        gridsearch(
            settings,
            Inputs(store=store, examples=texts),
            out=out,
            execute=executor(cluster),
            stamp=made_states.STAMP,
        )
    seconds = time.perf_counter() - began
    table = read(GRIDSEARCH, out / "gridsearch.csv")
    took = (table["fit_seconds"] + table["score_seconds"]).groupby(table["classifier"]).apply(list)
    n, failed = len(table), int((table["status"] != "ok").sum())
    print(f"\nours: {n} candidates, {failed} failed, {seconds:.1f} s on {CORES} cores, from first to last")
    print(f"peak memory {memory.peak_mb:.0f} MB ({peak.MEANING}), of it the driver {memory.driver_mb:.0f} MB")
    return {"seconds_all": seconds, "peak_mb": memory.peak_mb, "ours": took.to_dict()}


def sample(settings: GridsearchSettings, store: Path, table: Path, least: int) -> dict[str, Any]:
    """Fit a stratified sample both ways; return the plain way's seconds, extrapolated, and the agreement."""
    cache, corpus = FeatureStore.open(store), Examples.read(table)
    source = Source(
        store=store, examples=table, languages=corpus.languages, digests=(cache.digest, corpus.digest)
    )
    space = Space(settings)
    strata = stratify(list(space.feature_sets()), least)
    trials = [
        Trial(source, candidate)
        for _, chosen in strata.values()
        for features in chosen
        for candidate in space.models(features)
    ]
    results: dict[Candidate, Measured] = {}
    for trial, measured, error in executor(ClusterSettings(backend="loky", workers=CORES))(both, trials):
        if measured is None:
            raise SystemExit(f"{trial.candidate.id}: {error}")
        results[trial.candidate] = measured
    plain: dict[str, float] = {}
    for name in settings.classifiers:
        means = {
            key: statistics.mean(
                m.seconds for c, m in results.items() if c.classifier == name and stratum(c) == key
            )
            for key in strata
        }
        plain[name] = sum(means[key] * size for key, (size, _) in strata.items())
    return {"plain": plain, "results": results}


def stratum(candidate: Candidate) -> tuple[int, str]:
    """Return the stratum of a candidate."""
    return len(candidate.layers), candidate.pooling


def stratify(sets: Sequence[FeatureSpec], least: int) -> dict[tuple[int, str], tuple[int, list[FeatureSpec]]]:
    """Draw `least` feature sets or more: of each size and pooling its share, at least one."""
    rng = np.random.default_rng(0)
    groups: dict[tuple[int, str], list[FeatureSpec]] = defaultdict(list)
    for features in sets:
        groups[len(features.layers), features.pooling].append(features)
    shares = {key: least * len(members) / len(sets) for key, members in groups.items()}
    short = sum(max(1, int(share)) for share in shares.values()) < least
    drawn = {}
    for key, members in groups.items():
        n = min(len(members), max(1, int(np.ceil(shares[key]) if short else shares[key])))
        picks = rng.choice(len(members), size=n, replace=False)
        drawn[key] = (len(members), [members[k] for k in sorted(picks)])
    return drawn


def compare(figures: dict[str, Any]) -> dict[str, Any]:
    """Print the table of classifiers; return the figures of the last line."""
    out: dict[str, Any] = {
        key: round(figures[key], 1) for key in ("seconds_all", "peak_mb") if key in figures
    }
    table = list(rows(figures))
    print("\n| classifier | plain, s a candidate: median (range) | ours | plain, all, s of one core | ours |")
    print("|---|---|---|---|---|")
    for row in table:
        print("| " + " | ".join(str(cell) for cell in row) + " |")
    if "plain" not in figures:
        return out
    results: dict[Candidate, Measured] = figures["results"]
    differing = {c: m.margins for c, m in results.items() if m.margins}
    n_texts = sum(m.n_texts for m in results.values())
    n_differ = sum(len(margins) for margins in differing.values())
    print(f"\nplain: extrapolated from {len(results) // len(figures['plain'])} feature sets")
    print(f"predictions that differ: {n_differ} of {n_texts}; margin of each, in spreads:")
    for candidate, margins in differing.items():
        print(f"  {candidate.id}: {', '.join(f'{m:.1e}' for m in margins)}")
    worst = max((m for margins in differing.values() for m in margins), default=0.0)
    print(f"largest margin {worst:.1e}: {'all near-ties' if worst < NEAR else 'NOT ALL NEAR-TIES'}")
    agreement = {
        name: 1
        - sum(len(m.margins) for c, m in results.items() if c.classifier == name)
        / sum(m.n_texts for c, m in results.items() if c.classifier == name)
        for name in figures["plain"]
    }
    out |= {"agreement": round(1 - n_differ / n_texts, 6), "largest_margin": worst}
    out["plain_seconds_all_extrapolated"] = round(sum(figures["plain"].values()) / CORES, 1)
    per_classifier: dict[str, dict[str, Any]] = {
        name: {
            "agreement": round(share, 6),
            "plain": ends([m.seconds for c, m in results.items() if c.classifier == name]),
        }
        for name, share in agreement.items()
    }
    if "ours" in figures:
        out["speedup"] = round(sum(figures["plain"].values()) / CORES / figures["seconds_all"], 1)
        for name, seconds in figures["plain"].items():
            per_classifier[name]["ours"] = ends(figures["ours"][name])
            per_classifier[name]["speedup"] = round(seconds / sum(figures["ours"][name]), 1)
    return out | {"per_classifier": per_classifier}


def rows(figures: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    """Yield the cells of each classifier."""
    for name in figures.get("plain", figures.get("ours", {})):
        ours = figures.get("ours", {}).get(name, [])
        plain = [m.seconds for c, m in figures.get("results", {}).items() if c.classifier == name]
        total = figures.get("plain", {}).get(name)
        yield (
            name,
            spread(plain),
            spread(ours),
            f"{total:.0f}" if total else "",
            f"{sum(ours):.1f}" if ours else "",
        )


def ends(seconds: Sequence[float]) -> list[float]:
    """Return the least, the median and the most."""
    return [round(end, 3) for end in (min(seconds), statistics.median(seconds), max(seconds))]


def spread(seconds: Sequence[float]) -> str:
    """Return median and range."""
    return "{1:.3f} ({0:.3f}-{2:.3f})".format(*ends(seconds)) if seconds else ""


if __name__ == "__main__":
    main()
