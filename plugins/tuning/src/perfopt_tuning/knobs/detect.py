"""Which runtimes, servers and libraries a container runs."""

import re
from collections.abc import Iterable

from perfopt.plugin import Container, WorkloadSnapshot
from perfopt_tuning.knobs.schema import KnobCatalogue, Runtime

ANNOTATION = "perfopt.io/runtime"
_STATED = re.compile(r"([a-z][a-z_]*)[ -]?(\d+)?(?:\.(\d+))?")
_PRINTED = re.compile(r"(?:go|v)?(?:1\.(?=8\.0_))?(\d+)(?:\.(\d+))?")

Version = int


def command_line(container: Container) -> str:
    """Returns command and arguments joined by spaces, "" where they are not known."""
    return " ".join((*(container.command or ()), *(container.args or ())))


def runtimes_of(
    container: Container, snapshot: WorkloadSnapshot, catalogue: KnobCatalogue
) -> dict[str, Version | None]:
    """Returns the runtimes found, by name, with their version as major x 100 + minor where it is known.

    The annotations perfopt.io/runtime and perfopt.io/runtime.<container> ("go1.24", "jvm21, hikari") come
    first; then image, environment, command line and what the container's own metrics say it is; then
    other metrics, where no other container could have them.
    """
    alone = sum(not one.sidecar for one in snapshot.workload.state.containers) == 1
    versions = _stated(container, snapshot.workload.annotations, catalogue)
    for name, runtime in catalogue.runtimes.items():
        required = runtime.entry.requires
        if required is not None and required not in versions:
            continue
        if name in versions:
            continue
        if name in container.runtimes:
            versions[name] = _parsed_version(container.runtimes[name])
        elif _recognised(runtime, container, snapshot, alone=alone):
            versions[name] = _version(runtime, container)
    return versions


def _stated(
    container: Container, annotations: dict[str, str], catalogue: KnobCatalogue
) -> dict[str, Version | None]:
    text = annotations.get(f"{ANNOTATION}.{container.name}", annotations.get(ANNOTATION, ""))
    versions: dict[str, Version | None] = {}
    for part in text.lower().split(","):
        match = _STATED.fullmatch(part.strip())
        if match is not None and match[1] in catalogue.runtimes:
            versions[match[1]] = _number(match[2], match[3])
    return versions


def _recognised(runtime: Runtime, container: Container, snapshot: WorkloadSnapshot, *, alone: bool) -> bool:
    entry, line = runtime.entry, command_line(container)
    if any(pattern.search(line) for pattern in runtime.unless_args):
        return False
    return (
        entry.every_container
        or any(pattern.search(container.image or "") for pattern in runtime.images)
        or any(name in (container.env or {}) or name in container.env_elsewhere for name in entry.env)
        or any(pattern.search(line) for pattern in runtime.args)
        or (alone and _has(snapshot, container, entry.metrics))
    )


def _has(snapshot: WorkloadSnapshot, container: Container, metrics: Iterable[str]) -> bool:
    return any(
        metric in snapshot.service or snapshot.series(container.name, metric) is not None
        for metric in metrics
    )


def _version(runtime: Runtime, container: Container) -> Version | None:
    match = runtime.version and runtime.version.search(container.image or "")
    return _number(match[1], match[2]) if match else None


def _parsed_version(version: str) -> Version | None:
    """Reads go1.24.1, v20.11.0, 21.0.2+13-LTS, and 1.8.0_402, which is Java 8."""
    match = _PRINTED.match(version)
    return None if match is None else _number(match[1], match[2])


def _number(major: str | None, minor: str | None) -> Version | None:
    return None if major is None else int(major) * 100 + int(minor or 0)
