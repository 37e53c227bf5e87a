"""The eight conclusions of the MC-BERT paper, tested on a run: pure functions of its tables.

python -m pytest tests/results/conclusions/test_conclude.py
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from mcbert.results.conclusions.claims import CLAIMS
from mcbert.results.conclusions.contrasts import contrasts
from mcbert.results.schema.runs import CONCLUSIONS, NOT_SUPPORTED, NOT_TESTED, SUPPORTED
from mcbert.results.schema.search import GRIDSEARCH
from mcbert.results.schema.words import STAMP
from mcbert.results.statistics import Interval, mean_interval
from mcbert.results.summaries import epoch_ends, shown_language
from mcbert.results.table1 import BASELINE, UNFROZEN

FROM_EPOCH = 2
"""The epoch after which the paper froze layers and saw the decline begin."""

FROZEN = "mcbert_wf"

Tables = Mapping[str, pd.DataFrame]
Compare = Callable[[Sequence[Mapping[str, float]]], "Measured | None"]
"""Measures weighted sums of candidates' test scores; None where there are no test texts or predictions."""


@dataclasses.dataclass(frozen=True)
class Measured:
    """Intervals of contrasts, in the order asked for, and how many original texts they are over."""

    intervals: Sequence[Interval]
    n_texts: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """One comparison: its interval, or why there is none."""

    claim: str
    comparison: str
    interval: Interval | None = None
    n: int | None = None
    unit: str = ""
    split: str = ""
    protocol: str = ""
    why: str = ""


def conclude(tables: Tables, source_language: str, compare: Compare, *, sample: str = "") -> pd.DataFrame:
    """Return a verdict on every conclusion, as far as the run's tables allow.

    Parameters
    ----------
    tables : mapping of str to DataFrame
        The run's tables by the name of their file without `.csv`: gridsearch, finetune, table1, tune and
        corpus are looked at, each may be absent.
    source_language : str
        The language with training labels, which does not enter the means.
    compare : callable
        Measures contrasts of candidates on test.
    sample : str
        Why nothing is concluded of the search: it tried only some of its candidates. Empty: it tried all.

    Returns
    -------
    DataFrame
        Columns of table CONCLUSIONS but the stamp, in the order of the numbers.
    """
    found = [
        *_epochs(tables, source_language),
        *_fine_tuned(tables, source_language),
        *_searched(tables, compare, sample),
        *_tune(tables, source_language),
    ]
    order = list(CLAIMS)
    rows = [_row(finding) for finding in sorted(found, key=lambda finding: order.index(finding.claim))]
    frame = pd.DataFrame(
        rows, columns=CONCLUSIONS.order(c.name for c in CONCLUSIONS.columns if c.name in _ROW)
    )
    return frame.astype({"n": "Int64"})


def overall(verdicts: Sequence[str]) -> str:
    """Return the verdict of a conclusion from its comparisons': supported where all that were made are."""
    tested = [verdict for verdict in verdicts if verdict != NOT_TESTED]
    if not tested:
        return NOT_TESTED
    return SUPPORTED if set(tested) == {SUPPORTED} else NOT_SUPPORTED


def judge(interval: Interval | None, why: str, margin: float = 0.0) -> tuple[str, str]:
    """Return the verdict on one interval, against `-margin`, and the reason: `why` without an interval."""
    if interval is None:
        return NOT_TESTED, why
    if math.isnan(interval.low):
        return NOT_TESTED, "one value has no interval"
    line = f"{-100 * margin:g} point" if margin else "0"
    if interval.low > -margin:
        return SUPPORTED, f"the 95% interval lies above {line}"
    if interval.high < -margin:
        return NOT_SUPPORTED, f"the 95% interval lies below {line}: the opposite holds"
    return NOT_SUPPORTED, f"the 95% interval includes {line}: neither shown nor refuted"


_SEARCHED = [column.name for column in GRIDSEARCH.columns]
_ROW = {column.name for column in CONCLUSIONS.columns} - set(STAMP)


def _row(finding: Finding) -> dict[str, object]:
    claim = CLAIMS[finding.claim]
    verdict, why = judge(finding.interval, finding.why, claim.margin)
    if verdict == NOT_TESTED:
        why = f"{why}; tested by {claim.tested_by}"
    known = finding.interval is not None
    return {
        "number": claim.number,
        "conclusion": claim.words,
        "comparison": finding.comparison,
        "effect": finding.interval.difference if finding.interval else math.nan,
        "effect_low": finding.interval.low if finding.interval else math.nan,
        "effect_high": finding.interval.high if finding.interval else math.nan,
        "margin": claim.margin,
        "n": finding.n if known else None,
        "unit": finding.unit if known else "",
        "protocol": finding.protocol if known else "",
        "split": finding.split if known else "",
        "verdict": verdict,
        "why": why,
    }


def _epochs(tables: Tables, source_language: str) -> list[Finding]:
    """Compare the targets' mean after epoch 2 with that after the last, and both systems' losses."""
    frame = tables.get("finetune")
    costs = pd.DataFrame() if frame is None else _costs(frame, source_language)
    why = "finetune.csv is absent" if frame is None else f"no training went on after epoch {FROM_EPOCH}"
    found = []
    for system in (UNFROZEN, BASELINE):
        name = f"{system} after epoch {FROM_EPOCH} minus after the last"
        found.append(_over_seeds("epochs", name, costs.get(system), _protocol(frame, system), why))
    both = None
    if {UNFROZEN, FROZEN} <= set(costs.columns):
        both = costs[UNFROZEN] - costs[FROZEN]
    elif not costs.empty:
        why = "not both of mcbert and mcbert_wf were trained"
    name = f"mcbert's decline after epoch {FROM_EPOCH} minus that of mcbert_wf"
    return [*found, _over_seeds("freezing", name, both, _protocol(frame, FROZEN), why)]


def _protocol(finetune: pd.DataFrame | None, system: str) -> str:
    """Return the protocol by which a system's layers were chosen."""
    protocols = [] if finetune is None else finetune.loc[finetune["system"] == system, "protocol"].tolist()
    return str(protocols[0]) if protocols else ""


def _costs(finetune: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return the dev accuracy lost after the second epoch: index seed, a column per system."""
    ends = epoch_ends(finetune, source_language)
    targets = ends[ends["language"] == shown_language(ends, source_language)]
    last = targets.sort_values("epoch").drop_duplicates(["system", "seed"], keep="last")
    before = targets[targets["epoch"] == FROM_EPOCH]
    keys = ["system", "seed"]
    both = before.merge(last[last["epoch"] > FROM_EPOCH], on=keys, suffixes=("_before", "_last"))
    both["cost"] = both["accuracy_before"] - both["accuracy_last"]
    return both.pivot(index="seed", columns="system", values="cost")


def _over_seeds(claim: str, comparison: str, values: pd.Series | None, protocol: str, why: str) -> Finding:
    sample = pd.Series(dtype="float64") if values is None else values.dropna()
    if sample.empty:
        return Finding(claim=claim, comparison=comparison, why=why)
    return Finding(
        claim=claim,
        comparison=comparison,
        interval=mean_interval(sample.to_numpy()),
        n=len(sample),
        unit="seeds",
        protocol=protocol,
        split="dev",
    )


def _fine_tuned(tables: Tables, source_language: str) -> list[Finding]:
    """Return the gains of fine-tuned layers over [CLS], and of freezing over them, from Table 1."""
    asked = (
        ("tokens", UNFROZEN, "versus_baseline", "mcbert minus the fine-tuned [CLS] baseline"),
        ("freezing", FROZEN, "versus_mcbert", "mcbert_wf minus mcbert"),
    )
    table1 = tables.get("table1")
    found = []
    for claim, system, versus, comparison in asked:
        columns = [f"{versus}{end}" for end in ("", "_low", "_high")]
        rows = pd.DataFrame()
        if table1 is not None:
            own = table1[table1["system"] == system]
            rows = own[own["language"] == shown_language(own, source_language)].dropna(subset=columns)
        if rows.empty:
            why = "table1.csv is absent" if table1 is None else "table1.csv lacks one of the two systems"
            found.append(Finding(claim=claim, comparison=comparison, why=why))
            continue
        interval = Interval(*(float(rows.iloc[0][column]) for column in columns))
        found.append(_over_texts(claim, comparison, interval, tables, ("test", rows.iloc[0]["protocol"])))
    return found


def _searched(tables: Tables, compare: Compare, sample: str) -> list[Finding]:
    """Measure the contrasts of the search on test, all on the same resampled texts; of a sample none."""
    gridsearch = tables.get("gridsearch")
    if gridsearch is None or sample:
        nothing = contrasts(pd.DataFrame(columns=_SEARCHED, dtype="str"))
        why = "gridsearch.csv is absent" if gridsearch is None else sample
        return [Finding(claim=c.claim, comparison=c.comparison, why=why) for c in nothing]
    asked = contrasts(gridsearch)
    made = [contrast for contrast in asked if contrast.weights]
    measured = compare([contrast.weights for contrast in made]) if made else None
    if measured is None:
        why = "no test predictions of the search"
        return [Finding(claim=c.claim, comparison=c.comparison, why=c.why or why) for c in asked]
    intervals = iter(measured.intervals)
    return [
        Finding(
            claim=contrast.claim,
            comparison=contrast.comparison,
            interval=next(intervals) if contrast.weights else None,
            n=measured.n_texts,
            unit="texts",
            protocol=gridsearch["protocol"].iloc[0] if contrast.chosen else "last",
            split="test",
            why=contrast.why,
        )
        for contrast in asked
    ]


def _tune(tables: Tables, source_language: str) -> list[Finding]:
    """Return findings from trials that change one setting alone, the best where there are several."""
    asked = (
        ("dropout", "dropout", "the settings as they are minus the same without dropout"),
        ("head", "head_layers", "the settings as they are minus the same with a deeper head"),
    )
    tune = tables.get("tune")
    rows = pd.DataFrame()
    if tune is not None:
        fine = tune[(tune["status"] == "ok") & tune["versus_default"].notna()]
        rows = fine[fine["language"] == shown_language(fine, source_language)].sort_values("rank")
    found = []
    for claim, setting, comparison in asked:
        row = _alone(rows, setting)
        if row is None:
            why = "tune.csv is absent" if tune is None else f"no trial differs in {setting} alone"
            found.append(Finding(claim=claim, comparison=comparison, why=why))
            continue
        ends = (-float(row[f"versus_default{end}"]) for end in ("", "_high", "_low"))
        interval = Interval(*ends)
        shown = f"{comparison} ({row['changes']})"
        found.append(_over_texts(claim, shown, interval, tables, ("dev", row["protocol"])))
    return found


def _alone(rows: pd.DataFrame, setting: str) -> pd.Series | None:
    """Find the best trial that differs in one setting: dropout of 0, or more layers in the head."""
    for _, row in rows.iterrows():
        values = json.loads(row["changes"])
        if set(values) == {setting} and (values[setting] == 0) == (setting == "dropout"):
            return row
    return None


def _over_texts(
    claim: str, comparison: str, interval: Interval, tables: Tables, where: tuple[str, str]
) -> Finding:
    split, protocol = where
    return Finding(
        claim=claim,
        comparison=comparison,
        interval=interval,
        n=_n_texts(tables.get("corpus"), split),
        unit="texts",
        protocol=protocol,
        split=split,
    )


def _n_texts(corpus: pd.DataFrame | None, split: str) -> int | None:
    """Count the original texts of a split: those of the language that has most of them."""
    if corpus is None:
        return None
    counts = corpus[corpus["split"] == split].groupby("language")["n_texts"].sum()
    return int(counts.max()) if len(counts) else None
