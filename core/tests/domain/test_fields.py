"""The fields of a state: what is read, set, named and printed comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfopt.domain import fields
from perfopt.domain.enums import Basis
from perfopt.domain.workload import Container, HpaState, WorkloadState

MIB = 2**20

cores = st.none() | st.integers(10, 8000).map(lambda millicores: millicores / 1000)
memory = st.none() | st.integers(16, 4096).map(lambda mebibytes: mebibytes * MIB)
names = st.sampled_from(["main", "side-car", "proxy", "a_b"])
containers = st.lists(
    st.builds(
        Container,
        name=names,
        cpu_request_cores=cores,
        memory_request_bytes=memory,
        cpu_limit_cores=cores,
        memory_limit_bytes=memory,
        sidecar=st.booleans(),
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda container: container.name,
).map(tuple)
autoscalers = st.builds(
    HpaState,
    min_replicas=st.integers(1, 5),
    max_replicas=st.integers(5, 9),
    target_cpu_utilization_percent=st.none() | st.integers(10, 100),
)
extras = st.fixed_dictionaries(
    {},
    optional={
        "node_type": st.just("e2-standard-4"),
        "knobs": st.just({"main": {"GOMAXPROCS": 4, "GOGC": "off"}}),
        "knob_settings": st.just({"main": {"env": {"GOMAXPROCS": "4"}}}),
        "schedule": st.just(
            [{"start": "2026-01-05T00:00:00Z", "end": "2026-01-06T00:00:00Z", "min_replicas": 2}]
        ),
    },
)
states = st.builds(
    WorkloadState,
    containers=containers,
    replicas=st.none() | st.integers(0, 50),
    basis=st.sampled_from(list(Basis)),
    hpa=st.none() | autoscalers,
    vpa_mode=st.none() | st.just("Auto"),
    keda=st.none() | st.just("web"),
    extra=extras,
)


@given(states)
def test_printed_state_is_parsed_to_the_same_state(state: WorkloadState) -> None:
    assert fields.parse_state(state.to_map()) == state


@given(states, states)
def test_setting_the_difference_gives_the_other_state(one: WorkloadState, other: WorkloadState) -> None:
    moved = fields.with_fields(one, fields.diff(one, other))
    assert fields.all_fields(moved) == fields.all_fields(other)
    assert not fields.diff(moved, other)


@given(states)
def test_every_field_is_read_by_its_path_and_named_by_its_label(state: WorkloadState) -> None:
    for path, value in fields.all_fields(state).items():
        assert fields.get(state, path) == value
        assert fields.parse_label(fields.label(path)) == path
        assert fields.parse_value(path, fields.print_value(path, value)) == value


def test_labels_are_those_that_users_read() -> None:
    paths = {
        ("container", "main", "cpu_request_cores"): "main.cpu_request",
        ("hpa", "min_replicas"): "hpa.min_replicas",
        ("knobs", "main", "GOMAXPROCS"): "knobs.main.GOMAXPROCS",
        ("extra", "schedule"): "schedule",
    }
    assert {path: fields.label(path) for path in paths} == paths


def test_unset_fields_read_as_none() -> None:
    state = WorkloadState(containers=(Container(name="main"),))
    for path in (fields.HPA_MIN, fields.REPLICAS, fields.SCHEDULE, ("knobs", "main", "GOGC")):
        assert fields.get(state, path) is None
    assert fields.get(state, ("container", "absent", "cpu_request_cores")) is None


def test_only_named_quantities_are_left() -> None:
    main = Container(name="main", cpu_request_cores=1.0, memory_request_bytes=MIB, image="web:1")
    left = fields.only_quantities(
        WorkloadState(containers=(main,)), [("container", "main", "cpu_request_cores")]
    )
    assert left.containers == (Container(name="main", cpu_request_cores=1.0, image="web:1"),)


def test_absent_quantities_are_parsed_as_unset() -> None:
    found = fields.parse_quantities({"containers": {"main": {"cpu_request": "300m"}}})
    assert found[("container", "main", "cpu_request_cores")] == pytest.approx(0.3)
    assert found[("container", "main", "memory_limit_bytes")] is None
