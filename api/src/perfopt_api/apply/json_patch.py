"""JSON patches (RFC 6902) of Argo Rollouts, whose lists a merge patch would replace as a whole."""

from collections.abc import Iterator, Mapping
from typing import Any

from perfopt.domain.enums import Basis
from perfopt.domain.recommendation import OptimizationRecommendation
from perfopt_api.apply.patch import file_patch
from perfopt_api.apply.target import PatchTarget

Operation = dict[str, Any]

_TEMPLATE = "/spec/template/spec"
_POSITIONS = (
    "It goes by the position of the containers in the object and tests their names: where a test fails,"
    " nothing is changed, and the positions must be corrected."
)
_WHOLE = "{fields} of the pods are replaced as a whole."


def json_patch(
    recommendation: OptimizationRecommendation,
    resources: Mapping[str, Mapping[str, Any]],
    replicas: int | None,
    placement: Mapping[str, Any],
) -> list[Operation]:
    """Returns the operations that set the resources of containers, the replicas and the placement.

    Args:
        recommendation: for what is set now: `add` needs the map that it adds to.
        resources: by container, complete as recommended; null removes.
        replicas: to set; None leaves them alone.
        placement: further fields of the pod's spec.
    """
    state = recommendation.current_state
    sidecars = list(state.get("sidecars", ()))
    order = [name for name in state.get("containers", {}) if name not in sidecars]
    operations: list[Operation] = []
    for name, groups in resources.items():
        listed, names = ("initContainers", sidecars) if name in sidecars else ("containers", order)
        position = names.index(name) if name in names else len(names)
        path = f"{_TEMPLATE}/{listed}/{position}"
        operations.append({"op": "test", "path": f"{path}/name", "value": name})
        operations += _resources(f"{path}/resources", groups, _present(state, name))
    operations += (_add(f"{_TEMPLATE}/{key}", value) for key, value in placement.items())
    if replicas is not None:
        operations.append(_add("/spec/replicas", replicas))
    return operations


def json_patch_artifact(
    target: PatchTarget, operations: list[Operation], placement: Mapping[str, Any]
) -> dict[str, Any]:
    """Returns a JSON patch as a file, with the command that applies it.

    Args:
        target: the object.
        operations: of `json_patch`.
        placement: that the patch sets.
    """
    notes = [_POSITIONS]
    if placement:
        notes.append(_WHOLE.format(fields=" and ".join(placement)))
    return file_patch(
        target, operations, kind="json_patch", type_="json", what="resources", notes=tuple(notes)
    )


def _add(path: str, value: Any) -> Operation:
    return {"op": "add", "path": path, "value": value}


def _present(state: Mapping[str, Any], container: str) -> frozenset[str]:
    """Returns which maps of a container's resources are there for certain."""
    quantities = state.get("containers", {}).get(container, {})
    groups = {"requests" if name.endswith("_request") else "limits" for name in _set(quantities)}
    if state.get("basis") == Basis.ASSUMED_FROM_LIMIT:
        groups.discard("requests")
    return frozenset(groups)


def _resources(path: str, groups: Mapping[str, Any], present: frozenset[str]) -> Iterator[Operation]:
    values = {group: _set(quantities) for group, quantities in groups.items()}
    if not present:
        yield _add(path, {group: value for group, value in values.items() if value})
        return
    for group, quantities in groups.items():
        if group not in present:
            if values[group]:
                yield _add(f"{path}/{group}", values[group])
            continue
        for resource, quantity in quantities.items():
            place = f"{path}/{group}/{resource}"
            yield {"op": "remove", "path": place} if quantity is None else _add(place, quantity)


def _set(quantities: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in quantities.items() if value is not None}
