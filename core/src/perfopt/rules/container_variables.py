"""The variables of rules for containers: the container, its use and its forecast."""

from collections.abc import Callable
from typing import Any

from perfopt.rules.facts import RuleFacts
from perfopt.rules.variable import RuleVariable


def container_variables() -> list[RuleVariable]:
    """Returns them, but for the four quantities."""

    def of(
        name: str, kind: str, meaning: str, read: Callable[[RuleFacts], Any], unit: str = "", metric: str = ""
    ) -> RuleVariable:
        return RuleVariable(f"container.{name}", kind, unit, meaning, "container", read, metric)

    def used(metric: str, quantile: float) -> Callable[[RuleFacts], Any]:
        return lambda f: f.history.quantile(f.container.name, metric, quantile)

    def peak(hours: float | None) -> Callable[[RuleFacts], Any]:
        return lambda f: f.history.peak(f.container.name, "memory_bytes", hours)

    def cluster(resource: str, bound: str) -> Callable[[RuleFacts], Any]:
        return lambda f: getattr(f.room(resource), bound)

    return [
        *(
            of(f"cluster.{resource}_{bound}", "double", meaning, cluster(resource, bound), unit)
            for resource, unit in (("cpu", "cores"), ("memory", "bytes"))
            for bound, meaning in (
                ("least", "minimum of the namespace's LimitRange; unknown without one"),
                ("request_most", "what the largest node, LimitRange and quotas leave; unknown without them"),
                ("limit_most", "what the largest node, LimitRange and quotas leave; unknown without them"),
            )
        ),
        of("name", "string", "name of the container", lambda f: f.container.name),
        of("sidecar", "bool", "it is a native sidecar", lambda f: f.container.sidecar),
        of("image", "string", 'image it runs; "" where unknown', lambda f: f.container.image or ""),
        of(
            "history.cpu_p50",
            "double",
            "use of the hottest pod, quantile over the history",
            used("cpu_cores", 0.5),
            "cores",
        ),
        of(
            "history.cpu_p95",
            "double",
            "use of the hottest pod, quantile over the history",
            used("cpu_cores", 0.95),
            "cores",
        ),
        of(
            "history.cpu_p99",
            "double",
            "use of the hottest pod, quantile over the history",
            used("cpu_cores", 0.99),
            "cores",
        ),
        of(
            "history.cpu_max",
            "double",
            "use of the hottest pod, largest of the history",
            used("cpu_cores", 1.0),
            "cores",
        ),
        of(
            "history.cpu_throttled_p95",
            "double",
            "share of throttled periods, quantile over the history",
            used("cpu_throttled_fraction", 0.95),
            "ratio",
            "cpu_throttled_fraction",
        ),
        of(
            "history.memory_p50",
            "double",
            "use of the hottest pod, quantile over the history",
            used("memory_bytes", 0.5),
            "bytes",
        ),
        of(
            "history.memory_peak_24h",
            "double",
            "largest use of any pod in the last 24 hours",
            peak(24),
            "bytes",
        ),
        of(
            "history.memory_peak_7d",
            "double",
            "largest use of any pod in the last 7 days",
            peak(168),
            "bytes",
        ),
        of("history.memory_peak", "double", "largest use of any pod in the history", peak(None), "bytes"),
        of(
            "forecast.cpu_median_peak",
            "double",
            "highest median over the validity; unknown where none can be made",
            lambda f: f.forecast_peak(f"{f.container.name}/cpu_cores", 0.5),
            "cores",
        ),
        of(
            "forecast.cpu_upper_peak",
            "double",
            "highest 0.95 quantile over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/cpu_cores", 0.95),
            "cores",
        ),
        of(
            "forecast.memory_median_peak",
            "double",
            "highest median over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/memory_bytes", 0.5),
            "bytes",
        ),
        of(
            "forecast.memory_upper_peak",
            "double",
            "highest 0.95 quantile over the validity",
            lambda f: f.forecast_peak(f"{f.container.name}/memory_bytes", 0.95),
            "bytes",
        ),
    ]
