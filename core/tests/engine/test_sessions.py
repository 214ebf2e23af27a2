"""A workload that names its exchange is forecast by the sessions of that exchange, known in advance."""

from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np
import pytest

from perfopt.config.loading import Config, EngineConfig
from perfopt.domain.enums import OptimizationType
from perfopt.domain.price import DEFAULT_PRICE_BOOK
from perfopt.engine import Engine, PluginRegistry
from perfopt.engine.pipeline import predict
from perfopt.engine.sessions import sessions_of
from perfopt.forecast import exchange_sessions
from perfopt.plugin import AnalysisContext
from perfopt.testing import make_snapshot

END = datetime(2026, 7, 3, tzinfo=UTC)  # the Friday on which New York rests for Independence Day
DAYS = 28
STEPS = DAYS * 288
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def traded():
    """CPU that is high while New York trades, and low otherwise."""
    start = END - timedelta(days=DAYS)
    known = exchange_sessions("XNYS", start, END).sessions.values()
    cpu = np.full(STEPS, 0.1)
    for opened, close in known:
        begin, end = (round((at - start.timestamp()) / 300) for at in (opened, close))
        cpu[max(begin, 0) : max(end, 0)] = 1.0
    return cpu * (1 + 0.02 * np.random.default_rng(3).standard_normal(STEPS))


def snapshot(cpu, calendar=None, annotations=None):
    history = make_snapshot({"main": {"cpu_cores": cpu}}, end=END)
    workload = msgspec.structs.replace(history.workload, calendar=calendar, annotations=annotations or {})
    return type(history)(
        **{name: getattr(history, name) for name in history.__slots__} | {"workload": workload}
    )


def noon(cpu, **given):
    """Returns the median predicted for 16:00 UTC of the day after, when New York trades on other days."""
    made = snapshot(cpu, **given)
    exchange = made.workload.exchange
    sessions, _ = sessions_of([exchange] if exchange else [], made.grid.start, END + DAY)
    shown = predict(AnalysisContext(made, DAY, DEFAULT_PRICE_BOOK, sessions=sessions))["main/cpu_cores"]
    return shown.quantiles["0.5"][16 * 12]


@pytest.mark.parametrize(
    "given", [{"calendar": "XNYS"}, {"annotations": {"perfopt.io/calendar": "XNYS"}}], ids=["field", "note"]
)
def test_a_holiday_is_forecast_as_one(traded, given):
    assert noon(traded) > 0.8
    assert noon(traded, **given) < 0.3


def test_what_the_services_file_says_goes_before_the_annotation(traded):
    both = snapshot(traded, calendar="XLON", annotations={"perfopt.io/calendar": "XNYS"})
    assert both.workload.exchange == "XLON"


def test_an_unknown_exchange_is_a_warning_and_no_more(traded):
    config = Config(engine=EngineConfig(processes=1, deadline_seconds=20))
    types = (OptimizationType.RESOURCE_OPTIMIZATION,)
    with Engine(PluginRegistry((), ()), config) as engine:
        result = engine.analyze(snapshot(traded, calendar="NOWHERE"), types, DAY)
    (warning,) = [one for one in result.warnings if one.code == "sessions_unknown"]
    assert "NOWHERE" in warning.message
    assert "forecasts do without them" in warning.message
