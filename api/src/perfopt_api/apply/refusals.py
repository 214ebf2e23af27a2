"""What a cluster may refuse or fail to do, by what the caller does next."""

from collections.abc import Sequence

from perfopt.errors import ConflictError, NotFoundError, UnavailableError


class ClusterUnavailableError(UnavailableError):
    """The cluster's API did not answer, or asked to come back later. Whether a write was done is unknown.

    The caller reads the workload again before it repeats a write.
    """

    code = "cluster_unavailable"


class WorkloadGoneError(NotFoundError):
    """The workload or the pod no longer exists. HTTP 404."""

    code = "workload_gone"


class FieldConflictError(ConflictError):
    """Another manager owns fields of the change, and it was not forced. HTTP 409.

    Attributes:
        managers: the other managers.
        fields: the paths they own.
    """

    code = "field_conflict"

    def __init__(
        self, message: str, *, managers: Sequence[str], fields: Sequence[str], remedy: str | None = None
    ) -> None:
        super().__init__(message, remedy=remedy)
        self.managers = tuple(managers)
        self.fields = tuple(fields)


class ChangeRefusedError(ConflictError):
    """The API server refuses the change for good: validation, quota, LimitRange, permission. HTTP 409."""

    code = "change_refused"


class ReadRefusedError(ChangeRefusedError):
    """The API server does not show what was asked for. HTTP 409.

    It says nothing of a change that was made: who watches one asks again.
    """


class ResizeRefusedError(ChangeRefusedError):
    """A pod cannot be resized in place to that size. HTTP 409.

    Attributes:
        rollout: whether the same size may be possible with new pods (a QoS class that changes, a limit that
            is removed, a node without support); False where it never fits.
    """

    code = "resize_refused"

    def __init__(self, message: str, *, rollout: bool, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.rollout = rollout
