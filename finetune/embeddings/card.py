"""What the README.md of trained sentence embeddings says of the training; the folder's writer adds the use.

python -m pytest tests/finetune/embeddings/test_running.py
"""

from __future__ import annotations

import dataclasses
import json

from mcbert.features.corpus import Corpus
from mcbert.finetune.embeddings.job import EmbeddingsJob
from mcbert.finetune.export.markdown import escaped, front_matter, is_of_hub, licence
from mcbert.finetune.training.callback import Training

SCORED = {
    "softmax": "pairs classified rightly, {guess:.3f} by guessing",
    "ranking": "premises nearer to what they entail than to what contradicts them, 0.5 by guessing",
}


def describe_embeddings(job: EmbeddingsJob, corpus: Corpus, training: Training) -> str:
    """Return the card, Markdown; every text from data is escaped."""
    chosen, settings = training.history[training.chosen], job.settings
    counts = corpus.table["split"].value_counts()
    lines = [
        f"    {name} = {json.dumps(value, ensure_ascii=False)}"
        for name, value in dataclasses.asdict(settings).items()
        if name not in ("corpus", "parallel", "seeds")
    ]
    scores = "\n".join(
        f"- {escaped(language)}: {score.accuracy:.3f} of {score.n_texts} dev examples"
        for language, score in chosen.scores.items()
    )
    frozen = ", ".join(map(str, sorted(training.history[-1].frozen))) or "none"
    scored = SCORED[settings.objective].format(guess=1 / len(corpus.labels))
    encoder = str(job.stamp["encoder"])
    front = {
        "language": list(corpus.languages),
        "base_model": encoder if is_of_hub(job.encoder) else "",
    }
    words = "the word embeddings" if settings.freeze_embeddings else "no word embeddings"
    return f"""{front_matter(front)}

# Sentence embeddings of {escaped(encoder)}

A siamese encoder trained on {counts["train"]} pairs of sentences in {escaped(corpus.source_language)}. Their
labels: {", ".join(map(escaped, corpus.labels))}; the objective: {settings.objective}.

## Training

Seed {job.seed}, epoch {chosen.epoch}, step {chosen.step}. Frozen from the start: {words}. Layers frozen in
the end: {frozen}.

{chr(10).join(lines)}

## Scores on dev

Share of {scored}:

{scores}

## Limitations

Only the languages above were trained or scored here; how near translations are in others is in the run's
`tatoeba.csv`, beside the frozen encoder's.

## Licence

{licence(encoder, job.encoder)}
"""
