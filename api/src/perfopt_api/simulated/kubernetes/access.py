"""Who asks, and what they may: service accounts' tokens and RBAC."""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field

from perfopt_api.simulated.kubernetes import kinds
from perfopt_api.simulated.kubernetes.status import Json, StatusError
from perfopt_api.simulated.kubernetes.storage import Store

ADMIN_TOKEN = "simulated-admin"  # noqa: S105  it opens nothing but the simulation
_OPEN_PATHS = ("/version", "/healthz", "/livez", "/readyz")
_DISCOVERY = ("/api", "/apis", "/openapi")
_SELF = (
    ("authorization.k8s.io", "selfsubjectaccessreviews"),
    ("authorization.k8s.io", "selfsubjectrulesreviews"),
    ("authentication.k8s.io", "selfsubjectreviews"),
)


@dataclass(frozen=True, slots=True)
class User:
    """Who a request comes from."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""

    @property
    def admin(self) -> bool:
        """Whether everything is allowed."""
        return "system:masters" in self.groups


ADMIN = User("admin", ("system:masters", "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(frozen=True, slots=True)
class Attributes:
    """What a request wants to do."""

    verb: str
    group: str
    resource: str
    subresource: str = ""
    namespace: str = ""
    name: str = ""

    @property
    def path(self) -> str:
        """`deployments/scale`."""
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


@dataclass
class Access:
    """Tokens of service accounts and the roles bound to them."""

    store: Store
    tokens: dict[str, tuple[str, str]] = field(default_factory=dict)

    def token(self, namespace: str, name: str) -> str:
        """A new token for a service account."""
        token = secrets.token_urlsafe(16)
        self.tokens[token] = (namespace, name)
        return token

    def user(self, authorization: str) -> User:
        """Who a request's credentials stand for.

        Raises:
            StatusError: 401 for credentials that are not known.
        """
        if not authorization:
            return ANONYMOUS
        token = authorization.removeprefix("Bearer ").strip()
        if token == ADMIN_TOKEN:
            return ADMIN
        if token not in self.tokens:
            raise StatusError(401, "Unauthorized", "Unauthorized")
        return self.service_account(*self.tokens[token])

    def service_account(self, namespace: str, name: str) -> User:
        """The user that a service account is."""
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        account = self.store.get(kinds.SERVICE_ACCOUNT.key, namespace, name)
        uid = account["metadata"]["uid"] if account else ""
        return User(f"system:serviceaccount:{namespace}:{name}", groups, uid)

    def require(self, user: User, attributes: Attributes) -> None:
        """Lets a request through.

        Raises:
            StatusError: 403.
        """
        if self.reason(user, attributes) is not None:
            return
        scope = (
            f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
        )
        why = (
            f'User "{user.name}" cannot {attributes.verb} resource "{attributes.path}" '
            f'in API group "{attributes.group}" {scope}'
        )
        about = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
        about += f' "{attributes.name}"' if attributes.name else ""
        named = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
        raise StatusError(
            403,
            "Forbidden",
            f"{about} is forbidden: {why}",
            {key: value for key, value in named.items() if value},
            {"X-Content-Type-Options": "nosniff"},
        )

    def require_path(self, user: User, path: str, verb: str) -> None:
        """Lets a request for a path that is no resource through.

        Raises:
            StatusError: 403.
        """
        if path.startswith(_OPEN_PATHS) or user.admin:
            return
        if path.startswith(_DISCOVERY) and "system:authenticated" in user.groups:
            return
        raise StatusError(
            403,
            "Forbidden",
            f'forbidden: User "{user.name}" cannot {verb} path "{path}"',
            {},
            {"X-Content-Type-Options": "nosniff"},
        )

    def reason(self, user: User, attributes: Attributes) -> str | None:
        """Why a request is allowed; None where it is not."""
        if user.admin:
            return ""
        if (
            attributes.verb == "create"
            and (attributes.group, attributes.resource) in _SELF
            and user is not ANONYMOUS
        ):
            return ""
        for text, rules in self._bound(user, attributes.namespace):
            if any(_covers(rule, attributes) for rule in rules):
                return text
        return None

    def rules(self, user: User, namespace: str) -> list[Json]:
        """The rules of resources that hold for a user."""
        own: list[Json] = [
            {
                "verbs": ["create"],
                "apiGroups": ["authorization.k8s.io"],
                "resources": ["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
            },
            {
                "verbs": ["create"],
                "apiGroups": ["authentication.k8s.io"],
                "resources": ["selfsubjectreviews"],
            },
        ]
        return own + [
            {key: rule[key] for key in ("verbs", "apiGroups", "resources", "resourceNames") if key in rule}
            for _, rules in self._bound(user, namespace)
            for rule in rules
        ]

    def _bound(self, user: User, namespace: str) -> Iterator[tuple[str, list[Json]]]:
        bindings = list(self.store.all(kinds.CLUSTER_ROLE_BINDING.key))
        if namespace:
            bindings += self.store.all(kinds.ROLE_BINDING.key, namespace)
        for binding in bindings:
            subject = next((s for s in binding.get("subjects", ()) if _is(s, user, binding)), None)
            role = self._role(binding)
            if subject is not None and role is not None:
                yield _allowed_by(binding, subject), role.get("rules", [])

    def _role(self, binding: Json) -> Json | None:
        reference = binding["roleRef"]
        if reference["kind"] == "ClusterRole":
            return self.store.get(kinds.CLUSTER_ROLE.key, "", reference["name"])
        return self.store.get(kinds.ROLE.key, binding["metadata"].get("namespace", ""), reference["name"])


def _is(subject: Json, user: User, binding: Json) -> bool:
    if subject["kind"] == "ServiceAccount":
        namespace = subject.get("namespace", binding["metadata"].get("namespace", ""))
        return user.name == f"system:serviceaccount:{namespace}:{subject['name']}"
    return subject["name"] in (user.groups if subject["kind"] == "Group" else (user.name,))


def _allowed_by(binding: Json, subject: Json) -> str:
    def place(name: str, namespace: str) -> str:
        return f'"{name}/{namespace}"' if namespace else f'"{name}"'

    metadata, role = binding["metadata"], binding["roleRef"]
    return (
        f"RBAC: allowed by {binding['kind']} {place(metadata['name'], metadata.get('namespace', ''))} "
        f'of {role["kind"]} "{role["name"]}" '
        f"to {subject['kind']} {place(subject['name'], subject.get('namespace', ''))}"
    )


def _covers(rule: Json, attributes: Attributes) -> bool:
    def has(key: str, *values: str) -> bool:
        given = rule.get(key, ())
        return "*" in given or any(value in given for value in values)

    named = rule.get("resourceNames")
    any_of = f"*/{attributes.subresource}" if attributes.subresource else attributes.path
    return (
        has("verbs", attributes.verb)
        and has("apiGroups", attributes.group)
        and has("resources", attributes.path, any_of)
        and (not named or attributes.name in named)
    )
