"""What the server refuses, as errors of the port."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from perfopt_api.apply.cluster import FIELD_MANAGER
from perfopt_api.apply.kubernetes.client import ApiError
from perfopt_api.apply.refusals import (
    ChangeRefusedError,
    FieldConflictError,
    ReadRefusedError,
    ResizeRefusedError,
)

_NEVER_FITS = ("enough allocatable resources", "exceeded quota", "per Container is")


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns the server's refusals within the block into those of the port."""
    try:
        yield
    except ApiError as error:
        raise refused(error) from error


def refused(error: ApiError) -> Exception:
    """The port's error for a refusal."""
    if error.has_cause("FieldManagerConflict"):
        conflicts = [c for c in error.causes if c.get("reason") == "FieldManagerConflict"]
        managers = sorted({str(c["message"]).split('"')[1] for c in conflicts})
        paths = [str(c["field"]) for c in conflicts]
        return FieldConflictError(
            f"{', '.join(managers)} own{'s' if len(managers) == 1 else ''} {', '.join(paths)}.",
            managers=managers,
            fields=paths,
            remedy="Change it where that manager takes it from, or apply with `force`.",
        )
    if error.code == 403 and "cannot " in error.message:
        kind = ReadRefusedError if error.reads else ChangeRefusedError
        return kind(
            f"The service account may not do this: {error.message}.",
            remedy="Grant the role that `perfopt rbac` prints.",
        )
    if error.reads:
        return ReadRefusedError(f"Kubernetes did not show it (HTTP {error.code}): {_cause(error)}.")
    return ChangeRefusedError(f"Kubernetes refused the change (HTTP {error.code}): {_cause(error)}.")


def _cause(error: ApiError) -> str:
    """The message; of an invalid patch only its end, where the cause stands."""
    message = error.message
    if any(cause.get("field") == "patch" for cause in error.causes):
        message = message.rpartition('": ')[2]
    return message.rstrip(".")[:500]


def resize_refused(error: ApiError, pod: str) -> Exception:
    """The port's error for a resize that the server refuses."""
    if error.code == 403 and "cannot " in error.message and not error.causes:
        return refused(error)
    fits = not error.has_cause("NodeCapacity") and not any(text in error.message for text in _NEVER_FITS)
    remedy = "Change the template, so that new pods get the size." if fits else "Ask for less."
    return ResizeRefusedError(
        f"Pod {pod} cannot be resized in place: {_cause(error)}.", rollout=fits, remedy=remedy
    )


def refuse_foreign(owners: Mapping[str, Sequence[str]], fields: Mapping[str, Any]) -> None:
    """Holds a change to the fields that nobody else owns.

    Raises:
        FieldConflictError: another manager owns one.
    """
    foreign = {p: [m for m in owners.get(p, ()) if m != FIELD_MANAGER] for p in fields}
    paths = [path for path, managers in foreign.items() if managers]
    managers = sorted({manager for path in paths for manager in foreign[path]})
    if managers:
        raise FieldConflictError(
            f"{', '.join(managers)} own{'s' if len(managers) == 1 else ''} {', '.join(paths)}.",
            managers=managers,
            fields=paths,
            remedy="Change it where that manager takes it from, or apply with `force`.",
        )
