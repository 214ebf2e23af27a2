"""Background tasks go on after any error, and it shows which of them fail."""

import asyncio

import pytest
from prometheus_client import REGISTRY
from structlog.testing import capture_logs

from perfopt.errors import UnavailableError
from perfopt_api import supervision
from perfopt_api.supervision import BackgroundTask, TaskSupervisor


class Task(BackgroundTask):
    name = "under_test"
    pause_seconds = 0.001

    def __init__(self, *errors):
        self.errors = list(errors)
        self.rounds = 0
        self.done = asyncio.Event()
        self.go_on = asyncio.Event()

    async def round(self):
        self.rounds += 1
        if self.errors:
            raise self.errors.pop(0)
        self.done.set()
        await self.go_on.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_BACKOFF_SECONDS", 0.001)


def metric(name, **labels):
    return REGISTRY.get_sample_value(name, {"task": "under_test"} | labels) or 0.0


async def until(task):
    async with asyncio.timeout(5):
        await task.done.wait()


@pytest.mark.parametrize(
    ("error", "kind"), [(ZeroDivisionError("x"), "unexpected"), (UnavailableError("Away."), "unavailable")]
)
async def test_a_task_goes_on_after_an_error_which_is_counted(error, kind):
    before = metric("perfopt_background_failures_total", kind=kind)
    task = Task(error, error)
    supervisor = TaskSupervisor((task,))
    with capture_logs() as logs:
        async with supervisor.running():
            await until(task)
            assert task.rounds == 3
            task.go_on.set()
            async with asyncio.timeout(5):
                while supervisor.failing:
                    await asyncio.sleep(0.001)
    assert metric("perfopt_background_failures_total", kind=kind) == before + 2
    assert metric("perfopt_background_failing") == 0
    assert logs[-1]["event"] == "background_task_recovered"


async def test_a_task_that_fails_is_named_with_its_reason():
    task = Task(*[UnavailableError("PostgreSQL is away.")] * 1000)
    supervisor = TaskSupervisor((task,))
    async with supervisor.running(), asyncio.timeout(5):
        while not supervisor.failing:
            await asyncio.sleep(0.001)
        assert supervisor.failing == {"under_test": "PostgreSQL is away."}
        assert metric("perfopt_background_failing") == 1


async def test_one_that_fails_for_ever_leaves_the_others_alone():
    bad, good = Task(*[ValueError("bad")] * 1000), Task()
    good.go_on.set()
    good.name = "other"
    async with TaskSupervisor((bad, good)).running(), asyncio.timeout(5):
        while good.rounds < 20:
            await asyncio.sleep(0.001)


def test_the_backoff_doubles_up_to_a_minute_and_five_seconds_for_outages(monkeypatch):
    monkeypatch.setattr(supervision, "FIRST_BACKOFF_SECONDS", 0.5)
    unexpected = [supervision._backoff(ValueError(), number) for number in (1, 2, 3, 8, 2000)]
    assert unexpected == [0.5, 1.0, 2.0, 60.0, 60.0]
    outage = [supervision._backoff(UnavailableError("x"), number) for number in (1, 2, 9)]
    assert outage == [0.5, 1.0, 5.0]
