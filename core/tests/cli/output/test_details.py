"""What `--verbose` says of costs."""

import msgspec
import pytest

from perfopt.cli.output.details import details
from perfopt.cli.output.terminal import TerminalScreen
from perfopt.domain.recommendation import AnalysisResult
from perfopt.testing import make_recommendation


@pytest.mark.parametrize(
    ("after", "percent", "said"),
    [(60.0, 40.0, "40.0 % saved"), (150.0, -50.0, "50.0 % dearer"), (100.0, 0.0, "0.0 % saved")],
)
def test_a_dearer_state_is_not_called_a_saving(after, percent, said):
    made = make_recommendation(cost_reduction_percent=percent)
    made = msgspec.structs.replace(made, monthly_cost_current=100.0, monthly_cost_recommended=after)
    result = AnalysisResult(
        service_name=made.service_name,
        workload=made.workload,
        recommendations=(made,),
        declined=(),
        warnings=(),
    )
    shown = " ".join(details([result], TerminalScreen()).split())
    assert f"100.00 → {after:.2f}" in shown
    assert said in shown
    assert "-" not in said
    assert "% saved" not in shown.replace(said, "")
