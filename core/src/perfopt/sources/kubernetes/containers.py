"""Containers as a template states them: resources, command line, variables; no secrets. Pure."""

import math
from collections.abc import Iterable

import msgspec

from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.domain.workload import Container, InitRequest
from perfopt.errors import InvalidInputError
from perfopt.sources.kubernetes.objects import (
    ContainerSpec,
    PodSpec,
    ResourceReference,
    ValueFrom,
    VariablesFrom,
)
from perfopt.sources.kubernetes.secrecy import kept_arguments, kept_env, looks_secret

ANY = "*"
_LIMITS = {"limits.cpu": "cpu_limit_cores", "limits.memory": "memory_limit_bytes"}
_REQUESTS = {"requests.cpu": "cpu_request_cores", "requests.memory": "memory_request_bytes"}


def containers_of(spec: PodSpec) -> tuple[Container, ...]:
    """Returns the regular containers and the native sidecars; other init containers do not count."""
    sidecars = [one for one in spec.init_containers if one.restart_policy == "Always"]
    sized = {one.name: _sized(one) for one in (*spec.containers, *sidecars)}
    return tuple(
        _with_variables(one, sized, sidecar=sidecar)
        for sidecar, group in ((False, spec.containers), (True, sidecars))
        for one in group
    )


def init_request(spec: PodSpec) -> InitRequest | None:
    """Returns the most that is reserved while init containers run: each beside the sidecars before it."""
    cpu, memory, sidecar_cpu, sidecar_memory = 0.0, 0, 0.0, 0
    for one in spec.init_containers:
        sized = _sized(one)
        own = sized.cpu_request_cores or sized.cpu_limit_cores or 0.0
        bytes_own = sized.memory_request_bytes or sized.memory_limit_bytes or 0
        if one.restart_policy == "Always":
            sidecar_cpu, sidecar_memory = sidecar_cpu + own, sidecar_memory + bytes_own
        else:
            cpu, memory = max(cpu, own + sidecar_cpu), max(memory, bytes_own + sidecar_memory)
    return InitRequest(cpu_cores=cpu, memory_bytes=memory) if cpu or memory else None


def _sized(spec: ContainerSpec) -> Container:
    requests, limits = spec.resources.requests, spec.resources.limits
    return Container(
        name=spec.name,
        image=spec.image,
        cpu_request_cores=_cpu(requests.get("cpu")),
        cpu_limit_cores=_cpu(limits.get("cpu")),
        memory_request_bytes=_memory(requests.get("memory")),
        memory_limit_bytes=_memory(limits.get("memory")),
        command=kept_arguments(spec.command),
        args=kept_arguments(spec.args),
    )


def _with_variables(spec: ContainerSpec, sized: dict[str, Container], *, sidecar: bool) -> Container:
    """Adds the variables: those with values, and of the others where they come from."""
    values: dict[str, str] = {}
    elsewhere: dict[str, str] = {}
    for variable in spec.env:
        source = variable.value_from
        if source is None:
            values[variable.name] = variable.value
            elsewhere.pop(variable.name, None)
            continue
        elsewhere[variable.name] = _place(source)
        values.pop(variable.name, None)
        if source.resource_field_ref is not None:
            reference = source.resource_field_ref
            value = _resource(reference, sized.get(reference.container_name or spec.name))
            values |= {} if value is None else {variable.name: value}
    if spec.env_from:
        elsewhere[ANY] = _places(spec.env_from)
    return _replaced(sized[spec.name], kept_env(values), elsewhere, sidecar=sidecar)


def _replaced(
    container: Container, env: dict[str, str], elsewhere: dict[str, str], *, sidecar: bool
) -> Container:
    shown = {name: place for name, place in elsewhere.items() if not looks_secret(name)}
    return msgspec.structs.replace(container, env=env, env_elsewhere=shown, sidecar=sidecar)


def _place(source: ValueFrom) -> str:
    """Names where a variable's value comes from."""
    if source.config_map_key_ref is not None:
        return f"key {source.config_map_key_ref.key} of ConfigMap {source.config_map_key_ref.name}"
    if source.secret_key_ref is not None:
        return f"Secret {source.secret_key_ref.name}"
    if source.field_ref is not None:
        return f"the pod's field {source.field_ref.field_path}"
    if source.resource_field_ref is not None:
        return f"the container's {source.resource_field_ref.resource}"
    return "a place that perfopt does not know"


def _places(sources: Iterable[VariablesFrom]) -> str:
    named = []
    for source in sources:
        if source.config_map_ref is not None:
            named.append(f"ConfigMap {source.config_map_ref.name}")
        if source.secret_ref is not None:
            named.append(f"Secret {source.secret_ref.name}")
    return ", ".join(named) or "a place that perfopt does not know"


def _resource(reference: ResourceReference, container: Container | None) -> str | None:
    """Returns what the kubelet sets a variable to: the amount over the divisor, rounded up.

    A limit that is not set is the node's size, which is not known here.
    """
    field = (_LIMITS | _REQUESTS).get(reference.resource)
    amount = None if container is None or field is None else getattr(container, field)
    if amount is None:
        return None
    parsed = _cpu(reference.divisor) if reference.resource.endswith("cpu") else _memory(reference.divisor)
    return str(math.ceil(amount / (parsed or 1)))


def _cpu(text: str | float | None) -> float | None:
    try:
        return None if text is None else parse_cpu(str(text))
    except InvalidInputError:
        return None


def _memory(text: str | float | None) -> int | None:
    try:
        return None if text is None else parse_memory(str(text))
    except InvalidInputError:
        return None
