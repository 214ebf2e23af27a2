from dataclasses import replace
from datetime import timedelta

import msgspec
import numpy as np
import pytest

from perfopt.config.loading import Config
from perfopt.domain.price import DEFAULT_PRICE_BOOK, HOURS_PER_MONTH
from perfopt.engine.engine import Engine
from perfopt.engine.hours import book_of_hours, hours_reason, running_share
from perfopt.testing import make_snapshot

DAY = 288


def job(kind="CronJob", running=None):
    made = make_snapshot({"main": {"cpu_cores": np.full(8 * DAY, 0.1)}})
    identity = msgspec.structs.replace(made.workload.id, kind=kind)
    return replace(made, workload=msgspec.structs.replace(made.workload, id=identity), running=running)


@pytest.fixture
def nightly():
    """Runs in the first 3 hours of each day but the first two."""
    hours = np.arange(8 * DAY) % DAY < 36
    hours[: 2 * DAY] = False
    return hours


@pytest.mark.parametrize("kind", ["CronJob", "Job"])
def test_a_job_is_priced_for_the_hours_in_which_it_runs(nightly, kind):
    snapshot = job(kind, nightly)
    assert running_share(snapshot) == pytest.approx(1 / 8)
    state = snapshot.workload.state
    full = DEFAULT_PRICE_BOOK.monthly_cost(state)
    assert book_of_hours(DEFAULT_PRICE_BOOK, snapshot).monthly_cost(state) == pytest.approx(full / 8)
    (reason,) = hours_reason(snapshot)
    assert reason.text.endswith("costs and savings are for 91 of the 730 hours of a month.")
    assert reason.data == {"running_share": 0.125}


@pytest.mark.parametrize(
    ("kind", "running"),
    [("Deployment", True), ("CronJob", False), ("Job", None)],
)
def test_others_are_priced_for_the_whole_month(nightly, kind, running):
    never = np.zeros(nightly.size, np.bool_)
    snapshot = job(kind, {True: nightly, False: never, None: None}[running])
    assert running_share(snapshot) == 1.0
    assert book_of_hours(DEFAULT_PRICE_BOOK, snapshot) is DEFAULT_PRICE_BOOK
    assert DEFAULT_PRICE_BOOK.hours_month == HOURS_PER_MONTH
    assert hours_reason(snapshot) == ()


def test_strategies_are_given_the_prices_of_the_running_hours(nightly):
    with Engine.open(Config()) as engine:
        context, _ = engine.context(job(running=nightly), timedelta(days=7))
    assert context.price_book.hours_month == pytest.approx(HOURS_PER_MONTH / 8)
