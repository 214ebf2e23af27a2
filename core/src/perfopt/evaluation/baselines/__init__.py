"""Policies of other tools as pure functions, to replay beside ours; algorithms as in the tools' files."""

from perfopt.evaluation.baselines import attune, autopilot, crane, krr, kruize, vpa
from perfopt.evaluation.baselines.base import ToolPolicy, per_container
from perfopt.evaluation.baselines.constants import CPU_FACTOR, MEMORY_FACTOR, constants, parse_constants
from perfopt.evaluation.baselines.history import percentile_of_history
from perfopt.evaluation.baselines.variants import parse_variant

_RULES = (
    ("krr-simple", "KRR simple: cpu P95 of the hottest pod, memory peak and 15 %", krr.simple(95.0)),
    ("krr-simple-limit", "KRR simple_limit: cpu P66, limit P96, of all pods", krr.simple_limit(66.0, 96.0)),
    ("krr-p99", "KRR simple at cpu P99", krr.simple(99.0)),
    ("vpa", "Vertical pod autoscaler: target", vpa.target),
    ("goldilocks", "Goldilocks Guaranteed: requests and limits at the target", vpa.goldilocks),
    (
        "goldilocks-burstable",
        "Goldilocks Burstable: requests at the lower bound, limits at the upper",
        vpa.goldilocks_burstable,
    ),
    ("crane", "Crane: P99 of 7 days and 15 %, in buckets of 0.1 core and 100 MiB", crane.percentile),
    ("kruize-cost", "Kruize cost: peak under a core, else P60", kruize.profile(kruize.COST_PERCENT)),
    (
        "kruize-performance",
        "Kruize performance: peak under a core, else P98",
        kruize.profile(kruize.PERFORMANCE_PERCENT),
    ),
    ("attune", "Attune: highest hour-of-day percentile and overheads", attune.recommend),
    (
        "autopilot",
        "Autopilot, moving window: load-adjusted P95 of cpu, peak of memory, 15 %",
        autopilot.moving_window,
    ),
    (
        "constants",
        "1.1 x the highest cpu, 2.5 x the highest memory, at most the limits",
        constants(CPU_FACTOR, MEMORY_FACTOR),
    ),
    ("max", "The maximum of the history", percentile_of_history(100.0)),
    ("p99", "The P99 of the history", percentile_of_history(99.0)),
)

BASELINES = {name: ToolPolicy(name, about, per_container(rule)) for name, about, rule in _RULES}
FITTED = {
    "forest": "A random forest's distribution of need, sizes by expected saving; fitted to the other half",
    "constants-tuned": "The two constants that save most on the other half, at most the limits",
}
"""Baselines that are fitted to a fleet (`perfopt.backtest.fitting`), and what each does."""
BASELINE_METRICS = frozenset({"cpu_cores", "memory_bytes", "oom_kills", "cpu_throttled_fraction"})


def baseline_of(name: str) -> ToolPolicy | None:
    """Returns a baseline by its name, with a margin or a cap where the name says so; None is unknown.

    Args:
        name: as in `BASELINES`, or "constants:1.3,1.5" (factors of the highest cpu and memory); and then
            "+20%" (a margin) or "+cap" (at most the current limit), or both.
    """
    if name in BASELINES:
        return BASELINES[name]
    factors = parse_constants(name)
    if factors is not None:
        about = f"{factors[0]:g} x the highest cpu, {factors[1]:g} x the highest memory, at most the limits"
        return ToolPolicy(name, about, per_container(constants(*factors)))
    parsed = parse_variant(name)
    base = None if parsed is None else baseline_of(parsed[0])
    if parsed is None or base is None:
        return None
    variant = parsed[1]
    margin = f", {variant.margin:.0%} on top" if variant.margin else ""
    cap = ", at most the current limit" if variant.capped else ""
    return ToolPolicy(name, f"{base.about}{margin}{cap}", variant.apply(base.decide))


__all__ = ["BASELINES", "BASELINE_METRICS", "FITTED", "ToolPolicy", "baseline_of"]
