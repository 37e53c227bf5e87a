"""Settings of the report, the section `report` of a configuration."""

from __future__ import annotations

from mcbert.settings import section


@section("report")
class ReportSettings:
    """What a run's report shows beside the run's own results."""

    paper: bool = False
    """Test the conclusions of the MC-BERT paper on the run (`conclusions.csv`), and show them with published
    XNLI results. The presets do; a run on texts of one's own has little use for it."""
