"""What a client reads to find out versions, groups and resources."""

from collections.abc import Iterable

from perfopt_api.simulated.kubernetes.http import Response
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.status import Json, no_such_path, no_such_schema

VERSION: Json = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "simulated",
    "gitTreeState": "clean",
    "buildDate": "1970-01-01T00:00:00Z",
    "goVersion": "simulated",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_ALL = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"]
_EXTRA_GROUPS = (("authorization.k8s.io", "v1"), ("authentication.k8s.io", "v1"))
_NOSNIFF = (("X-Content-Type-Options", "nosniff"),)
_REVIEWS = {
    "authorization.k8s.io": (
        "SelfSubjectAccessReview",
        "SelfSubjectRulesReview",
        "SubjectAccessReview",
    ),
    "authentication.k8s.io": ("SelfSubjectReview",),
}


def health(path: str, *, verbose: bool) -> Response:
    """`/readyz`, `/livez` and `/healthz`."""
    name = path.strip("/")
    return Response(
        200, None, _NOSNIFF, f"[+]ping ok\n[+]etcd ok\n{name} check passed\n" if verbose else "ok"
    )


def document(path: str, resources: Iterable[Resource], address: str) -> Json:
    """The discovery document at a path.

    Raises:
        StatusError: 404 in plain text.
    """
    known = list(resources)
    parts = [part for part in path.split("/") if part]
    match parts:
        case ["version"]:
            return VERSION
        case ["api"]:
            client = {"clientCIDR": "0.0.0.0/0", "serverAddress": address}
            return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [client]}
        case ["apis"]:
            listed = [group(name, known) for name in sorted(groups(known))]
            return {"kind": "APIGroupList", "apiVersion": "v1", "groups": listed}
        case ["api", "v1"]:
            return resource_list("", "v1", known)
        case ["apis", name] if name in groups(known):
            return {"kind": "APIGroup", "apiVersion": "v1"} | group(name, known)
        case ["apis", name, version] if version in groups(known).get(name, ()):
            return resource_list(name, version, known)
        case ["openapi", "v3"]:
            paths = ["api/v1", *(f"apis/{n}/{v}" for n, vs in groups(known).items() for v in vs)]
            return {"paths": {each: {"serverRelativeURL": f"/openapi/v3/{each}"} for each in paths}}
        case ["openapi", "v3", *_]:
            raise no_such_schema()
    raise no_such_path()


def groups(resources: Iterable[Resource]) -> dict[str, list[str]]:
    """Versions by group, the core group left out."""
    by_group: dict[str, list[str]] = {name: [version] for name, version in _EXTRA_GROUPS}
    for resource in resources:
        versions = by_group.setdefault(resource.group, [])
        if resource.version not in versions:
            versions.append(resource.version)
    by_group.pop("", None)
    return by_group


def group(name: str, resources: Iterable[Resource]) -> Json:
    """A group's versions."""
    versions = [{"groupVersion": f"{name}/{v}", "version": v} for v in groups(resources)[name]]
    return {"name": name, "versions": versions, "preferredVersion": versions[0]}


def resource_list(name: str, version: str, resources: Iterable[Resource]) -> Json:
    """The resources of a version, their subresources among them."""
    listed: list[Json] = []
    for resource in sorted(resources, key=lambda each: each.plural):
        if (resource.group, resource.version) == (name, version):
            listed += _described(resource)
    for kind in _REVIEWS.get(name, ()):
        entry = {"name": f"{kind.lower()}s", "singularName": kind.lower(), "namespaced": False}
        listed.append(entry | {"kind": kind, "verbs": ["create"]})
    head: Json = {"kind": "APIResourceList"} | ({"apiVersion": "v1"} if name else {})
    return head | {"groupVersion": f"{name}/{version}" if name else version, "resources": listed}


def _described(resource: Resource) -> list[Json]:
    verbs = [verb for verb in _ALL if verb != "deletecollection"] if resource.kind == "Namespace" else _ALL
    own: Json = {
        "name": resource.plural,
        "singularName": resource.singular,
        "namespaced": resource.namespaced,
        "kind": resource.kind,
        "verbs": verbs,
    }
    if resource.short_names:
        own["shortNames"] = list(resource.short_names)
    if resource.categories:
        own["categories"] = list(resource.categories)
    return [own, *(_subresource(resource, name) for name in sorted(resource.subresources))]


def _subresource(resource: Resource, name: str) -> Json:
    entry: Json = {
        "name": f"{resource.plural}/{name}",
        "singularName": "",
        "namespaced": resource.namespaced,
    }
    if name == "scale":
        return entry | {
            "group": "autoscaling",
            "version": "v1",
            "kind": "Scale",
            "verbs": ["get", "patch", "update"],
        }
    if name == "eviction":
        return entry | {"group": "policy", "version": "v1", "kind": "Eviction", "verbs": ["create"]}
    if name == "token":
        token_request = {
            "group": "authentication.k8s.io",
            "version": "v1",
            "kind": "TokenRequest",
            "verbs": ["create"],
        }
        return entry | token_request
    verbs = ["get"] if name == "log" else ["get", "patch", "update"]
    return entry | {"kind": resource.kind, "verbs": verbs}
