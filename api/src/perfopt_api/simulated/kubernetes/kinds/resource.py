"""What the server knows of one resource of its API."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

from perfopt_api.simulated.kubernetes.schema import Struct
from perfopt_api.simulated.kubernetes.status import Json


def nothing(_: Json) -> None:
    """A kind without defaults."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource of the API.

    Attributes:
        schema: its fields.
        skeleton: what Go prints of an empty object: fields that a create does not add as a whole.
        subresources: status, scale, resize, eviction.
        generation: what raises `metadata.generation`; "" is a kind without one.
        fill: writes defaults into an object.
        unversioned_update: whether a PUT without resourceVersion overwrites.
        custom: the version of a custom resource's definition; None for a built-in kind.
        view: shows an object in this version, which can only be read; None is the version it is stored in.
    """

    group: str
    version: str
    plural: str
    kind: str
    schema: Struct
    namespaced: bool = True
    skeleton: Json = field(default_factory=dict)
    subresources: frozenset[str] = frozenset()
    generation: Literal["", "spec", "spec+annotations"] = ""
    fill: Callable[[Json], None] = nothing
    unversioned_update: bool = True
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    custom: Json | None = None
    view: Callable[[Json], Json] | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Under which its objects are stored."""
        return self.group, self.plural

    @property
    def api_version(self) -> str:
        """`apps/v1`, or `v1` for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def singular(self) -> str:
        """Its name for one object."""
        return self.kind.lower()
