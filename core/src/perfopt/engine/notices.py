"""Warnings of an analysis: what its user should know of source, configuration and plugins. Pure."""

from datetime import timedelta

import numpy as np

from perfopt.config.loading import Config
from perfopt.domain.period import format_instant
from perfopt.domain.price import PriceBook
from perfopt.domain.recommendation import AnalysisWarning, Coverage
from perfopt.domain.workload import Workload
from perfopt.engine.registry import PluginRegistry, PluginStatus
from perfopt.metrics.snapshot import WorkloadSnapshot

# Below this share of samples a user is warned: the resource type makes no recommendation from less.
LOW_COVERAGE = 0.6
EARLY_END = timedelta(hours=1)
_USE = ("cpu_cores", "memory_bytes")


def config_warnings(config: Config, workload: Workload, book: PriceBook) -> list[AnalysisWarning]:
    """Returns what an analysis reads differently than its configuration seems to say."""
    warnings = []
    if workload.price_book is not None and workload.price_book not in config.price_books:
        text = (
            f"The price book {workload.price_book!r} of {workload.service_name} is not configured;"
            f" {book.name} is used."
        )
        warnings.append(AnalysisWarning(code="unknown_price_book", message=text))
    if config.engine.shortage_costs:
        text = (
            "The setting engine.shortage_costs is deprecated and will be removed with the next minor version;"
            " rename it to engine.under_provisioning_penalties."
        )
        warnings.append(AnalysisWarning(code="deprecated_setting", message=text))
    return warnings


def snapshot_warnings(snapshot: WorkloadSnapshot) -> list[AnalysisWarning]:
    """Returns the warnings of the source, and where few samples are there or they end early."""
    of_source = [AnalysisWarning(code=code, message=text) for code, text in snapshot.warnings]
    return [*of_source, *_coverage_warnings(snapshot), *_end_warnings(snapshot)]


def not_loaded(registry: PluginRegistry) -> list[AnalysisWarning]:
    """Names the plugins that failed to load: without them an analysis holds less than its user expects."""
    return [
        AnalysisWarning(
            code="plugin_not_loaded",
            message=f"The plugin {plugin.name} {plugin.version} was not loaded. {plugin.error}",
            plugin=plugin.name,
        )
        for plugin in registry.plugins
        if plugin.status is PluginStatus.FAILED
    ]


def _coverage_warnings(snapshot: WorkloadSnapshot) -> list[AnalysisWarning]:
    low = [
        f"{name} {coverage.fraction:.0%}{_dropped(coverage)}"
        for name, coverage in sorted(snapshot.coverage.items())
        if coverage.fraction < LOW_COVERAGE and name.rpartition("/")[2] in _USE
    ]
    if not low:
        return []
    return [
        AnalysisWarning(
            code="low_coverage", message=f"Of the expected samples there are only: {', '.join(low)}."
        )
    ]


def _dropped(coverage: Coverage) -> str:
    """Returns how many samples were dropped and why, where that is most of what is missing."""
    dropped = sum(coverage.dropped.values())
    if 2 * dropped <= coverage.expected - coverage.present:
        return ""
    return (
        f" ({', '.join(f'{count:,} {reason}' for reason, count in coverage.dropped.items())} samples dropped)"
    )


def _end_warnings(snapshot: WorkloadSnapshot) -> list[AnalysisWarning]:
    """Returns a warning where a workload that should run has no sample at the end of the period."""
    grid, running = snapshot.grid, snapshot.running
    known = np.zeros(grid.size, dtype=bool)
    for container in snapshot.containers:
        for metric in _USE:
            series = snapshot.series(container, metric)
            if series is not None:
                known |= np.isfinite(series.values).any(axis=0)
    lacking = ~known & ~snapshot.stopped() & (True if running is None else running)
    steps = int(np.argmin(lacking[::-1])) if known.any() else 0
    if steps * grid.step <= EARLY_END:
        return []
    text = (
        f"There is no sample of CPU or memory since {format_instant(grid.end - steps * grid.step)}, and it"
        " should have run: what came after is not in the result. See why the scrape stopped."
    )
    return [AnalysisWarning(code="samples_end_early", message=text)]
