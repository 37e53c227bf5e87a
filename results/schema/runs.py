"""The tables of whole runs: settings and headline scores of each, and the conclusions tested on one.

python -m mcbert.results.dictionary > results/README.md
"""

from __future__ import annotations

from mcbert.results.column import Table, count, difference, made_by, share, stamp, text
from mcbert.results.schema.words import PROTOCOLS

RUNS = Table(
    file_name="runs*.csv",
    meaning="All runs with their headline scores: `python -m mcbert runs --csv FILE`. In groups of the same "
    "`test_texts` and `languages`, in each the best winner on dev first; scores of two groups, or of unlike "
    "protocols, are no ranking.",
    row="a run",
    key=("run",),
    columns=(
        text("corpus", "file or folder that the corpus was made of; empty where not known", nullable=True),
        text(
            "test_texts",
            "first 12 digits of a SHA-256 of ids, languages and labels of the test texts: runs that share it "
            "were tested on the same; empty where not known: such runs compare with none",
            nullable=True,
        ),
        text("languages", "target languages that were scored, separated by blanks", nullable=True),
        text("protocol", "how the search chose, as elsewhere", PROTOCOLS, nullable=True),
        text("winner", "id of the search's winner; empty without a search", nullable=True),
        count("n_candidates", "candidates fitted and scored", nullable=True),
        share(
            "winner_dev",
            "its dev micro-F1, mean over the targets, else of the source language",
            nullable=True,
        ),
        share(
            "winner_test",
            "its test micro-F1, mean over the targets, else of the source language",
            nullable=True,
        ),
        share("winner_test_low", "lower end of the 95% bootstrap interval of `winner_test`", nullable=True),
        share("winner_test_high", "upper end of it", nullable=True),
        share("baseline", "test accuracy of the fine-tuned baseline, mean over the targets", nullable=True),
        share("mcbert", "the same of mcbert", nullable=True),
        share("mcbert_wf", "the same of mcbert with freezing", nullable=True),
        difference("mcbert_versus_baseline", "`mcbert` minus `baseline`, on the same texts"),
        difference("mcbert_versus_baseline_low", "lower end of its paired 95% bootstrap interval"),
        difference("mcbert_versus_baseline_high", "upper end of it"),
        text(
            "deploy",
            "folder of the model to deploy, by the run's deploy.json: best on dev; followed by the command "
            "that makes it where it is not there yet; empty where none is named",
            nullable=True,
        ),
        text("stages", "stages that are finished, in their order, separated by blanks", nullable=True),
        text("finished", "when the last of them was, UTC, as YYYY-MM-DDTHH:MM:SSZ", nullable=True),
        text("problem", "why tables of the run could not be read; empty where all could", nullable=True),
        *made_by(nullable=True),
    ),
)

SUPPORTED, NOT_SUPPORTED, NOT_TESTED = "supported", "not supported", "not tested here"
VERDICTS = (SUPPORTED, NOT_SUPPORTED, NOT_TESTED)

CONCLUSIONS = Table(
    file_name="conclusions.csv",
    meaning="The eight conclusions of the MC-BERT paper, tested on this run. What is compared was chosen on "
    "dev or fixed in advance; test labels choose nothing.",
    row="a comparison that a claim predicts",
    key=("number", "comparison"),
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
            "effect_low", "lower end of its 95% interval: paired bootstrap over texts, Student's t over seeds"
        ),
        difference("effect_high", "upper end of it"),
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
