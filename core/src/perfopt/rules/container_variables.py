"""The variables of rules for containers: the container, its use and its forecast."""

from collections.abc import Callable
from typing import Any

from perfopt.rules.facts import RuleFacts
from perfopt.rules.variable import RuleVariable


def container_variables() -> list[RuleVariable]:
    """Returns them, but for the four quantities."""
    return [*_of_the_cluster(), *_of_the_container(), *_of_its_cpu(), *_of_its_memory(), *_of_the_forecast()]


def _variable(
    name: str, kind: str, meaning: str, read: Callable[[RuleFacts], Any], unit: str = "", metric: str = ""
) -> RuleVariable:
    return RuleVariable(f"container.{name}", kind, unit, meaning, "container", read, metric)


def _used(metric: str, quantile: float) -> Callable[[RuleFacts], Any]:
    return lambda f: f.history.quantile(f.container.name, metric, quantile)


def _memory_peak(hours: float | None) -> Callable[[RuleFacts], Any]:
    return lambda f: f.history.peak(f.container.name, "memory_bytes", hours)


def _bound(resource: str, bound: str) -> Callable[[RuleFacts], Any]:
    return lambda f: getattr(f.room(resource), bound)


def _of_the_cluster() -> list[RuleVariable]:
    """Returns the bounds that the cluster sets."""
    bounds = (
        ("least", "minimum of the namespace's LimitRange; unknown without one"),
        ("request_least", "limit by the largest ratio of a LimitRange; unknown without one"),
        ("request_most", "what the largest node, LimitRange and quotas leave; unknown without them"),
        ("limit_most", "what the largest node, LimitRange and quotas leave; unknown without them"),
    )
    return [
        _variable(f"cluster.{resource}_{bound}", "double", meaning, _bound(resource, bound), unit)
        for resource, unit in (("cpu", "cores"), ("memory", "bytes"))
        for bound, meaning in bounds
    ]


def _of_the_container() -> list[RuleVariable]:
    """Returns what the container is."""
    return [
        _variable("name", "string", "name of the container", lambda f: f.container.name),
        _variable("sidecar", "bool", "it is a native sidecar", lambda f: f.container.sidecar),
        _variable("image", "string", 'image it runs; "" where unknown', lambda f: f.container.image or ""),
    ]


def _of_its_cpu() -> list[RuleVariable]:
    """Returns its use of CPU."""
    return [
        _variable(
            "history.cpu_p50",
            "double",
            "use of the hottest pod, quantile over the history",
            _used("cpu_cores", 0.5),
            "cores",
        ),
        _variable(
            "history.cpu_p95",
            "double",
            "use of the hottest pod, quantile over the history",
            _used("cpu_cores", 0.95),
            "cores",
        ),
        _variable(
            "history.cpu_p99",
            "double",
            "use of the hottest pod, quantile over the history",
            _used("cpu_cores", 0.99),
            "cores",
        ),
        _variable(
            "history.cpu_max",
            "double",
            "use of the hottest pod, largest of the history",
            _used("cpu_cores", 1.0),
            "cores",
        ),
        _variable(
            "history.cpu_throttled_p95",
            "double",
            "share of throttled periods, quantile over the history",
            _used("cpu_throttled_fraction", 0.95),
            "ratio",
            "cpu_throttled_fraction",
        ),
    ]


def _of_its_memory() -> list[RuleVariable]:
    """Returns its use of memory."""
    return [
        _variable(
            "history.memory_p50",
            "double",
            "use of the hottest pod, quantile over the history",
            _used("memory_bytes", 0.5),
            "bytes",
        ),
        _variable(
            "history.memory_peak_24h",
            "double",
            "largest use of any pod in the last 24 hours",
            _memory_peak(24),
            "bytes",
        ),
        _variable(
            "history.memory_peak_7d",
            "double",
            "largest use of any pod in the last 7 days",
            _memory_peak(168),
            "bytes",
        ),
        _variable(
            "history.memory_peak",
            "double",
            "largest use of any pod in the history",
            _memory_peak(None),
            "bytes",
        ),
    ]


def _of_the_forecast() -> list[RuleVariable]:
    """Returns the forecast of its use."""
    return [
        _variable(
            "forecast.cpu_median_peak",
            "double",
            "highest median over the validity; unknown where none can be made",
            lambda f: f.forecast_peak(f"{f.container.name}/cpu_cores", 0.5),
            "cores",
        ),
        _variable(
            "forecast.cpu_upper_peak",
            "double",
            "highest 0.95 quantile over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/cpu_cores", 0.95),
            "cores",
        ),
        _variable(
            "forecast.memory_median_peak",
            "double",
            "highest median over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/memory_bytes", 0.5),
            "bytes",
        ),
        _variable(
            "forecast.memory_upper_peak",
            "double",
            "highest 0.95 quantile over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/memory_bytes", 0.95),
            "bytes",
        ),
    ]
