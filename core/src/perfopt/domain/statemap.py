"""From the state map of the REST contract back to the state that it prints."""

from collections.abc import Mapping
from typing import Any

import msgspec

from perfopt.domain.enums import Basis
from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.domain.workload import Container, HpaState, WorkloadState

_QUANTITIES = (
    ("cpu_request", "cpu_request_cores", parse_cpu),
    ("memory_request", "memory_request_bytes", parse_memory),
    ("cpu_limit", "cpu_limit_cores", parse_cpu),
    ("memory_limit", "memory_limit_bytes", parse_memory),
)
_OWN = {name for name, _, _ in _QUANTITIES} | {
    "replicas",
    "containers",
    "sidecars",
    "hpa",
    "vpa_mode",
    "keda",
    "basis",
}


def state_of_map(state: Mapping[str, Any]) -> WorkloadState:
    """Returns the state whose `to_map` gave the map, with quantities as Kubernetes stores them.

    Raises:
        msgspec.ValidationError, InvalidInputError: the map was not made by `WorkloadState.to_map`.
    """
    sidecars = state.get("sidecars", ())
    hpa = state.get("hpa")
    return WorkloadState(
        containers=tuple(
            _container(name, printed, sidecar=name in sidecars)
            for name, printed in state.get("containers", {}).items()
        ),
        replicas=state.get("replicas"),
        basis=Basis(state.get("basis", Basis.DECLARED)),
        hpa=None if hpa is None else msgspec.convert(hpa, HpaState),
        vpa_mode=state.get("vpa_mode"),
        keda=state.get("keda"),
        extra={key: value for key, value in state.items() if key not in _OWN},
    )


def _container(name: str, printed: Mapping[str, str], *, sidecar: bool) -> Container:
    values: dict[str, Any] = {
        field: parse(printed[key]) for key, field, parse in _QUANTITIES if key in printed
    }
    return Container(name=name, sidecar=sidecar, **values)
