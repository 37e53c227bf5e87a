"""Small frames computed from the rows of the big tables, for the log, the report and the conclusions.

python -m pytest tests/results/test_summaries.py
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd

from mcbert.results.schema.search import GRIDSEARCH, STANDINGS
from mcbert.results.schema.words import ENSEMBLE, MEAN
from mcbert.results.table1 import ordered_languages

SHARES = {"unknown_share": "n_tokens", "marks_lost_share": "n_marks", "truncated_share": "n_texts"}
"""Shares in table CORPUS, and what they are shares of."""

NEAR = 0.03
"""A score at most this far above chance is near chance."""

FINE = 0.10
"""The source language is fine where it is at least this far above its own chance."""

MOST_LABELS = 20
"""Labels of a confusion matrix that can be read."""

MOST_PANELS = 12
"""Languages that have a panel each; of more, the source and the lowest."""

LOWEST = 5

_ROUNDING = 1e-12

_DEV_F1 = "dev_f1_micro_"


def finished(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Keep what was fitted and scored, best first: the candidates, and before them an ensemble."""
    return gridsearch[gridsearch["status"] == "ok"].sort_values("rank", kind="stable")


def searched(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Keep the candidates of the searched space that were fitted and scored, best first."""
    fine = finished(gridsearch)
    return fine[fine["classifier"] != ENSEMBLE]


def languages(gridsearch: pd.DataFrame, source_language: str) -> list[str]:
    """List the languages of a gridsearch table, source first."""
    column = next(column for column in GRIDSEARCH.columns if column.name == "dev_f1_micro_{language}")
    fixed = {_DEV_F1 + MEAN}
    found = {column.language(name) for name in gridsearch.columns if name not in fixed}
    return ordered_languages({language for language in found if language}, source_language)


def layer_by_pooling(gridsearch: pd.DataFrame, language: str) -> pd.DataFrame:
    """Return the best dev micro-F1 of one layer and one pooling, over the classifiers.

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
    single = searched(gridsearch).query("n_layers == 1").dropna(subset=[score])
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


def shown_language(table: pd.DataFrame, source_language: str) -> str:
    """Return the language that sums up a tidy table: `mean`, or the source where there is no target."""
    return MEAN if MEAN in set(table["language"]) else source_language


def effects(table: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return the effects on the mean of the target languages, with the sign of the significant ones.

    Parameters
    ----------
    table : DataFrame
        Rows of table EFFECTS.
    source_language : str
        The language shown where there are no target languages.

    Returns
    -------
    DataFrame
        The rows of that language with a column sign: 1 or -1 where the interval excludes 0, else 0.
    """
    rows = table[table["language"] == shown_language(table, source_language)]
    sign = (rows["effect_low"] > 0).astype("int64") - (rows["effect_high"] < 0).astype("int64")
    return rows.assign(sign=sign).reset_index(drop=True)


def against_winner(top: pd.DataFrame, source_language: str) -> dict[str, dict[str, dict[str, object]]]:
    """Return the rows of table TOP that sum up a candidate, by candidate id and split."""
    rows = top[top["language"] == shown_language(top, source_language)]
    found: dict[str, dict[str, dict[str, object]]] = {}
    for row in rows.to_dict("records"):
        found.setdefault(row["candidate_id"], {})[row["split"]] = {str(k): v for k, v in row.items()}
    return found


def differing(top: pd.DataFrame, split: str) -> set[tuple[str, str]]:
    """Return each (candidate id, language) of table TOP that differs significantly from the winner."""
    rows = top[
        (top["split"] == split) & top["standing"].isin(("better", "worse")) & (top["language"] != MEAN)
    ]
    return set(zip(rows["candidate_id"], rows["language"], strict=True))


def by_n_layers(gridsearch: pd.DataFrame) -> pd.DataFrame:
    """Return best and median dev micro-F1 (mean over targets): n_layers, which (best, median), f1, n."""
    groups = (
        searched(gridsearch).dropna(subset=["dev_f1_micro_mean"]).groupby("n_layers")["dev_f1_micro_mean"]
    )
    return pd.DataFrame(
        [
            {"n_layers": n_layers, "which": which, "f1": value, "n": len(scores)}
            for n_layers, scores in groups
            for which, value in (("best", scores.max()), ("median", scores.median()))
        ],
        columns=["n_layers", "which", "f1", "n"],
    )


def confusion_of(confusion: pd.DataFrame, *, rank: int = 1, split: str = "test") -> pd.DataFrame:
    """Return one candidate's matrices: columns language, label, predicted, n, share (of its true label)."""
    cells = confusion[(confusion["rank"] == rank) & (confusion["split"] == split)]
    cells = cells[["language", "label", "predicted", "n"]].reset_index(drop=True)
    totals = cells.groupby(["language", "label"])["n"].transform("sum")
    cells["share"] = (cells["n"] / totals.where(totals > 0)).fillna(0.0)
    return cells


def accuracies(cells: pd.DataFrame) -> pd.DataFrame:
    """Return the accuracy of each language from its confusion matrix, and that of its most frequent label.

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


def drawn_apart(languages: Sequence[str], scores: Mapping[str, float], source_language: str) -> list[str]:
    """Return the languages that have a panel of their own: all, or of many the source and the lowest."""
    if len(languages) <= MOST_PANELS:
        return list(languages)
    lowest = sorted((name for name in languages if name != source_language), key=lambda name: scores[name])
    kept = {source_language, *lowest[:LOWEST]}
    return [name for name in languages if name in kept]


def confused_pairs(cells: pd.DataFrame, n: int) -> pd.DataFrame:
    """Return the n most frequent confusions of one language's matrix (`confusion_of`), in this order."""
    wrong = cells[(cells["label"] != cells["predicted"]) & (cells["n"] > 0)]
    by = {"n": False, "share": False, "label": True, "predicted": True}
    return wrong.sort_values(list(by), ascending=list(by.values())).head(n)


def label_scores(cells: pd.DataFrame) -> pd.DataFrame:
    """Return precision, recall and F1 of each label of one language's matrix, the lowest F1 first.

    Returns
    -------
    DataFrame
        label, precision, recall, f1 (shares; 0 where they are undefined), n_texts.
    """
    right = cells[cells["label"] == cells["predicted"]].groupby("label")["n"].sum()
    true, given = cells.groupby("label")["n"].sum(), cells.groupby("predicted")["n"].sum()
    frame = pd.DataFrame({"right": right, "true": true, "given": given}).fillna(0)
    frame = frame[frame["true"] > 0]
    scores = pd.DataFrame(
        {
            "precision": frame["right"] / frame["given"].where(frame["given"] > 0),
            "recall": frame["right"] / frame["true"],
            "f1": 2 * frame["right"] / (frame["true"] + frame["given"]),
            "n_texts": frame["true"].astype("int64"),
        }
    ).fillna(0.0)
    return scores.rename_axis("label").reset_index().sort_values(["f1", "label"], ignore_index=True)


def epoch_ends(finetune: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return dev accuracy at the end of every epoch: columns system, seed, epoch, language, accuracy.

    Language `mean` is the mean over the target languages, where there are any; evaluations within an epoch
    are left out.
    """
    first = finetune.groupby(["system", "seed", "epoch"])["step"].transform("min")  # the others are within
    ends = finetune[(finetune["split"] == "dev") & (finetune["step"] == first)]
    dev = ends[["system", "seed", "epoch", "language", "accuracy"]]
    targets = dev[dev["language"] != source_language]
    means = targets.groupby(["system", "seed", "epoch"], as_index=False)["accuracy"].mean()
    ends_and_means: pd.DataFrame = pd.concat([dev, means.assign(language=MEAN)], ignore_index=True)
    return ends_and_means


def training_curves(finetune: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return dev accuracy by epoch over the seeds.

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
    everything = epoch_ends(finetune, source_language)
    over_seeds = everything.groupby(["system", "epoch", "language"])["accuracy"]
    curves: pd.DataFrame = over_seeds.agg(["mean", "min", "max", "size"]).reset_index()
    return curves.rename(columns={"mean": "accuracy", "min": "low", "max": "high", "size": "n_seeds"})


def dev_sample(finetune: pd.DataFrame) -> dict[str, int] | None:
    """Return how many dev texts of a language trainings were scored on, n, and of how many; None: of all."""
    drawn = finetune[finetune["sample_of"].notna()]
    if drawn.empty:
        return None
    return {"n": int(drawn["n_texts"].max()), "of": int(drawn["sample_of"].max())}


def freeze_events(freezing: pd.DataFrame) -> pd.DataFrame:
    """Return distinct freeze events over the seeds: columns system, epoch, layers, reason, n_seeds."""
    keys = ["system", "epoch", "layers", "reason"]
    return freezing.groupby(keys)["seed"].nunique().rename("n_seeds").reset_index()


def corpus_counts(corpus: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return corpus counts by language and split, labels summed up.

    Returns
    -------
    DataFrame
        Columns language, split, n_texts, n_distinct, tokens_max, those of `SHARES` (not a number where there
        is nothing to have a share of) and one column `label: <name>` per label with its number of texts.
    """
    rows = []
    order = {split: place for place, split in enumerate(("train", "dev", "test"))}
    for (language, split), part in corpus.groupby(["language", "split"]):
        row = {"language": language, "split": split}
        row |= {name: int(part[name].sum()) for name in ("n_texts", "n_distinct")}
        row["tokens_max"] = int(part["tokens_max"].max())
        for name, whole in SHARES.items():
            total = part[whole].sum()
            row[name] = float((part[name] * part[whole]).sum() / total) if total else float("nan")
        row |= {f"label: {label}": n for label, n in zip(part["label"], part["n_texts"], strict=True)}
        rows.append(row)
    rows.sort(key=lambda row: (row["language"] != source_language, row["language"], order[str(row["split"])]))
    counts = pd.DataFrame(rows)
    return counts.fillna(dict.fromkeys(counts.columns[counts.columns.str.startswith("label: ")], 0))


def label_shares(corpus: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Return the distribution of the labels in each language and split.

    Returns
    -------
    DataFrame
        Columns split (train, dev, test in this order), language (source first), label, n_texts, share; a row
        for every label, also where there are no texts of it.
    """
    counts = corpus_counts(corpus, source_language)
    labels = sorted(corpus["label"].unique())
    rows = [
        {
            "split": split,
            "language": row["language"],
            "label": label,
            "n_texts": int(row[f"label: {label}"]),
            "share": row[f"label: {label}"] / max(row["n_texts"], 1),
        }
        for split in ("train", "dev", "test")
        for row in counts[counts["split"] == split].to_dict("records")
        for label in labels
    ]
    return pd.DataFrame(rows)


def standings(rows: pd.DataFrame) -> dict[str, int]:
    """Count how many of the best are better than the winner, tied with it or worse, the winner left out.

    Parameters
    ----------
    rows : DataFrame
        Rows of table TOP of one split and language.
    """
    others = rows.loc[rows["rank"] > 1, "standing"]
    return {standing: int((others == standing).sum()) for standing in STANDINGS}


def told(counts: Mapping[str, int]) -> str:
    """Write standings in words: 4 better, 6 tied, 9 worse."""
    return ", ".join(f"{n} {standing}" for standing, n in counts.items())


def near_chance(top: pd.DataFrame, source_language: str) -> pd.DataFrame:
    """Find the languages in which the winner is near chance.

    Chance is the share of the most frequent label of the language and split. A classifier that learned
    nothing reaches it by always giving that label; it is never below the uniform rate, one over the number of
    labels, which guessing reaches.

    Parameters
    ----------
    top : DataFrame
        Rows of table TOP.
    source_language : str
        The language with training labels.

    Returns
    -------
    DataFrame
        The winner's rows of single languages near chance, with a column `alarm`: whether the source language
        is fine in that split, so that it is the transfer which failed, not the training. A source language
        that is near chance itself has a row too.
    """
    winner = top[(top["rank"] == 1) & (top["language"] != "mean")]
    above = winner["score"] - winner["chance"]
    source = winner["language"] == source_language
    fine = set(winner.loc[source & (above >= FINE - _ROUNDING), "split"])
    near = winner[above <= NEAR + _ROUNDING]
    return near.assign(alarm=near["split"].isin(fine))
