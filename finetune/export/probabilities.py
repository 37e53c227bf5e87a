"""What a card says of a model's probabilities: how they came about, and how far they can be trusted.

python -m pytest tests/finetune/export/test_candidate.py
"""

from __future__ import annotations

from mcbert.finetune.calibration import Calibration
from mcbert.finetune.export.markdown import table


def describe_probabilities(formula: str, calibration: Calibration | None) -> str:
    """Return the section on probabilities, Markdown.

    Parameters
    ----------
    formula : str
        What they are, with ``T`` for the temperature.
    calibration : Calibration or None
        None where the source language had no dev texts.
    """
    if calibration is None:
        return (
            f"{formula}, T = 1. Not calibrated: there were no dev texts of the source language to fit T to. "
            "They say nothing of how often the model is right."
        )
    rows = [
        [f"{threshold:.1f}", f"{answered:.3f}", f"{right:.3f}" if answered else "-"]
        for threshold, answered, right in calibration.abstaining
    ]
    return (
        f"{formula}, T = {calibration.temperature:.6g}, fitted to the {calibration.n_texts} dev texts of the "
        f"source language. On them the expected calibration error is {calibration.before:.3f} with T = 1 and "
        f"{calibration.after:.3f} with this T. In other languages, and of texts unlike these, the model may "
        "be surer than it should.\n\n"
        "What `predict --abstain` of a threshold would label of these dev texts:\n\n"
        f"{table(['threshold', 'texts labelled', 'of these right'], rows).rstrip()}"
    )
