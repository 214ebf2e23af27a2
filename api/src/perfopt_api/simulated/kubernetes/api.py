"""The API: from a request to its answer. Knows no sockets and no controllers."""

import random
from dataclasses import dataclass, field

from perfopt_api.simulated.kubernetes import custom, discovery, kinds
from perfopt_api.simulated.kubernetes.access import Access, Attributes, User
from perfopt_api.simulated.kubernetes.applying import AppliedWrites
from perfopt_api.simulated.kubernetes.bodies import patch_kind
from perfopt_api.simulated.kubernetes.clock import Clock, stamp
from perfopt_api.simulated.kubernetes.deleting import Deletes
from perfopt_api.simulated.kubernetes.http import (
    Request,
    Response,
    WriteOptions,
    load,
    not_acceptable,
    read_object,
)
from perfopt_api.simulated.kubernetes.kinds import Resource
from perfopt_api.simulated.kubernetes.status import (
    Json,
    StatusError,
    method_not_allowed,
    no_such_path,
    unknown_resource,
    unsupported_media_type,
)
from perfopt_api.simulated.kubernetes.storage import Store
from perfopt_api.simulated.kubernetes.subresources import Evictions, Reviews, Scales, scale_of
from perfopt_api.simulated.kubernetes.watching import Scope, Watch, list_objects, timeout_seconds

_HEALTH = ("/readyz", "/livez", "/healthz")
_REVIEWS = {
    "authorization.k8s.io": ("selfsubjectaccessreviews", "selfsubjectrulesreviews", "subjectaccessreviews"),
    "authentication.k8s.io": ("selfsubjectreviews",),
}
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
_PARTIAL = "as=PartialObjectMetadata"


@dataclass(frozen=True, slots=True)
class Target:
    """What a path names."""

    group: str
    version: str
    plural: str
    namespace: str
    name: str
    subresource: str

    @classmethod
    def parse(cls, path: str) -> "Target | None":
        """Reads a path; None for one that names no resource."""
        match [part for part in path.split("/") if part]:
            case ["api", version, *rest] if rest:
                group = ""
            case ["apis", group, version, *rest] if rest:
                pass
            case _:
                return None
        namespace = ""
        if rest[0] == "namespaces" and len(rest) >= 3 and rest[2] not in ("status", "finalize"):
            namespace, rest = rest[1], rest[2:]
        plural, name, subresource = (*rest, "", "", "")[:3]
        return cls(group, version, plural, namespace, name, subresource) if len(rest) <= 3 else None


@dataclass
class ApiServer:
    """A Kubernetes API over a store.

    Attributes:
        generator: of names and uids.
    """

    clock: Clock
    store: Store = field(default_factory=Store)
    generator: random.Random = field(default_factory=random.Random)
    address: str = "127.0.0.1:0"
    resources: list[Resource] = field(default_factory=lambda: list(kinds.BUILT_IN))

    def __post_init__(self) -> None:
        self.access = Access(self.store)
        self.writes = AppliedWrites(self.store, self.clock, self.generator)
        self.deletes = Deletes(self.store, self.clock)
        self._scales, self._evictions = Scales(self.writes), Evictions(self.writes, self.deletes)

    def handle(self, request: Request, user: User | None = None) -> Response:
        """Answers a request; `user` stands in for its credentials."""
        self.writes.warnings.clear()
        try:
            who = self.access.user(request.headers.get("authorization", "")) if user is None else user
            answer = self._route(request, who)
        except StatusError as error:
            answer = Response.of_error(error)
        warnings = tuple(("Warning", f'299 - "{_escape(text)}"') for text in self.writes.warnings)
        return Response(answer.status, answer.body, answer.headers + warnings, answer.text, answer.stream)

    def resource(self, group: str, plural: str, version: str = "") -> Resource | None:
        """A resource by name; the first served version where none is given."""
        for resource in self.resources:
            if (resource.group, resource.plural) == (group, plural) and version in ("", resource.version):
                return resource
        return None

    def of_kind(self, api_version: str, kind: str) -> Resource | None:
        """A resource by the kind of its objects; the version may be another one of the group."""
        group = api_version.rpartition("/")[0]
        return next((each for each in self.resources if (each.group, each.kind) == (group, kind)), None)

    def add_definition(self, definition: Json) -> None:
        """Serves the kind that a CustomResourceDefinition describes."""
        for resource in custom.resources(definition):
            if self.resource(resource.group, resource.plural, resource.version) is None:
                self.resources.append(resource)
                self.store.begin(resource.key)

    def drop_definition(self, definition: Json) -> None:
        """Serves a kind no more, and drops its objects."""
        for resource in custom.resources(definition):
            self.resources = [
                each
                for each in self.resources
                if (each.key, each.version) != (resource.key, resource.version)
            ]
            self.store.drop_kind(resource.key)

    # -- routing -----------------------------------------------------------------------------------------

    def _route(self, request: Request, user: User) -> Response:
        if request.path in _HEALTH:
            return discovery.health(request.path, verbose="verbose" in request.query)
        target = Target.parse(request.path)
        if target is None:
            self.access.require_path(user, request.path, _VERBS.get(request.method, "get").lower())
            return Response(200, discovery.document(request.path, self.resources, self.address))
        self.access.require(user, _attributes(request, target))
        if target.plural in _REVIEWS.get(target.group, ()):
            return self._review(request, target, user)
        return self._resource(request, target, user)

    def _review(self, request: Request, target: Target, user: User) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        body = read_object(request, target.plural)
        manager = WriteOptions.read(request, "CreateOptions").manager
        reviews = Reviews(self.access, stamp(self.clock.now()))
        return Response(201, reviews.answer(target.plural, body, user, manager))

    def _resource(self, request: Request, target: Target, user: User) -> Response:
        resource = self.resource(target.group, target.plural, target.version)
        if resource is None:
            served = discovery.groups(self.resources) | {"": ["v1"]}
            raise unknown_resource() if target.version in served.get(target.group, ()) else no_such_path()
        if target.subresource and target.subresource not in resource.subresources:
            raise unknown_resource()
        if "xml" in request.headers.get("accept", ""):
            raise not_acceptable()
        if target.subresource:
            return self._subresource(request, resource, target, user)
        return self._plain(request, resource, target, user)

    def _plain(self, request: Request, resource: Resource, target: Target, user: User) -> Response:
        if resource.view is not None and request.method != "GET":
            raise method_not_allowed()
        match request.method, bool(target.name):
            case "GET", True:
                obj = self.writes.live(resource, target.namespace, target.name)
                return Response(200, _shown(resource.view(obj) if resource.view else obj, request))
            case "GET", False:
                return self._list_or_watch(request, resource, target)
            case "POST", False:
                options = WriteOptions.read(request, "CreateOptions")
                body = read_object(request, resource.kind)
                return Response(201, self.writes.create(resource, target.namespace, body, options))
            case "PUT", True:
                options = WriteOptions.read(request, "UpdateOptions")
                old = self.writes.live(resource, target.namespace, target.name)
                body = read_object(request, resource.kind)
                return Response(200, self.writes.replace(resource, old, body, options))
            case "PATCH", True:
                return self._patch(request, resource, target, user)
            case "DELETE", True:
                return self._delete(request, resource, target)
            case "DELETE", False:
                return self._delete_all(request, resource, target)
        raise method_not_allowed()

    def _list_or_watch(self, request: Request, resource: Resource, target: Target) -> Response:
        scope = Scope.read(request, resource, target.namespace)
        if request.flag("watch"):
            timeout_seconds(request)
            return Response(200, stream=Watch.start(self.store, self.clock, request, scope))
        listing = list_objects(self.store, request, scope)
        if _PARTIAL in request.headers.get("accept", ""):
            listing = {
                "kind": "PartialObjectMetadataList",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": listing["metadata"],
                "items": [_partial(obj) for obj in listing["items"]],
            }
        return Response(200, listing)

    def _patch(self, request: Request, resource: Resource, target: Target, user: User) -> Response:
        kind = patch_kind(request, resource)
        options = WriteOptions.read(request, "PatchOptions")
        if kind == "apply":
            if self.store.get(resource.key, target.namespace, target.name) is None:
                about = (resource.group, resource.plural, "", target.namespace, target.name)
                self.access.require(user, Attributes("create", *about))
            obj, created = self.writes.apply(resource, target.namespace, target.name, request, options)
            return Response(201 if created else 200, obj)
        old = self.writes.live(resource, target.namespace, target.name)
        return Response(200, self.writes.patch(resource, old, request, options))

    def _delete(self, request: Request, resource: Resource, target: Target) -> Response:
        choices, dry_run = _delete_choices(request)
        old = self.writes.live(resource, target.namespace, target.name)
        return Response(200, self.deletes.delete(resource, old, choices, dry_run=dry_run))

    def _delete_all(self, request: Request, resource: Resource, target: Target) -> Response:
        choices, dry_run = _delete_choices(request)
        scope = Scope.read(request, resource, target.namespace)
        listing = list_objects(self.store, request, scope)
        for obj in self.store.all(resource.key, target.namespace):
            if scope.holds(obj):
                self.deletes.delete(resource, obj, choices, dry_run=dry_run)
        return Response(200, listing)

    # -- subresources ------------------------------------------------------------------------------------

    def _subresource(self, request: Request, resource: Resource, target: Target, user: User) -> Response:
        match target.subresource:
            case "scale":
                return self._scale(request, resource, target)
            case "eviction":
                return self._evict(request, resource, target)
            case "token":
                return self._token(request, target)
            case "log":
                self.writes.live(resource, target.namespace, target.name)
                return Response(200, text="")
        return self._part(request, resource, target)

    def _part(self, request: Request, resource: Resource, target: Target) -> Response:
        """The status and resize subresources: the object itself, of which they may change a part."""
        name = target.subresource
        old = self.writes.live(resource, target.namespace, target.name)
        match request.method:
            case "GET":
                return Response(200, old)
            case "PUT":
                options = WriteOptions.read(request, "UpdateOptions")
                body = read_object(request, resource.kind)
                return Response(200, self.writes.replace(resource, old, body, options, name))
            case "PATCH":
                options = WriteOptions.read(request, "PatchOptions")
                if patch_kind(request, resource) == "apply":
                    where = (target.namespace, target.name)
                    return Response(200, self.writes.apply(resource, *where, request, options, name)[0])
                return Response(200, self.writes.patch(resource, old, request, options, name))
        raise method_not_allowed()

    def _scale(self, request: Request, resource: Resource, target: Target) -> Response:
        if request.method not in ("GET", "PUT", "PATCH"):
            raise method_not_allowed()
        if request.method == "PATCH":
            patch_kind(request, resource)
        old = self.writes.live(resource, target.namespace, target.name)
        if request.method == "GET":
            return Response(200, scale_of(resource, old))
        options = WriteOptions.read(request, "PatchOptions" if request.method == "PATCH" else "UpdateOptions")
        return Response(200, self._scales.write(resource, old, request, options))

    def _evict(self, request: Request, resource: Resource, target: Target) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        pod = self.writes.live(resource, target.namespace, target.name)
        return Response(201, self._evictions.evict(pod, WriteOptions.read(request, "CreateOptions")))

    def _token(self, request: Request, target: Target) -> Response:
        if request.method != "POST":
            raise method_not_allowed()
        self.writes.live(kinds.SERVICE_ACCOUNT, target.namespace, target.name)
        token = self.access.token(target.namespace, target.name)
        body: Json = {
            "kind": "TokenRequest",
            "apiVersion": "authentication.k8s.io/v1",
            "metadata": {"name": target.name, "namespace": target.namespace},
            "status": {"token": token, "expirationTimestamp": stamp(self.clock.now() + 3600)},
        }
        return Response(201, body)


def _attributes(request: Request, target: Target) -> Attributes:
    verb = _VERBS.get(request.method, "get")
    if not target.name:
        verb = {"get": "watch" if request.flag("watch") else "list", "delete": "deletecollection"}.get(
            verb, verb
        )
    namespace = target.name if target.plural == "namespaces" else target.namespace
    return Attributes(verb, target.group, target.plural, target.subresource, namespace, target.name)


def _delete_choices(request: Request) -> tuple[Json, bool]:
    """The options of a delete, from body and query, and whether it is a dry run.

    Raises:
        StatusError: 400.
    """
    choices: Json = {}
    if request.body.strip():
        try:
            choices = load(request.body)
        except ValueError as error:
            raise unsupported_media_type() from error
    query = request.query
    if "propagationPolicy" in query:
        choices["propagationPolicy"] = query["propagationPolicy"]
    if "gracePeriodSeconds" in query:
        choices["gracePeriodSeconds"] = int(query["gracePeriodSeconds"])
    return choices, query.get("dryRun") == "All" or choices.get("dryRun") == ["All"]


def _shown(obj: Json, request: Request) -> Json:
    return _partial(obj) if _PARTIAL in request.headers.get("accept", "") else obj


def _partial(obj: Json) -> Json:
    return {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
