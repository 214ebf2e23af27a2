from datetime import UTC, datetime, timedelta

import pytest

from perfopt.backtest import EvaluatedRecommendation, ResourceUse
from perfopt.domain.enums import OptimizationType

MADE = datetime(2026, 3, 2, tzinfo=UTC)


def _use(recommended, needed, used=0.5):
    return ResourceUse(safe=recommended >= needed, recommended=recommended, needed=needed, used=used)


@pytest.fixture
def evaluated():
    """Makes a scored recommendation: evaluated("svc", cpu=(recommended, needed), memory=(...), **fields)."""

    def make(service="svc", *, policy="p", cpu=None, memory=None, week=0, **fields):
        uses = {name: _use(*given) for name, given in (("cpu", cpu), ("memory", memory)) if given is not None}
        safe = all(use.safe for use in uses.values())
        values = {
            "service": service,
            "service_class": "standard",
            "made_at": MADE + timedelta(weeks=week),
            "policy": policy,
            "optimization_type": OptimizationType.RESOURCE_OPTIMIZATION,
            "outcome": "accurate" if safe else "inaccurate",
            **uses,
            **fields,
        }
        return EvaluatedRecommendation(**values)

    return make
