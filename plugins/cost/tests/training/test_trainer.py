import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files

import numpy as np
import pytest

from perfopt.plugin import Container, InvalidInputError, ServiceClass, TrainingRequest, WorkloadState
from perfopt.testing import make_context, make_snapshot
from perfopt_cost.calibration import shipped_calibration
from perfopt_cost.kind import CostKind
from perfopt_cost.strategy import CostStrategy
from perfopt_cost.training.trainer import CostOptions, CostTrainer

DAY = 288
REQUEST = TrainingRequest(
    name="test",
    version="1",
    command="none",
    options=CostOptions(),
    trained_until=datetime(2026, 3, 1, tzinfo=UTC),
)


def history(number, days=35, restless=0.1):
    rng = np.random.default_rng(number)
    shape = 1 + 0.5 * np.sin(np.arange(days * DAY) / DAY * 2 * np.pi)
    peaks = np.repeat(np.exp(rng.normal(0, restless, days)), DAY)
    cpu = 0.3 * shape * peaks * rng.uniform(0.8, 1.2, shape.size)
    memory = 2e9 * peaks * rng.uniform(0.95, 1.05, shape.size)
    return make_snapshot({"main": {"cpu_cores": cpu, "memory_bytes": memory}}, name=f"svc-{number:02d}")


@pytest.fixture(scope="module")
def examples():
    trainer = CostTrainer()
    snapshots = [history(number, restless=0.05 if number % 2 else 0.3) for number in range(12)]
    return [one for snapshot in snapshots for one in trainer.examples(snapshot)]


@pytest.fixture(scope="module")
def trained(examples):
    return CostTrainer().train(examples, REQUEST)


def test_a_trained_file_is_a_model_whose_bounds_hold_as_often_as_it_says(trained):
    card = CostKind().check(trained.content)
    assert (card["name"], card["services"], card["trained_until"]) == ("test", 12, "2026-03-01T00:00:00Z")
    read = CostKind().load(trained.content)
    assert set(read.cpu) == set(ServiceClass)
    assert 0.5 < read.cpu[ServiceClass.STANDARD].held <= 1
    assert trained.figures["prior"] == read.prior.mean


def test_critical_services_have_the_higher_bounds(trained):
    read = CostKind().load(trained.content)
    values = np.random.default_rng(5).uniform(0.2, 0.4, (1, 14 * DAY))
    batch, critical = (read.cpu[kind].bound(values, 7 * DAY).value for kind in ("batch", "critical"))
    assert 0.2 < batch < critical


def test_the_same_examples_give_the_same_bytes(examples, trained):
    assert CostTrainer().train(examples, REQUEST).content == trained.content


def test_too_few_services_are_refused_with_how_many_are_needed(examples):
    with pytest.raises(InvalidInputError, match=r"9 services have enough history .* 10 are needed"):
        CostTrainer().train(examples[:9], REQUEST)


def roomy():
    state = WorkloadState(
        containers=(Container(name="main", cpu_request_cores=4.0, memory_request_bytes=2**35),), replicas=2
    )
    snapshot = history(3, days=14)
    used = {name: series.values for name, series in snapshot.containers["main"].items()}
    return make_context(make_snapshot({"main": used}, state=state))


def test_a_given_model_bounds_and_states_its_own_prior(trained):
    context = roomy()
    shipped = CostStrategy().propose(context)
    given = CostStrategy().propose(replace(context, models={"cost": trained.content}))
    general = CostKind().load(trained.content).prior
    assert given.prior.source.endswith(general.source)
    assert shipped.prior.source.endswith(shipped_calibration().prior.source)
    assert given.prior.strength == general.strength
    assert given.target != shipped.target


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("cpu"),
        lambda data: data["cpu"].pop("batch"),
        lambda data: data["memory"]["shared"].update(scale=[0.0] * 6),
        lambda data: data["memory"]["shared"].update(centre=[1.0]),
        lambda data: data["cpu"]["batch"].update(intercept="many"),
        lambda data: data["prior"].update(mean=2.0),
        lambda data: data["cpu"]["batch"].update(confidence=[1.0]),
        lambda data: data["memory"]["critical"].update(confidence=[float("nan")] * 10),
    ],
)
def test_other_content_is_refused(trained, change):
    data = json.loads(trained.content)
    change(data)
    with pytest.raises(InvalidInputError, match="perfopt train --what cost"):
        CostKind().check(json.dumps(data).encode())


def test_a_file_without_confidence_states_its_prior_as_it_is(trained):
    data = json.loads(trained.content)
    for resource in ("cpu", "memory"):
        for kind in ServiceClass:
            data[resource][kind.value].pop("confidence")
    content = json.dumps(data).encode()
    given = CostStrategy().propose(replace(roomy(), models={"cost": content}))
    assert given.prior == CostKind().load(content).prior


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"[]", b"{}"])
def test_what_is_no_json_of_bounds_is_refused(content):
    with pytest.raises(InvalidInputError, match="holds no bounds"):
        CostKind().check(content)


def test_the_shipped_file_is_such_a_model():
    assert CostKind().check((files("perfopt_cost") / "calibration.json").read_bytes()) is not None
    assert shipped_calibration().cpu[ServiceClass.BATCH].usable
