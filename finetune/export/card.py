"""The README.md of an exported probe: what it is, how it decides, what its probabilities are.

python -m pytest tests/finetune/export/test_candidate.py
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mcbert.features.spec import FeatureSpec
from mcbert.finetune.calibration import Calibration
from mcbert.finetune.export.markdown import (
    PROTOCOLS,
    escaped,
    front_matter,
    is_of_hub,
    licence,
    measured,
    table,
)
from mcbert.finetune.export.probabilities import describe_probabilities

Way = Literal["linear", "pairwise", "estimator"]

_CHOICES = PROTOCOLS | {"last": "no score chooses, a single layer comes first, the deepest before the others"}
_DECISIONS: dict[Way, str] = {
    "linear": "The logits are the classifier's scores, one for each label, divided by a temperature; the "
    "largest decides.",
    "pairwise": "A machine for each pair of labels votes, as libsvm does; the logits are the votes, divided "
    "by a temperature, and the first label wins a tie. Votes are not a linear head: this model cannot be "
    "fine-tuned with labels.",
    "estimator": "scikit-learn's own object in `model.skops` (no pickle; read with skops, which builds "
    "trusted types only) decides from the pooled states that the model computes.",
}
_FORMULAS: dict[Way, str] = {
    "linear": "softmax(logits); the logits are the classifier's scores divided by T",
    "pairwise": "softmax(logits); the logits are the votes divided by T",
    "estimator": "softmax(scores / T); the scores are decision_function, or the logarithm of predict_proba",
}
_USES: dict[bool, str] = {
    True: """    import mcbert.finetune.model  # registers the class; without mcbert: trust_remote_code=True
    AutoModelForSequenceClassification.from_pretrained("THIS_FOLDER")
""",
    False: """    import mcbert.finetune.model  # registers the class
    states = AutoModel.from_pretrained("THIS_FOLDER")(**tokens).pooler_output
    skops.io.load("THIS_FOLDER/model.skops", trusted=finetune.export.estimator.TRUSTED).predict(states)
""",
}


def describe(record: Mapping[str, Any], way: Way, encoder: Path, calibration: Calibration | None) -> str:
    """Return the model card, Markdown.

    Parameters
    ----------
    record : mapping
        What winner.json holds, of this candidate.
    way : {"linear", "pairwise", "estimator"}
        How labels are decided.
    encoder : Path
        The encoder's folder, whose card may name its licence.
    calibration : Calibration or None
        Of the probabilities; None where there were no texts for it.
    """
    test = (record.get("scores") or {}).get("test_f1") or {}
    languages = [record["source_language"], *record["target_languages"]]
    test = {language: test[language] for language in languages if language in test}
    scores = table(["language", "test micro-F1"], [[name, f"{value:.3f}"] for name, value in test.items()])
    rank, protocol = record.get("rank", 1), record["protocol"]
    chosen = "the best" if rank == 1 else f"number {rank}"
    folded = "is its first step" if way == "estimator" else "is folded into the head's weights"
    front = {
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "language": languages,
        "tags": ["cross-lingual", "mcbert"],
        "metrics": ["f1"],
        "base_model": record["encoder"] if is_of_hub(encoder) else "",
        "model-index": measured(record["candidate_id"], "f1", test),
    }
    features = FeatureSpec.of(record["layers"], record["pooling"])
    return f"""{front_matter(front)}

# {escaped(record["candidate_id"])}

A classifier found by a search over a frozen encoder: pooled states of `{record["encoder"]}`, concatenated,
layers {", ".join(map(str, features.layers))} by {", ".join(features.named_poolings)}, and a
{record["classifier"]} (parameters {json.dumps(record["params"])}) whose standardisation {folded}.
The encoder's weights are the original ones, cut after the deepest layer used.

Labels: {", ".join(map(escaped, record["labels"]))}. Trained on texts in {escaped(record["source_language"])};
{chosen} of the search by the protocol {protocol}: {_CHOICES[protocol]}.

## Scores

{scores if test else "Not scored on test texts."}
## How it decides

{_DECISIONS[way]}

## Probabilities

{describe_probabilities(_FORMULAS[way], calibration)}

## Limitations

Languages that are not in the table were not measured. How sure the scores are is in the run's `top.csv`.

## Licence

{licence(record["encoder"], encoder)}

## Use

    python -m mcbert predict --model THIS_FOLDER --input texts.csv --output labels.csv

{_USES[way != "estimator"]}"""
