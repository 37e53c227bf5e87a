"""What the report shows of the big tables: small frames computed from the rows, without files or charts.

python -m pytest tests/results/test_summaries.py
"""

from __future__ import annotations

import pandas as pd

from results.schema import CLASSIFIERS, GRIDSEARCH, POOLINGS
from results.table1 import MEAN, ordered_languages

_DEV_F1 = "dev_f1_"


def finished(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Keep the candidates that were fitted and scored, best first."""
    return gridsearch[gridsearch["status"] == "ok"].sort_values("rank", kind="stable")


def languages(gridsearch: pd.DataFrame, source_language: str) -> list[str]:
    """List the languages of a gridsearch table, source first."""
    column = next(column for column in GRIDSEARCH.columns if column.name == "dev_f1_{language}")
    fixed = {_DEV_F1 + MEAN}
    found = {column.language(name) for name in gridsearch.columns if name not in fixed}
    return ordered_languages({language for language in found if language}, source_language)


def layer_by_pooling(gridsearch: pd.DataFrame, language: str) -> pd.DataFrame:
    """Best dev micro-F1 of one layer and one pooling, over the classifiers.

    Parameters
    ----------
    gridsearch : DataFrame
        Rows of table GRIDSEARCH.
    language : str
        A language, or `mean` for the mean over target languages.

    Returns
    -------
    DataFrame
        Columns layer (int), pooling, classifier (the one that scored it), f1, best (whether no other cell is
        better); only of candidates with a single layer.
    """
    score = _DEV_F1 + language
    single = finished(gridsearch).query("n_layers == 1").dropna(subset=[score])
    best = single.sort_values(score, ascending=False, kind="stable").drop_duplicates(["layers", "pooling"])
    cells = pd.DataFrame(
        {
            "layer": best["layers"].astype("int64"),
            "pooling": best["pooling"],
            "classifier": best["classifier"],
            "f1": best[score],
        }
    )
    cells["best"] = cells["f1"] == cells["f1"].max()
    return cells.sort_values(["layer", "pooling"]).reset_index(drop=True)


def main_effects(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Tell what each layer, pooling and classifier adds to the mean dev micro-F1, all else being equal.

    A layer's effect compares every candidate that has it with the same candidate without it. A pooling's or
    classifier's compares every candidate with the mean over all poolings (classifiers), the rest being equal.

    Parameters
    ----------
    gridsearch : DataFrame
        Rows of table GRIDSEARCH.

    Returns
    -------
    DataFrame
        Columns factor (layer, pooling, classifier), level (text), effect (mean of the differences), low and
        high (their quartiles), n (comparisons). Levels without a comparison have no row.
    """
    rows = finished(gridsearch).dropna(subset=["dev_f1_mean"])
    effects = [("layer", level, values) for level, values in _layer_differences(rows).items()]
    for factor, levels, others in (
        ("pooling", POOLINGS, ["layers", "classifier", "seed"]),
        ("classifier", _classifiers(rows), ["layers", "pooling", "seed"]),
    ):
        group = rows.groupby(others)["dev_f1_mean"]
        differences = (rows["dev_f1_mean"] - group.transform("mean"))[group.transform("size") > 1]
        effects += [(factor, level, differences[rows[factor] == level].tolist()) for level in levels]
    return pd.DataFrame(
        [_effect(factor, level, pd.Series(values)) for factor, level, values in effects if values],
        columns=["factor", "level", "effect", "low", "high", "n"],
    )


def _classifiers(rows: pd.DataFrame) -> list[str]:
    """List the classifiers of the rows, a user's own after the others."""
    found = rows["classifier"].unique().tolist()
    return [*(name for name in CLASSIFIERS if name in found), *sorted({*found} - {*CLASSIFIERS})]


def by_n_layers(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Best and median dev micro-F1 (mean over targets): columns n_layers, which (best, median), f1, n."""
    groups = finished(gridsearch).dropna(subset=["dev_f1_mean"]).groupby("n_layers")["dev_f1_mean"]
    return pd.DataFrame(
        [
            {"n_layers": n_layers, "which": which, "f1": value, "n": len(scores)}
            for n_layers, scores in groups
            for which, value in (("best", scores.max()), ("median", scores.median()))
        ],
        columns=["n_layers", "which", "f1", "n"],
    )


def confusion_of(confusion: pd.DataFrame, *, rank: int = 1, split: str = "test") -> pd.DataFrame:
    """One candidate's matrices: columns language, label, predicted, n, share (of its true label)."""
    cells = confusion[(confusion["rank"] == rank) & (confusion["split"] == split)]
    cells = cells[["language", "label", "predicted", "n"]].reset_index(drop=True)
    totals = cells.groupby(["language", "label"])["n"].transform("sum")
    cells["share"] = (cells["n"] / totals.where(totals > 0)).fillna(0.0)
    return cells


def accuracies(cells: pd.DataFrame) -> pd.DataFrame:
    """Accuracy of each language from its confusion matrix, and that of always giving its most frequent label.

    Returns
    -------
    DataFrame
        Index language; columns accuracy, majority (share of the most frequent true label), n_texts.
    """
    n_texts = cells.groupby("language")["n"].sum()
    right = cells[cells["label"] == cells["predicted"]].groupby("language")["n"].sum()
    per_label = cells.groupby(["language", "label"])["n"].sum()
    majority = per_label.groupby("language").max()
    return pd.DataFrame(
        {
            "accuracy": right.reindex(n_texts.index, fill_value=0) / n_texts,
            "majority": majority / n_texts,
            "n_texts": n_texts,
        }
    )


def training_curves(finetune: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Dev accuracy by epoch over the seeds.

    Parameters
    ----------
    finetune : DataFrame
        Rows of table FINETUNE.
    source_language : str
        The language that does not enter the mean.

    Returns
    -------
    DataFrame
        Columns system, epoch, language (also `mean`, over target languages), accuracy (mean over seeds), low,
        high (worst and best seed), n_seeds.
    """
    dev = finetune[finetune["split"] == "dev"][["system", "seed", "epoch", "language", "accuracy"]]
    targets = dev[dev["language"] != source_language]
    means = targets.groupby(["system", "seed", "epoch"], as_index=False)["accuracy"].mean()
    everything = pd.concat([dev, means.assign(language=MEAN)], ignore_index=True)
    over_seeds = everything.groupby(["system", "epoch", "language"])["accuracy"]
    curves: pd.DataFrame = over_seeds.agg(["mean", "min", "max", "size"]).reset_index()
    return curves.rename(columns={"mean": "accuracy", "min": "low", "max": "high", "size": "n_seeds"})


def freeze_events(freezing: pd.DataFrame) -> pd.DataFrame:
    """Distinct freeze events over the seeds: columns system, epoch, layers, reason, n_seeds."""
    keys = ["system", "epoch", "layers", "reason"]
    return freezing.groupby(keys)["seed"].nunique().rename("n_seeds").reset_index()


def corpus_counts(corpus: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Corpus counts by language and split, labels summed up.

    Returns
    -------
    DataFrame
        Columns language, split, n_texts, n_distinct, tokens_max, unknown_share, truncated_share (means over
        the texts) and one column `label: <name>` per label with its number of texts.
    """
    rows = []
    order = {split: place for place, split in enumerate(("train", "dev", "test"))}
    for (language, split), part in corpus.groupby(["language", "split"]):
        weights = part["n_texts"] / max(part["n_texts"].sum(), 1)
        row = {"language": language, "split": split}
        row |= {name: int(part[name].sum()) for name in ("n_texts", "n_distinct")}
        row["tokens_max"] = int(part["tokens_max"].max())
        row |= {name: float((part[name] * weights).sum()) for name in ("unknown_share", "truncated_share")}
        row |= {f"label: {label}": n for label, n in zip(part["label"], part["n_texts"], strict=True)}
        rows.append(row)
    rows.sort(key=lambda row: (row["language"] != source_language, row["language"], order[str(row["split"])]))
    return pd.DataFrame(rows)


def _layer_differences(rows: pd.DataFrame) -> dict[str, list[float]]:
    """Compare every candidate with the one that lacks a layer of it, by layer in ascending order."""
    columns = ["layers", "pooling", "classifier", "params", "seed", "dev_f1_mean"]
    records = list(rows[columns].itertuples(index=False, name=None))
    scores = {(frozenset(layers.split("+")), *rest[:-1]): rest[-1] for layers, *rest in records}
    differences: dict[str, list[float]] = {}
    for (layers, *rest), score in scores.items():
        for layer in layers:
            without = scores.get((layers - {layer}, *rest))
            if without is not None:
                differences.setdefault(layer, []).append(score - without)
    return dict(sorted(differences.items(), key=lambda item: int(item[0])))


def _effect(factor: str, level: str, values: pd.Series) -> dict[str, object]:
    low, high = values.quantile([0.25, 0.75])
    return {
        "factor": factor,
        "level": level,
        "effect": values.mean(),
        "low": low,
        "high": high,
        "n": len(values),
    }
