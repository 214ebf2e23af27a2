"""Scale, eviction, access reviews and tokens."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from perfopt_api.simulated.kubernetes import custom, fields, kinds, managed, patches, validation
from perfopt_api.simulated.kubernetes.access import Access, Attributes, User
from perfopt_api.simulated.kubernetes.bodies import patch_kind, read_config
from perfopt_api.simulated.kubernetes.clock import stamp
from perfopt_api.simulated.kubernetes.deleting import Deletes
from perfopt_api.simulated.kubernetes.http import Request, WriteOptions, load, read_object
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.managed import Writer
from perfopt_api.simulated.kubernetes.schema import INT, STRING, Struct, kind_schema
from perfopt_api.simulated.kubernetes.selectors import matches, print_selector
from perfopt_api.simulated.kubernetes.status import (
    Cause,
    Json,
    StatusError,
    bad_request,
    internal,
    invalid,
    success,
)
from perfopt_api.simulated.kubernetes.typed import DecodeError
from perfopt_api.simulated.kubernetes.writes import Writes

_SCALE = Resource(
    "autoscaling",
    "v1",
    "scales",
    "Scale",
    kind_schema(
        "Scale",
        spec=Struct({"replicas": INT}, "ScaleSpec"),
        status=Struct({"replicas": INT, "selector": STRING}, "ScaleStatus"),
        always=("spec",),
    ),
)
_SPEC_PATH, _STATUS_PATH = ".spec.replicas", ".status.replicas"
_DONE = ("Succeeded", "Failed")
_TWO_BUDGETS = (
    "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
)
_OVER_BUDGET = "Cannot evict pod as it would violate the pod's disruption budget."


def scale_of(resource: Resource, obj: Json) -> Json:
    """The Scale of a workload."""
    spec_path, status_path, selector_path = _scale_paths(resource)
    metadata = {
        name: obj["metadata"][name]
        for name in ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")
        if name in obj["metadata"]
    }
    replicas = custom.get_path(obj, spec_path) or 0
    status: Json = {"replicas": custom.get_path(obj, status_path) or 0}
    if resource.custom is None:
        selector = print_selector(obj["spec"].get("selector"))
    else:
        selector = custom.get_path(obj, selector_path) or "" if selector_path else ""
    if selector:
        status["selector"] = selector
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": {"replicas": replicas} if replicas else {},
        "status": status,
    }


def _scale_paths(resource: Resource) -> tuple[str, str, str]:
    if resource.custom is None:
        return _SPEC_PATH, _STATUS_PATH, ""
    scale = resource.custom["subresources"]["scale"]
    return scale["specReplicasPath"], scale["statusReplicasPath"], scale.get("labelSelectorPath", "")


def scale_path(resource: Resource) -> str:
    """Where a workload's replicas stand."""
    return _scale_paths(resource)[0]


@dataclass
class Scales:
    """Reads and writes of the scale subresource."""

    writes: Writes

    def write(self, resource: Resource, old: Json, request: Request, options: WriteOptions) -> Json:
        """PUT or PATCH of a Scale.

        Raises:
            StatusError: it is not valid, not current or in conflict.
        """
        scale = scale_of(resource, old)
        if request.method == "PUT":
            new = read_object(request, "Scale")
            operation: managed.Operation = "Update"
        elif patch_kind(request, resource) == "apply":
            new, operation = read_config(request, "autoscaling/v1", "Scale"), "Apply"
            self._refuse_apply(resource, old, new, options)
        else:
            new, operation = self._patched(scale, request, options), "Update"
        self.writes.check_version(resource, old, new.get("metadata", {}).get("resourceVersion"))
        replicas = new.get("spec", {}).get("replicas", 0)
        self._validate(resource, old, replicas)
        writer = Writer(options.manager, operation, resource.api_version, "scale")
        return scale_of(resource, self._store(resource, old, replicas, writer, options))

    def _patched(self, scale: Json, request: Request, options: WriteOptions) -> Json:
        kind = patch_kind(request, _SCALE)
        patch: Any = load(request.body) if kind != "json" else read_list(request.body)
        result = patches.json_patch(scale, patch) if kind == "json" else patches.merge_patch(scale, patch)
        try:
            return self.writes.decode(result, _SCALE, options)
        except DecodeError as error:
            shown = validation.show(validation.show(result))
            raise invalid(
                "", "", "", [Cause("Invalid", "patch", f"Invalid value: {shown}: {error}")]
            ) from error

    def _validate(self, resource: Resource, old: Json, replicas: int) -> None:
        if replicas >= 0 or resource.custom is not None:
            return
        text = f"Invalid value: {replicas}: must be greater than or equal to 0"
        name = old["metadata"]["name"]
        raise invalid("Scale", "autoscaling", name, [Cause("Invalid", "spec.replicas", text)])

    def _refuse_apply(self, resource: Resource, old: Json, new: Json, options: WriteOptions) -> None:
        spec_path = _scale_paths(resource)[0]
        path = _field_path(spec_path)
        writer = Writer(options.manager, "Apply", resource.api_version, "scale")
        changes = custom.get_path(old, spec_path) != new.get("spec", {}).get("replicas")
        others = [w for w, entry in managed.read(old).items() if w != writer and path in entry.paths]
        if others and changes and not options.force:
            raise managed.conflict_error((_as_scale(other).describe(), _SPEC_PATH) for other in others)
        if resource.custom is not None:
            place = f"{old['metadata'].get('namespace', '')}/{old['metadata']['name']}"
            label = f"({place}; autoscaling/v1, Kind=Scale)"
            raise internal(
                f"failed to convert new object {label} to proper version: "
                "request to convert CR to an invalid group/version: autoscaling/v1"
            )

    def _store(
        self, resource: Resource, old: Json, replicas: int, writer: Writer, options: WriteOptions
    ) -> Json:
        spec_path = _scale_paths(resource)[0]
        new = copy_path(old, spec_path, replicas)
        entries = managed.read(old)
        now = stamp(self.writes.clock.now())
        if writer.operation == "Apply":
            path = _field_path(spec_path)
            changed = {path} if custom.get_path(old, spec_path) != replicas else set()
            after = {w: e for w, e in entries.items() if w != writer}
            after = {
                w: managed.Entry(w, e.paths - changed, e.time) if e.paths & changed else e
                for w, e in after.items()
                if e.paths - changed
            }
            entries = after | {writer: managed.Entry(writer, frozenset({path}), now)}
        else:
            entries = managed.update(old, new, resource.schema, entries, writer, now)
            if replicas == 0:  # a Scale leaves a zero out, so nobody owns it
                entries = managed.disowned(entries, _field_path(spec_path))
        managed.write(new, entries)
        self.writes.count_generation(resource, old, new)
        self.writes.validate(new, old, resource)
        return self.writes.store_update(resource, old, new, dry_run=options.dry_run)


def _as_scale(writer: Writer) -> Writer:
    return Writer(writer.manager, writer.operation, "autoscaling/v1", writer.subresource)


def _field_path(path: str) -> fields.Path:
    return tuple(f"f:{part}" for part in path.strip(".").split("."))


def copy_path(obj: Json, path: str, value: Any) -> Json:
    """A copy of an object with another value at a path; the original keeps its own."""
    first, _, rest = path.strip(".").partition(".")
    inner = copy_path(obj.get(first, {}), rest, value) if rest else value
    changed = {**obj, first: inner}
    if "metadata" in changed and not rest:
        return changed
    return changed | ({"metadata": dict(obj["metadata"])} if "metadata" in obj else {})


def read_list(body: bytes) -> Any:
    """A JSON patch.

    Raises:
        StatusError: 400.
    """
    try:
        return json.loads(body)
    except ValueError as error:
        raise bad_request(f"error decoding patch: {error}") from error


@dataclass
class Evictions:
    """The eviction subresource."""

    writes: Writes
    deletes: Deletes

    def evict(self, pod: Json, options: WriteOptions) -> Json:
        """Removes a pod where its disruption budget allows it.

        Raises:
            StatusError: 429 over budget, 500 with two budgets.
        """
        store = self.deletes.store
        metadata = pod["metadata"]
        budgets = [
            budget
            for budget in store.all(kinds.DISRUPTION_BUDGET.key, metadata["namespace"])
            if matches(budget["spec"].get("selector"), metadata.get("labels", {}))
        ]
        if len(budgets) > 1:
            raise internal(_TWO_BUDGETS)
        if budgets and pod.get("status", {}).get("phase") not in (*_DONE, "Pending"):
            self._disrupt(budgets[0], metadata["name"], dry_run=options.dry_run)
        self.deletes.delete(kinds.POD, pod, {}, dry_run=options.dry_run)
        return success(code=201)

    def _disrupt(self, budget: Json, pod: str, *, dry_run: bool) -> None:
        status = budget.get("status", {})
        name = budget["metadata"]["name"]
        if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 1):
            described = {
                "causes": [
                    _budget_cause(f"The disruption budget {name} is still being processed by the server.")
                ]
            }
            raise StatusError(429, "TooManyRequests", _OVER_BUDGET, described, {"Retry-After": "10"})
        if status.get("disruptionsAllowed", 0) < 1:
            text = (
                f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
                f"and has {status.get('currentHealthy', 0)} currently"
            )
            raise StatusError(429, "TooManyRequests", _OVER_BUDGET, {"causes": [_budget_cause(text)]})
        if dry_run:
            return
        now = stamp(self.deletes.clock.now())
        disrupted = status.get("disruptedPods", {}) | {pod: now}
        left = status["disruptionsAllowed"] - 1
        new = budget | {"status": status | {"disruptedPods": disrupted, "disruptionsAllowed": left}}
        writer = Writer("kube-apiserver", "Update", "policy/v1", "status")
        self.writes.update(kinds.DISRUPTION_BUDGET, budget, new, writer, "status")


def _budget_cause(text: str) -> Json:
    return {"reason": "DisruptionBudget", "message": text}


@dataclass
class Reviews:
    """Questions about access, answered and not stored."""

    access: Access
    now: str

    def answer(self, plural: str, body: Json, user: User, manager: str) -> Json:
        """Answers a review.

        Raises:
            StatusError: 400 or 422.
        """
        match plural:
            case "selfsubjectaccessreviews":
                return self._access(body, user, manager)
            case "subjectaccessreviews":
                return self._access(body, self._named(body), manager)
            case "selfsubjectrulesreviews":
                return self._rules(body, user)
        return _who(user, self.now)

    def _named(self, body: Json) -> User:
        name = body.get("spec", {}).get("user", "")
        if name.startswith("system:serviceaccount:"):
            _, _, namespace, account = name.split(":", 3)
            return self.access.service_account(namespace, account)
        return User(name, tuple(body.get("spec", {}).get("groups", ())))

    def _access(self, body: Json, user: User, manager: str) -> Json:
        spec = body.get("spec", {})
        attributes = spec.get("resourceAttributes")
        if attributes is None and "nonResourceAttributes" not in spec:
            why = "exactly one of nonResourceAttributes or resourceAttributes must be specified"
            cause = Cause("Invalid", "spec.resourceAttributes", f"Invalid value: null: {why}")
            raise invalid("", "authorization.k8s.io", "", [cause])
        reason = self.access.reason(user, _attributes(attributes)) if attributes is not None else None
        status: Json = {"allowed": reason is not None} | ({"reason": reason} if reason else {})
        return {
            "kind": body["kind"],
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {"managedFields": [_review_entry(spec, manager, self.now)]},
            "spec": _attributes_text(spec),
            "status": status,
        }

    def _rules(self, body: Json, user: User) -> Json:
        namespace = body.get("spec", {}).get("namespace", "")
        if not namespace:
            raise bad_request("no namespace on request")
        return {
            "kind": "SelfSubjectRulesReview",
            "apiVersion": "authorization.k8s.io/v1",
            "metadata": {},
            "spec": {},
            "status": {
                "resourceRules": self.access.rules(user, namespace),
                "nonResourceRules": [{"verbs": ["get"], "nonResourceURLs": list(_PATHS)}],
                "incomplete": False,
            },
        }


_PATHS: Sequence[str] = ("/api", "/api/*", "/apis", "/apis/*", "/healthz", "/livez", "/readyz", "/version")


def _attributes_text(spec: Json) -> Json:
    """A review's spec without empty attributes."""
    attributes = spec.get("resourceAttributes")
    if attributes is None:
        return spec
    return spec | {"resourceAttributes": {name: value for name, value in attributes.items() if value}}


def _attributes(spec: Json) -> Attributes:
    return Attributes(
        spec.get("verb", ""),
        spec.get("group", ""),
        spec.get("resource", ""),
        spec.get("subresource", ""),
        spec.get("namespace", ""),
        spec.get("name", ""),
    )


def _review_entry(spec: Json, manager: str, now: str) -> Json:
    owned: Json = {}
    if "resourceAttributes" in spec:
        parts: Json = {f"f:{name}": {} for name, value in sorted(spec["resourceAttributes"].items()) if value}
        owned["f:resourceAttributes"] = {".": {}} | parts
    if "user" in spec:
        owned["f:user"] = {}
    return {
        "manager": manager,
        "operation": "Update",
        "apiVersion": "authorization.k8s.io/v1",
        "time": now,
        "fieldsType": "FieldsV1",
        "fieldsV1": {"f:spec": owned},
    }


def _who(user: User, now: str) -> Json:
    info: Json = {"username": user.name, "groups": list(user.groups)}
    if user.uid:
        info["uid"] = user.uid
        info["extra"] = {"authentication.kubernetes.io/credential-id": ["JTI=simulated"]}
    return {
        "kind": "SelfSubjectReview",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"creationTimestamp": now},
        "status": {"userInfo": info},
    }
