"""The variables that every rule may read: workload, labels, cluster, calendar, history and forecast."""

from collections.abc import Callable
from typing import Any

from perfopt.rules.facts import RuleFacts
from perfopt.rules.variable import RuleVariable


def workload_variables() -> list[RuleVariable]:
    """Returns them."""
    return [*_of_the_workload(), *_of_the_surroundings(), *_of_the_history()]


def _variable(
    name: str, kind: str, meaning: str, read: Callable[[RuleFacts], Any], unit: str = "", metric: str = ""
) -> RuleVariable:
    return RuleVariable(name, kind, unit, meaning, "workload", read, metric)


def _of_the_workload() -> list[RuleVariable]:
    """Returns what the workload is and who owns its replicas."""
    return [
        _variable("workload.name", "string", "name of the workload", lambda f: f.workload.id.name),
        _variable(
            "workload.service_name", "string", "name it is asked for by", lambda f: f.workload.service_name
        ),
        _variable(
            "workload.namespace",
            "string",
            'its namespace; "" for series of files',
            lambda f: f.workload.id.namespace,
        ),
        _variable(
            "workload.kind",
            "string",
            'in lower case: "deployment", ...; "" where unknown',
            lambda f: f.workload.id.kind.lower(),
        ),
        _variable(
            "workload.class",
            "string",
            '"critical", "standard" or "batch"',
            lambda f: f.workload.service_class.value,
        ),
        _variable(
            "workload.has_hpa",
            "bool",
            "a HorizontalPodAutoscaler owns the replicas",
            lambda f: f.current.hpa is not None,
        ),
        _variable(
            "workload.has_keda",
            "bool",
            "a KEDA ScaledObject owns the replicas",
            lambda f: f.current.keda is not None,
        ),
        _variable(
            "workload.autoscaler_unknown",
            "bool",
            "an autoscaler may be for it whose target or metrics the source does not show",
            lambda f: bool(f.workload.unknown_autoscalers),
        ),
        _variable(
            "workload.vpa_mode",
            "string",
            'mode of its VerticalPodAutoscaler: "Auto", ...; "" without one',
            lambda f: f.current.vpa_mode or "",
        ),
        _variable(
            "workload.slo_latency_ms",
            "double",
            "latency objective; unknown without one",
            lambda f: f.slo_latency_ms,
            "ms",
        ),
        _variable("labels", "map", "labels of the workload", lambda f: f.workload.labels),
        _variable("annotations", "map", "annotations of the workload", lambda f: f.workload.annotations),
    ]


def _of_the_surroundings() -> list[RuleVariable]:
    """Returns cluster and calendar."""
    return [
        _variable(
            "cluster.name", "string", 'name of the cluster; "" where unknown', lambda f: f.workload.id.cluster
        ),
        _variable(
            "cluster.labels",
            "map",
            "labels that `rules.clusters` of the configuration gives the cluster",
            lambda f: f.cluster_labels,
        ),
        _variable(
            "calendar.now", "timestamp", "the instant of the recommendation, UTC", lambda f: f.context.now
        ),
        _variable(
            "calendar.market_open",
            "bool",
            "the exchange in the pack's parameter `exchange` is open now; unknown without its sessions",
            lambda f: f.market_open,
        ),
        _variable(
            "calendar.hours_to_open",
            "double",
            "until that exchange next opens, 0 while it is open",
            lambda f: f.hours_to_open,
            "hours",
        ),
    ]


def _of_the_history() -> list[RuleVariable]:
    """Returns the history of the workload, and the forecast of its requests."""
    return [
        _variable(
            "history.days", "double", "from the first sample of use to now", lambda f: f.history.days, "days"
        ),
        _variable(
            "history.coverage",
            "double",
            "smallest share of samples there, over CPU and memory of the containers",
            lambda f: f.history.coverage,
            "ratio",
        ),
        _variable(
            "history.requests_per_second_p99",
            "double",
            "over the history; unknown where not measured",
            lambda f: f.history.service_quantile("requests_per_second", 0.99),
            "requests/s",
            "requests_per_second",
        ),
        _variable(
            "history.latency_p99_ms_median",
            "double",
            "of the p99 latency; unknown where not measured",
            lambda f: f.history.service_quantile("latency_p99_ms", 0.5),
            "ms",
            "latency_p99_ms",
        ),
        _variable(
            "history.oom_kills",
            "double",
            "of all pods and containers in the history; unknown where not measured",
            lambda f: f.history.total("oom_kills"),
            "kills",
            "oom_kills",
        ),
        _variable(
            "history.restarts",
            "double",
            "of all pods and containers in the history; unknown where not measured",
            lambda f: f.history.total("restarts"),
            "restarts",
            "restarts",
        ),
        _variable(
            "forecast.requests_per_second_peak",
            "double",
            "highest median over the validity; unknown where none can be made",
            lambda f: f.forecast_peak("requests_per_second", 0.5),
            "requests/s",
            "requests_per_second",
        ),
    ]
