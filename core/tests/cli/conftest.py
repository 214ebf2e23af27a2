import contextlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.testing import CliRunner

from perfopt.cli.main import cli
from perfopt.domain.enums import DeclineCode, OptimizationType
from perfopt.domain.recommendation import (
    AnalysisResult,
    AnalysisWarning,
    ConfidenceDetail,
    Declined,
    Evidence,
    ReplayWindow,
)
from perfopt.testing import make_recommendation

END = datetime(2026, 11, 8, tzinfo=UTC)


@pytest.fixture
def run():
    """Runs the command line in this process: run("analyze", ...) gives exit_code, stdout, stderr."""

    def invoke(*arguments, env=None):
        clean = {"COLUMNS": None, "NO_COLOR": None, **(env or {})}
        return CliRunner().invoke(cli, [str(a) for a in arguments], env=clean, prog_name="perfopt")

    return invoke


@pytest.fixture
def traces():
    """Real samples of three services."""
    return Path(__file__).parents[1] / "data" / "bitbrains_three_vms.parquet"


def _recommendation(service, no_change_needed=False):
    current = {
        "cpu_request": "2",
        "memory_request": "1Gi",
        "cpu_limit": "2",
        "replicas": 1,
        "containers": {"main": {"cpu_request": "2", "memory_request": "1Gi", "cpu_limit": "2"}},
    }
    smaller = {**current["containers"]["main"], "cpu_request": "300m"}
    recommended = {**current, "cpu_request": "300m", "containers": {"main": smaller}}
    return make_recommendation(
        recommendation_id="opt_20261108_001",
        service_name=service,
        description="Lower the CPU request from 2 to 300m.",
        current_state=current,
        recommended_state=current if no_change_needed else recommended,
        cost_reduction_percent=0.0 if no_change_needed else 62.4,
        confidence=0.874,
        workload=service,
        plugin="resource/quantile",
        made_at=END,
        valid_until=END + timedelta(days=7),
        no_change_needed=no_change_needed,
        confidence_detail=ConfidenceDetail(
            n_effective=2.0, accurate_share=1.0, prior=0.9, prior_strength=2.0, prior_source="measured"
        ),
        evidence=Evidence(
            windows=tuple(
                ReplayWindow(made_at=END, scored_until=END, outcome=outcome, accurate=accurate)
                for outcome, accurate in (
                    ("accurate", True),
                    ("inaccurate", False),
                    ("accurate", True),
                    ("declined", None),
                )
            )
        ),
        price_book="onprem",
        currency="EUR",
        monthly_cost_current=100.0,
        monthly_cost_recommended=100.0 if no_change_needed else 37.6,
    )


def _result(service, made=(), declined=(), warnings=()):
    return AnalysisResult(
        service_name=service,
        workload=service,
        recommendations=tuple(made),
        declined=tuple(declined),
        warnings=tuple(warnings),
    )


@pytest.fixture
def recommendation():
    """Makes a recommendation: recommendation(service, no_change_needed=False)."""
    return _recommendation


@pytest.fixture
def result():
    """Makes a result: result(service, made, declined, warnings)."""
    return _result


@pytest.fixture
def answers(monkeypatch):
    """Puts given answers in the place of the analysis: answers(item, ...); returns what was asked."""

    def put(*items):
        asked = {}

        async def analyze_fleet(source, engine, names, *, expect, **question):
            asked.update(question, source=source.name, names=names)
            expect(len(items))
            for item in items:
                yield item

        engine = type("NoEngine", (), {"processes": 1})()
        monkeypatch.setattr("perfopt.analysis.analyze_fleet", analyze_fleet)
        monkeypatch.setattr("perfopt.engine.Engine.open", lambda config: contextlib.nullcontext(engine))
        return asked

    return put


DECLINED = Declined(
    optimization_type=OptimizationType.COST_OPTIMIZATION,
    code=DeclineCode.NO_STRATEGY,
    reason="No installed plugin makes COST_OPTIMIZATION.",
)


@pytest.fixture
def fleet(answers, recommendation, result):
    """Answers of three services: a change, no change, and an abstention with a warning."""
    return answers(
        result("web", [recommendation("web")], [DECLINED]),
        result("db", [recommendation("db", no_change_needed=True)], [DECLINED]),
        result("api", [], [DECLINED], [AnalysisWarning(code="short_history", message="2d of history.")]),
    )
