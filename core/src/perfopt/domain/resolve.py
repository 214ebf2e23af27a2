"""Which workload a service name means."""

import difflib
import re
from collections.abc import Callable, Sequence

from perfopt.domain.request import WorkloadSelector
from perfopt.domain.workload import Workload
from perfopt.errors import AmbiguousError, NotFoundError

NAME_LABEL = "app.kubernetes.io/name"
MAX_CANDIDATES = 5


def resolve_workload(name: str, workloads: Sequence[Workload]) -> Workload:
    """Finds the workload that a service name means.

    The first rule that matches anything decides: exactly the full name, or the service name of a
    file's series; the full form `[cluster/]namespace/[kind/]name`; the label
    app.kubernetes.io/name; the workload's name. In all but the first `_` and `-` are alike, because
    Kubernetes names hold no underscores.

    Args:
        name: as the request gives it.
        workloads: the inventory of the source.

    Raises:
        NotFoundError: nothing matches; the nearest names, at most five, are its candidates.
        AmbiguousError: several match; their full names are its candidates.
    """
    folded = _folded(name)
    rules: tuple[Callable[[Workload], bool], ...] = (
        lambda w: name == str(w.id) or (name == w.service_name and not w.id.namespace),
        lambda w: "/" in folded and folded in _full_forms(w),
        lambda w: bool(folded) and folded == _folded(w.labels.get(NAME_LABEL, "")),
        lambda w: folded in (_folded(w.id.name), _folded(w.service_name)),
    )
    for rule in rules:
        matches = [workload for workload in workloads if rule(workload)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise _ambiguous(name, matches)
    raise _not_found(name, workloads)


def selected_workloads(selector: WorkloadSelector, workloads: Sequence[Workload]) -> tuple[Workload, ...]:
    """Returns the workloads that a selector means, in the order of the inventory.

    Raises:
        NotFoundError, AmbiguousError: a name matches nothing, or several workloads, among those that the
            other fields select; or nothing is selected.
    """
    kind = None if selector.kind is None else selector.kind.lower()
    among = [
        workload
        for workload in workloads
        if selector.cluster in (None, workload.id.cluster)
        and selector.namespace in (None, workload.id.namespace)
        and kind in (None, workload.id.kind.lower())
        and selector.labels.items() <= workload.labels.items()
    ]
    if selector.names and among:
        named = {resolve_workload(name, among).id for name in selector.names}
        among = [workload for workload in among if workload.id in named]
    if not among:
        spaces = sorted({workload.id.namespace for workload in workloads if workload.id.namespace})
        raise NotFoundError(
            f"No workload of the source matches: {selector}.",
            field="selector",
            remedy=f"Namespaces: {', '.join(spaces[:MAX_CANDIDATES])}."
            if spaces
            else "Give fewer conditions.",
        )
    return tuple(among)


def full_name_pattern(name: str) -> str:
    """Returns the regular expression of the full names that a name with slashes may mean.

    It matches `[cluster/]namespace/kind/name` in lower case with `-` for `_`: cluster and kind may be left
    out of the name.

    Args:
        name: `[cluster/]namespace/[kind/]name`.
    """
    parts = [re.escape(part) for part in _folded(name).split("/")]
    spelt, cluster = "/".join(parts), "([^/]+/)?"
    with_kind = "/".join((*parts[:-1], "[^/]+", *parts[-1:]))
    if len(parts) == 2:
        return f"^({spelt}|{cluster}{with_kind})$"
    return f"^({cluster}{spelt}|{with_kind})$" if len(parts) == 3 else f"^{spelt}$"


def _folded(name: str) -> str:
    return name.strip().lower().replace("_", "-")


def _full_forms(workload: Workload) -> frozenset[str]:
    """Returns the spellings of a full name: with and without its cluster and its kind."""
    identity = workload.id
    forms = {
        "/".join(part for part in (cluster, identity.namespace, kind, identity.name) if part)
        for cluster in {identity.cluster, ""}
        for kind in {identity.kind, ""}
    }
    return frozenset(_folded(form) for form in forms)


def _ambiguous(name: str, matches: Sequence[Workload]) -> AmbiguousError:
    full = sorted(str(workload.id) for workload in matches)
    shown = ", ".join(full[:MAX_CANDIDATES]) + (", ..." if len(full) > MAX_CANDIDATES else "")
    return AmbiguousError(
        f"{name!r} is the name of {len(full)} workloads: {shown}.",
        field="service_name",
        remedy="Name one in full.",
        candidates=full,
    )


def _not_found(name: str, workloads: Sequence[Workload]) -> NotFoundError:
    spellings: dict[str, str] = {}
    for workload in workloads:
        names = (str(workload.id), workload.id.name, workload.service_name)
        for text in (*names, workload.service_name.rpartition("/")[2]):
            spellings.setdefault(_folded(text), workload.service_name)
    near = difflib.get_close_matches(_folded(name), spellings, n=3 * MAX_CANDIDATES, cutoff=0.5)
    candidates = tuple(dict.fromkeys(spellings[text] for text in near))[:MAX_CANDIDATES]
    if candidates:
        remedy = f"Nearest: {', '.join(candidates)}."
    elif workloads:
        some = ", ".join(workload.service_name for workload in workloads[:MAX_CANDIDATES])
        remedy = f"None of the {len(workloads)} services of the source has a similar name. Some are {some}."
    else:
        remedy = "The source has no services."
    return NotFoundError(
        f"There is no service {name!r}.", field="service_name", remedy=remedy, candidates=candidates
    )
