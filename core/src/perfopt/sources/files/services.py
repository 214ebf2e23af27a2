"""The services file: what each series of a file source has now, and how it is called.

openslo: [slos.yaml]              # latency objectives by service; paths beside this file
price_books:
onprem: {currency: EUR, cpu_core_hour: 0.018, memory_gib_hour: 0.0024}
defaults:
class: standard
services:
portfolio_management_service:
series: bitbrains-rnd/vm007       # the same as the name, unless it says so
requests: {cpu: 500m, memory: 1Gi}
limits: {cpu: "1", memory: 2Gi}
replicas: 3
capacity: {cpu: "4", memory: 16Gi}
price_book: onprem
slo: {latency_ms: 250, quantile: 0.99}
calendar: XNYS
zones: [eu-west-1a, eu-west-1b]   # where the cluster has nodes for it
node_type: m6i.large              # of the price book, that it runs on
topology_spread_constraints: []   # as its manifest has them
class: critical
hpa: {min_replicas: 2, max_replicas: 6, target_cpu_utilization_percent: 70}
labels: {team: core}
image: registry.example/portfolio:1.4
env: {GOMAXPROCS: "4"}
args: [--workers, "4"]
annotations: {perfopt.io/runtime: go1.24}
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from perfopt.autoscaling.behavior import Behavior
from perfopt.config.documents import YamlDocument, read_yaml, reraise_at
from perfopt.config.paths import suggestion
from perfopt.config.prices import price_book
from perfopt.domain.enums import ServiceClass
from perfopt.domain.price import PriceBook
from perfopt.domain.quantity import parse_cpu, parse_memory
from perfopt.domain.workload import HpaState, Slo
from perfopt.errors import InvalidInputError
from perfopt.metrics.catalogue import METRICS
from perfopt.sources.objectives import annotated_objective, normalised, read_openslo

_SECTIONS = ("openslo", "price_books", "defaults", "services")
Quantity = str | int | float
Replicas = Annotated[int, Meta(ge=0, le=100_000)]
Percent = Annotated[int, Meta(ge=1, le=10_000)]


class _QuantitiesEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    cpu: Quantity | None = None
    memory: Quantity | None = None


class _SloEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    latency_ms: Annotated[float, Meta(gt=0, le=1e9)]
    quantile: Annotated[float, Meta(gt=0, lt=1)] = 0.99


class _HpaEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    min_replicas: Replicas = 1
    max_replicas: Annotated[int, Meta(ge=1, le=100_000)]
    target_cpu_utilization_percent: Percent | None = None
    target_memory_utilization_percent: Percent | None = None
    other_metrics: tuple[str, ...] = ()
    behavior: dict[str, Any] | None = None


class _ServiceEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    series: Annotated[str, Meta(min_length=1)] | None = None
    requests: _QuantitiesEntry | None = None
    limits: _QuantitiesEntry | None = None
    capacity: _QuantitiesEntry | None = None
    replicas: Replicas | None = None
    price_book: str | dict[str, Any] | None = None
    slo: _SloEntry | None = None
    calendar: Annotated[str, Meta(min_length=1)] | None = None
    service_class: ServiceClass | None = msgspec.field(name="class", default=None)
    hpa: _HpaEntry | None = None
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    image: str | None = None
    env: dict[str, str] | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    zones: tuple[Annotated[str, Meta(min_length=1)], ...] = ()
    node_type: Annotated[str, Meta(min_length=1)] | None = None
    topology_spread_constraints: list[dict[str, Any]] = []


@dataclass(frozen=True, slots=True)
class DeclaredResources:
    """CPU in cores and memory in bytes; None is unset."""

    cpu_cores: float | None = None
    memory_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """What the services file says of one service; None where it says nothing.

    Attributes:
        series: the series_id of its samples; None is the service's own name.
        requests, limits: of one replica. A section that is there is complete: what it leaves out is unset.
        capacity: what a fraction of 1 stands for in the metrics cpu_fraction and memory_fraction.
        price_book: the name of one.
        calendar: the exchange whose sessions the load follows, such as XNYS.
        image, env, command, args: of the container, as a manifest would have them.
        zones: where the cluster has nodes for it; empty is unknown.
        node_type: of the price book, that it runs on.
        topology_spread_constraints: as its manifest has them.
    """

    series: str | None = None
    requests: DeclaredResources | None = None
    limits: DeclaredResources | None = None
    capacity: DeclaredResources | None = None
    replicas: int | None = None
    price_book: str | None = None
    slo: Slo | None = None
    calendar: str | None = None
    service_class: ServiceClass = ServiceClass.STANDARD
    hpa: HpaState | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str] = field(default_factory=dict)
    image: str | None = None
    env: Mapping[str, str] | None = None
    command: tuple[str, ...] | None = None
    args: tuple[str, ...] | None = None
    zones: tuple[str, ...] = ()
    node_type: str | None = None
    topology_spread_constraints: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class ServicesFile:
    """A parsed services file; an empty one says nothing of any series.

    Attributes:
        services: service name to entry, the defaults already in it.
        defaults: the entry of a series that is not named.
        price_books: those it brings, by name.
        objectives: of the OpenSLO documents it names, by normalised name of the service.
        document: where it came from, for errors.
    """

    services: Mapping[str, ServiceEntry] = field(default_factory=dict)
    defaults: ServiceEntry = field(default_factory=ServiceEntry)
    price_books: Mapping[str, PriceBook] = field(default_factory=dict)
    objectives: Mapping[str, Slo] = field(default_factory=dict)
    document: YamlDocument = field(default_factory=lambda: YamlDocument("services file", {}))

    def objective(self, name: str, entry: ServiceEntry) -> Slo | None:
        """Returns the latency objective of a service: its own here, else that of an OpenSLO document."""
        return entry.slo or self.objectives.get(normalised(name))

    def check_price_books(self, known: Mapping[str, PriceBook]) -> None:
        """Refuses a service that names a price book which neither this file nor `known` holds."""
        books = tuple({**known, **self.price_books})
        for name, entry in (*self.services.items(), (None, self.defaults)):
            if entry.price_book is not None and entry.price_book not in books:
                path = ("services", name, "price_book") if name else ("defaults", "price_book")
                if name and self.document.data["services"][name].get("price_book") is None:
                    path = ("defaults", "price_book")
                self.document.fail(
                    path, f"There is no price book {entry.price_book!r}.", suggestion(entry.price_book, books)
                )


def read_services(path: Path) -> ServicesFile:
    """Reads a services file.

    Raises:
        InvalidInputError: unreadable, an unknown field, a wrong type or a malformed quantity; names
            the file, the line and the path (services.web.requests.cpu).
    """
    document = read_yaml(path, what="services file")
    for key in document.data:
        if key not in _SECTIONS:
            document.fail((key,), f"There is no section {key!r}.", suggestion(key, _SECTIONS))
    books = {
        name: price_book(document, value, ("price_books", name), name)
        for name, value in _mapping(document, "price_books").items()
    }
    defaults = _mapping(document, "defaults")
    if "series" in defaults:
        document.fail(("defaults", "series"), "A default cannot name a series.", "Name it below services.")
    parsed_defaults = _entry(document, defaults, {}, ("defaults",), books)
    services = {
        name: _entry(document, value, defaults, ("services", name), books)
        for name, value in _mapping(document, "services").items()
    }
    return ServicesFile(services, parsed_defaults, books, _objectives(document, path.parent), document)


def _objectives(document: YamlDocument, folder: Path) -> dict[str, Slo]:
    names = document.convert(document.data.get("openslo") or [], list[str], ("openslo",))
    return read_openslo([folder / name for name in names])


def _mapping(document: YamlDocument, key: str) -> dict[str, Any]:
    value = document.data.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        document.fail((key,), "This is not a mapping.", "Write `name: value` lines below it.")
    return value


def _entry(
    document: YamlDocument,
    value: Any,
    defaults: dict[str, Any],
    path: tuple[str, ...],
    books: dict[str, PriceBook],
) -> ServiceEntry:
    own = document.convert({} if value is None else value, _ServiceEntry, path)
    labels = {**defaults.get("labels", {}), **own.labels}
    annotations = {**defaults.get("annotations", {}), **own.annotations}
    merged = {**defaults, **{key: item for key, item in (value or {}).items() if item is not None}}
    raw = document.convert({**merged, "labels": labels, "annotations": annotations}, _ServiceEntry, path)

    def quantities(name: str) -> DeclaredResources | None:
        given = getattr(raw, name)
        return None if given is None else _resources(document, given, (*_origin(value, path, name), name))

    requests, limits = quantities("requests"), quantities("limits")
    _require_order(document, requests, limits, (*_origin(value, path, "limits"), "limits"))
    return ServiceEntry(
        series=raw.series,
        requests=requests,
        limits=limits,
        capacity=quantities("capacity"),
        replicas=raw.replicas,
        price_book=_price_book(document, raw.price_book, _origin(value, path, "price_book"), books),
        slo=_slo(document, raw, path),
        calendar=raw.calendar,
        service_class=raw.service_class or ServiceClass.STANDARD,
        hpa=None if raw.hpa is None else _hpa(document, raw.hpa, _origin(value, path, "hpa")),
        labels=raw.labels,
        annotations=raw.annotations,
        image=raw.image,
        env=raw.env,
        command=raw.command,
        args=raw.args,
        zones=tuple(dict.fromkeys(raw.zones)),
        node_type=raw.node_type,
        topology_spread_constraints=tuple(raw.topology_spread_constraints),
    )


def _slo(document: YamlDocument, raw: _ServiceEntry, path: tuple[str, ...]) -> Slo | None:
    if raw.slo is not None:
        return Slo(**msgspec.structs.asdict(raw.slo))
    try:
        return annotated_objective(raw.annotations)
    except InvalidInputError as error:
        reraise_at(document, (*path, "annotations"), error)


def _origin(value: Any, path: tuple[str, ...], name: str) -> tuple[str, ...]:
    return path if (value or {}).get(name) is not None else ("defaults",)


def _resources(document: YamlDocument, given: _QuantitiesEntry, path: tuple[str, ...]) -> DeclaredResources:
    try:
        cpu = None if given.cpu is None else parse_cpu(str(given.cpu))
    except InvalidInputError as error:
        reraise_at(document, (*path, "cpu"), error)
    try:
        memory = None if given.memory is None else parse_memory(str(given.memory))
    except InvalidInputError as error:
        reraise_at(document, (*path, "memory"), error)
    _bounded(document, cpu, METRICS["cpu_cores"].ceiling, (*path, "cpu"))
    _bounded(document, memory, METRICS["memory_bytes"].ceiling, (*path, "memory"))
    return DeclaredResources(cpu, memory)


def _require_order(
    document: YamlDocument,
    requests: DeclaredResources | None,
    limits: DeclaredResources | None,
    path: tuple[str, ...],
) -> None:
    """Refuses a limit below its request, which Kubernetes refuses too."""
    if requests is None or limits is None:
        return
    for name, requested, most in (
        ("cpu", requests.cpu_cores, limits.cpu_cores),
        ("memory", requests.memory_bytes, limits.memory_bytes),
    ):
        if requested is not None and most is not None and most < requested:
            document.fail((*path, name), f"The {name} limit is below the request.", "Raise it or lower that.")


def _bounded(document: YamlDocument, value: float | None, ceiling: float, path: tuple[str, ...]) -> None:
    if value is not None and not 0 <= value <= ceiling:
        document.fail(path, "No machine has as much, or less than nothing.", "Correct the quantity.")


def _hpa(document: YamlDocument, given: _HpaEntry, path: tuple[str, ...]) -> HpaState:
    if given.min_replicas > given.max_replicas:
        document.fail((*path, "hpa"), "min_replicas is above max_replicas.", "Swap or correct them.")
    try:
        Behavior.parse(given.behavior)
    except InvalidInputError as error:
        reraise_at(document, (*path, "hpa"), error)
    return HpaState(**msgspec.structs.asdict(given))


def _price_book(
    document: YamlDocument,
    given: str | dict[str, Any] | None,
    path: tuple[str, ...],
    books: dict[str, PriceBook],
) -> str | None:
    if given is None or isinstance(given, str):
        return given
    inline = price_book(document, given, (*path, "price_book"), ".".join(path))
    if books.setdefault(inline.name, inline) != inline:
        document.fail(
            (*path, "price_book"),
            f"There are two different price books {inline.name!r}.",
            "Give each a name of its own.",
        )
    return inline.name
