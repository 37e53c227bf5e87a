"""Speed of the search with two workers against one, with loky and with dask, at the paper's size.

    python benchmarks/gridsearch_scaling.py --rounds 3 --max-layers 2
    python benchmarks/gridsearch_scaling.py --run results/runs/demo --cache cache

Times the search from the start of the workers to the last row of the ledger, and the tables that the driver
then writes alone apart. Numbers of workers take turns. One loky worker is this process, without a pool; one
dask worker has a process of its own. Prints medians, spread and ratio; the last line is JSON.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import made_states

from mcbert.pipeline.cluster import executor
from mcbert.pipeline.cluster.settings import ClusterSettings
from mcbert.search.gridsearch import gridsearch
from mcbert.search.settings import GridsearchSettings

BACKENDS, WORKERS = ("loky", "dask"), (1, 2)
Times = tuple[float, float]  # seconds of the search, of the tables


def once(settings: GridsearchSettings, cluster: ClusterSettings, store: Path, examples: Path) -> Times:
    """Search into an empty folder; return the seconds of the search and of what comes after it."""
    ends = []

    def timed(finished: Iterable[Any], *_: object) -> Iterator[Any]:
        yield from finished
        ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as out:
        began = time.perf_counter()
        places = {"store": store, "examples": examples, "out": Path(out)}
        gridsearch(settings, **places, execute=executor(cluster), stamp=made_states.STAMP, track=timed)
        return ends[-1] - began, time.perf_counter() - ends[-1]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--max-layers", type=int, default=0, help="largest subset of layers; 0 for all")
    parser.add_argument("--run", type=Path, help="a searched run's folder, instead of made states")
    parser.add_argument("--cache", type=Path, default=Path("cache"), help="its folder of caches")
    args = parser.parse_args()
    settings = GridsearchSettings(max_layers=args.max_layers)
    times: dict[tuple[str, int], list[Times]] = {case: [] for case in product(BACKENDS, WORKERS)}
    with tempfile.TemporaryDirectory() as name:
        if args.run:
            digest = json.loads((args.run / "cache.json").read_text(encoding="utf-8"))["digest"]
            places = args.cache / digest, args.run / "examples.npz"
        else:
            places = made_states.write(Path(name), made_states.Shape())
        for number in range(args.rounds):
            for (backend, workers), found in times.items():
                found.append(once(settings, ClusterSettings(backend=backend, workers=workers), *places))
                search, tables = found[-1]
                case = f"round {number + 1}: {backend}, {workers} workers"
                sys.stdout.write(f"{case}: search {search:.2f} s, tables {tables:.2f} s\n")
                sys.stdout.flush()
    sys.stdout.write(json.dumps(summary(times)) + "\n")


def summary(times: dict[tuple[str, int], list[Times]]) -> dict[str, float]:
    """Print medians and spread; return how many times as fast two workers are."""
    ratios = {}
    for backend in BACKENDS:
        medians = {}
        for workers in WORKERS:
            found = [search for search, _ in times[backend, workers]]
            medians[workers] = median(found)
            spread = f"{min(found):.2f} to {max(found):.2f}"
            text = f"{backend}, {workers} workers: median {medians[workers]:.2f} s ({spread})"
            sys.stdout.write(text + "\n")
        ratios[f"{backend}_speedup"] = round(medians[1] / medians[2], 3)
        sys.stdout.write(f"{backend}: {ratios[f'{backend}_speedup']:.2f} times as fast with two workers\n")
    return ratios


if __name__ == "__main__":
    main()
