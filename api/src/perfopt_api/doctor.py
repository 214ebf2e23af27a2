"""Looks at everything the service depends on, and says of each what is wrong and what to do."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Literal

import msgspec
from sqlalchemy import func, select

from perfopt.config import Config
from perfopt.config.kubernetes import KubernetesConfig
from perfopt.config.prometheus import PrometheusConfig
from perfopt.engine.probe import probe_plugins
from perfopt.engine.registry import PluginStatus
from perfopt.errors import PerfoptError
from perfopt.sources.factory import open_source
from perfopt.sources.kubernetes.inventory import KubernetesInventory
from perfopt.sources.prometheus.client import PrometheusClient
from perfopt_api.apply.executor import can_apply
from perfopt_api.apply.kubernetes.access import rules
from perfopt_api.apply.kubernetes.client import KubernetesRequests
from perfopt_api.backends import nats_files
from perfopt_api.events.nats import NatsConnection
from perfopt_api.policy.git import GitRepository, git_settings
from perfopt_api.settings import ServiceSettings, service_settings
from perfopt_api.store.database import Database
from perfopt_api.store.readiness import DatabaseReadiness

CLOCK_SECONDS = 5.0
"""Between this clock and that of PostgreSQL: leases of 15 s bear no more."""
NEEDED = (
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_pod_container_info",
    "kube_pod_owner",
)
"""Without one of these no workload can be sized."""
USEFUL = (
    "container_cpu_cfs_throttled_periods_total",
    "kube_pod_container_resource_limits",
    "kube_pod_container_resource_requests",
    "kube_pod_container_status_last_terminated_reason",
)
_CONNECT_SECONDS = 5.0
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
Status = Literal["ok", "warning", "failed"]


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True):
    """What one check found.

    Attributes:
        check: what was looked at.
        status: a warning costs quality only; what failed keeps the service from its work.
        message: what was found.
        remedy: what to do about it.
    """

    check: str
    status: Status
    message: str
    remedy: str | None = None


Check = Callable[[], Awaitable[list[Diagnosis]]]


async def examine(config: Config) -> AsyncIterator[Diagnosis]:
    """Runs every check and gives what each found; one that fails is no end of it.

    Args:
        config: the effective configuration.

    Raises:
        InvalidInputError: the section `service` is wrong.
    """
    settings = service_settings(config)
    checks: list[tuple[str, Check]] = [
        ("postgresql", partial(_postgresql, settings)),
        ("nats", partial(_nats, settings)),
        ("plugins", partial(_plugins, config)),
    ]
    if not config.sources:
        yield Diagnosis(
            check="sources",
            status="failed",
            message="No metric source is configured, so nothing can be analysed.",
            remedy="Add one under `sources`, see docs/how-to/read-a-prometheus.md.",
        )
    for name, source in config.sources.items():
        checks.append((f"source {name}", partial(_source, name, config)))
        if isinstance(source, PrometheusConfig):
            checks.append((f"metrics of {name}", partial(_metrics, source)))
            if (cluster := source.kubernetes) is not None:
                checks.append((f"cluster of {name}", partial(_cluster, cluster)))
                if can_apply(config) and settings.worker_class in (None, "apply"):
                    checks.append((f"rights in {name}", partial(_rights, cluster)))
    for name, repository in git_settings(config).repositories.items():
        checks.append((f"git {name}", partial(_programs, repository)))
    for name, check in checks:
        for finding in await _run(name, check):
            yield finding


async def _run(name: str, check: Check) -> list[Diagnosis]:
    try:
        findings = await check()
    except PerfoptError as error:
        findings = [_failed(error.message, error.remedy)]
    except Exception as error:
        findings = [_failed(f"It failed with {error!r}.", "Look at the log of what it names.")]
    return [msgspec.structs.replace(each, check=name) for each in findings]


def _ok(message: str) -> Diagnosis:
    return Diagnosis(check="", status="ok", message=message)


def _failed(message: str, remedy: str | None) -> Diagnosis:
    return Diagnosis(check="", status="failed", message=message, remedy=remedy)


def _warning(message: str, remedy: str) -> Diagnosis:
    return Diagnosis(check="", status="warning", message=message, remedy=remedy)


async def _postgresql(settings: ServiceSettings) -> list[Diagnosis]:
    database = Database(settings.database_url, pool_size=1)
    try:
        await DatabaseReadiness(database).check()
        async with database.transaction() as connection:
            there = (await connection.execute(select(func.clock_timestamp()))).scalar_one()
        findings = [_ok(f"{database.place} takes writes, and its schema fits.")]
        return [*findings, clock(there, datetime.now(UTC))]
    finally:
        await database.close()


def clock(there: datetime, here: datetime) -> Diagnosis:
    """Compares the clock of PostgreSQL with this one."""
    apart = abs((there - here).total_seconds())
    if apart > CLOCK_SECONDS:
        return _failed(
            f"The clocks of PostgreSQL and of this machine are {apart:.0f} s apart.",
            "Synchronise both by NTP.",
        )
    return _ok(f"The clocks are within {CLOCK_SECONDS:g} s of each other.")


async def _nats(settings: ServiceSettings) -> list[Diagnosis]:
    connection = await NatsConnection.connect(
        settings.nats_url,
        name="perfopt-doctor",
        within=_CONNECT_SECONDS,
        files=nats_files(settings),
    )
    try:
        with connection.translated():
            known = {each.config.name for each in await connection.jetstream.streams_info()}
    finally:
        await connection.close()
    missing = [name for name in (settings.event_stream, settings.job_stream) if name not in known]
    if missing:
        names = " and ".join(missing)
        return [_warning(f"JetStream has no stream {names} yet.", "Start an API or a worker.")]
    return [_ok("JetStream has both streams.")]


async def _plugins(config: Config) -> list[Diagnosis]:
    plugins = (await asyncio.to_thread(probe_plugins, config.engine.disabled())).plugins
    broken = [each for each in plugins if each.error is not None]
    loaded = [each.name for each in plugins if each.status is PluginStatus.LOADED and each.types]
    if not loaded:
        return [_failed("No plugin with a strategy is loaded.", "Install one, such as perfopt-resource.")]
    return [
        _ok(f"Loaded: {', '.join(sorted(loaded))}."),
        *(_failed(f"{each.name}: {each.error}", "Mend, remove or disable it.") for each in broken),
    ]


async def _source(name: str, config: Config) -> list[Diagnosis]:
    source = await asyncio.to_thread(open_source, name, config)
    try:
        latest = await source.latest()
        workloads = await source.inventory(latest)
    finally:
        await source.close()
    return [_ok(f"It has {len(workloads)} workloads at {latest:%Y-%m-%d %H:%M} UTC.")]


async def _metrics(config: PrometheusConfig) -> list[Diagnosis]:
    client = PrometheusClient(config)
    names = "|".join((*NEEDED, *USEFUL))
    matchers = ",".join((f'__name__=~"{names}"', *config.matchers))
    try:
        before = datetime.now(UTC) - timedelta(minutes=1)
        samples = await client.query(f"count by (__name__) ({{{matchers}}})", before)
    finally:
        await client.close()
    return missing_metrics({each.labels["__name__"] for each in samples})


def missing_metrics(there: Collection[str]) -> list[Diagnosis]:
    """Says which of the metrics that are read a source lacks."""
    needed = [name for name in NEEDED if name not in there]
    useful = [name for name in USEFUL if name not in there]
    remedy = "Scrape cAdvisor (container_*) and kube-state-metrics (kube_*) into it, and check `matchers`."
    missing = []
    if needed:
        missing.append(_failed(f"It lacks {', '.join(needed)}.", remedy))
    if useful:
        missing.append(_warning(f"It lacks {', '.join(useful)}: recommendations know less.", remedy))
    return missing or [_ok("All metrics that are read are there.")]


async def _programs(repository: GitRepository) -> list[Diagnosis]:
    """Looks for what commits and pull requests are made with."""
    needed = ("git", *repository.pull_request[:1])
    missing = [name for name in needed if shutil.which(name) is None]
    if missing:
        return [_failed(f"{', '.join(missing)} cannot be run here.", "Install it where perfopt runs.")]
    return [_ok(f"{', '.join(needed)} can be run.")]


async def _cluster(config: KubernetesConfig) -> list[Diagnosis]:
    inventory = KubernetesInventory(config)
    try:
        await inventory.read()
    finally:
        await inventory.close()
    return [_ok("Its API can be read.")]


async def _rights(config: KubernetesConfig) -> list[Diagnosis]:
    requests = KubernetesRequests(config)
    denied = []
    with contextlib.closing(requests):
        for rule in rules():
            for verb in rule["verbs"]:
                if not await _allowed(requests, rule, verb, config.namespaces):
                    denied.append(f"{verb} {rule['resources'][0]}")
    if denied:
        return [
            _failed(
                f"This account may not {', '.join(denied)}.",
                "Set apply.enabled of the chart, or grant the rules of its files/apply-rules.yaml.",
            )
        ]
    return [_ok("This account may make every call of an apply.")]


async def _allowed(
    requests: KubernetesRequests, rule: dict[str, list[str]], verb: str, spaces: Collection[str]
) -> bool:
    resource, _, subresource = rule["resources"][0].partition("/")
    attributes = {"verb": verb, "group": rule["apiGroups"][0], "resource": resource}
    if subresource:
        attributes["subresource"] = subresource
    if "resourceNames" in rule:
        attributes["name"] = rule["resourceNames"][0]
    for space in spaces or ("",):
        where = "" if resource in ("nodes", "namespaces") else space
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {**attributes, "namespace": where}},
        }
        if not (await requests.create(_REVIEW, body))["status"]["allowed"]:
            return False
    return True
