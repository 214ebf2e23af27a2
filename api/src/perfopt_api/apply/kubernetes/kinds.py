"""Finds how a custom kind of workload is reached, by the discovery of the API."""

import asyncio

from perfopt_api.apply.kubernetes.access import WorkloadKind
from perfopt_api.apply.kubernetes.client import ApiError, KubernetesRequests
from perfopt_api.apply.refusals import ChangeRefusedError, WorkloadGoneError


async def find_kind(requests: KubernetesRequests, api_version: str, kind: str) -> WorkloadKind:
    """Returns the kind of that name that has a scale subresource.

    Args:
        requests: reach the API.
        api_version: such as example.com/v1; "" looks into every group, at the version that it prefers.
        kind: its case does not matter.

    Raises:
        WorkloadGoneError: the server has no such kind, or it has no scale subresource.
        ChangeRefusedError: two groups have a kind of that name.
    """
    versions = [api_version] if api_version else await _preferred(requests)
    looked = await asyncio.gather(*(_scalable(requests, version, kind) for version in versions))
    found = [each for each in looked if each is not None]
    if not found:
        where = api_version or "The Kubernetes API"
        raise WorkloadGoneError(
            f"{where} has no workload {kind} with a scale subresource.",
            remedy="Name a workload that can be scaled.",
        )
    if len(found) > 1:
        groups = " and ".join(sorted(each.group for each in found))
        raise ChangeRefusedError(
            f"Several groups have a kind {kind}: {groups}.",
            remedy="Change the object by hand; the recommendation shows the sizes.",
        )
    return found[0]


async def _preferred(requests: KubernetesRequests) -> list[str]:
    groups = (await requests.send("GET", "/apis")).get("groups", ())
    return [group["preferredVersion"]["groupVersion"] for group in groups]


async def _scalable(requests: KubernetesRequests, api_version: str, kind: str) -> WorkloadKind | None:
    group, _, version = api_version.rpartition("/")
    try:
        found = await requests.send("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
    except (WorkloadGoneError, ApiError):  # the server behind an aggregated group may be away
        return None
    names = {each["name"]: each["kind"] for each in found.get("resources", ())}
    for plural, named in names.items():
        if named.lower() == kind.lower() and f"{plural}/scale" in names:
            return WorkloadKind(group, version, plural, named, built_in=False)
    return None
