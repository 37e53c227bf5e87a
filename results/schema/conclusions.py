"""The table of the published conclusions, tested on a run.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.columns import Table
from mcbert.results.kinds import count, difference, share, stamp, text
from mcbert.results.schema.words import PROTOCOLS

SUPPORTED, NOT_SUPPORTED, NOT_TESTED = "supported", "not supported", "not tested here"
VERDICTS = (SUPPORTED, NOT_SUPPORTED, NOT_TESTED)

CONCLUSIONS = Table(
    file_name="conclusions.csv",
    meaning="The eight conclusions of the MC-BERT paper, tested on this run. What is compared was chosen on "
    "dev or fixed in advance; test labels choose nothing.",
    row="a comparison that a claim predicts",
    key=("run", "number", "comparison"),
    columns=(
        count("number", "the paper's number of the conclusion, 1 to 8; the fourth holds two claims", least=1),
        text("conclusion", "what is claimed, in our words"),
        text("comparison", "what was compared: the first minus the second"),
        difference(
            "effect",
            "difference of the mean accuracy (or micro-F1, which is the same with one label per text) over "
            "the target languages, signed so that above 0 speaks for the conclusion",
        ),
        difference(
            "low", "lower end of its 95% interval: paired bootstrap over texts, Student's t over seeds"
        ),
        difference("high", "upper end of it"),
        share(
            "margin",
            "what may be lost where the claim is that something is not needed or does not help: the interval "
            "must lie above minus this; 0 for the other claims",
        ),
        count("n", "of what `unit` says, how many the interval is over", least=1, nullable=True),
        text("unit", "what the interval is over: other texts, or other trainings", ("texts", "seeds"), True),
        text(
            "protocol",
            "how what is compared was chosen, as elsewhere; last where nothing was chosen",
            PROTOCOLS,
            nullable=True,
        ),
        text("split", "part of the corpus that was compared on", ("dev", "test"), nullable=True),
        text(
            "verdict",
            "supported: the interval lies above minus `margin`; not supported: it does not, see `why`; a "
            "claim is supported where every comparison that could be made supports it",
            VERDICTS,
        ),
        text("why", "why that verdict"),
        *stamp(),
    ),
)
