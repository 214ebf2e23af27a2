"""How recommendations did: those in force on their services' own past, and all that came to an end."""

import msgspec

from perfopt.domain.enums import OptimizationType

DEFINITION = (
    "cpu: demand at most the request in 99 % of samples; memory: no sample above request or limit;"
    " expected latency and saving realised"
)
"""Of accurate, as results print it."""


class RecordedAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What the recommendations of one type came to that are past their validity, superseded ones too.

    Attributes:
        waiting: not past their validity yet, or still without samples.
        not_scored: past it, and with too little to judge by.
        scored: held against what came; applied: of these, how many were in force.
        accuracy: share of the scored ones that were accurate; None without any.
        confidence: the mean that they stated.
        brier: mean squared difference of what they stated and what came.
        cpu_safe, memory_safe: share of the scored ones that state it.
        cpu_waste, memory_waste: medians over the safe ones.
    """

    waiting: int
    not_scored: int
    scored: int
    applied: int
    accuracy: float | None
    confidence: float | None
    brier: float | None
    cpu_safe: float | None
    memory_safe: float | None
    cpu_waste: float | None
    memory_waste: float | None


class AppliedAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """What applied recommendations of one strategy came to, for services of one class.

    Attributes:
        strategy, version: which strategy, in which version of its plugin.
        applied, rolled_back: jobs that ended so; what was rolled back counts as inaccurate.
        scored: rolled back, or held against what came.
        accuracy: share of the scored ones that were accurate; None without any.
        confidence: the mean that the scored ones stated.
        expected_saving, realised_saving: a month, over the scored ones; an inaccurate one saves nothing. None
            without any, or without prices.
    """

    optimization_type: OptimizationType
    strategy: str
    version: str
    service_class: str
    applied: int
    rolled_back: int
    scored: int
    accuracy: float | None
    confidence: float | None
    expected_saving: float | None
    realised_saving: float | None


class ReplayedAccuracy(msgspec.Struct, frozen=True, kw_only=True):
    """The evidence of all current recommendations of one type, taken together.

    Windows of one service overlap, so their number is not that of independent trials.

    Attributes:
        recommendations: how many are in force.
        confidence: the mean that they state.
        windows: replays that were scored.
        declined, not_scored: replays in which none was made, or that had too few samples.
        accuracy: share of the windows that were accurate; None without any.
        cpu_safe, memory_safe: share of the windows that state it.
        cpu_waste, memory_waste: medians over the safe windows.
        definition: of accurate.
        recorded: what recommendations came to, superseded ones too.
        applied: what those came to that were applied, by strategy and service class.
    """

    optimization_type: OptimizationType
    recommendations: int
    confidence: float
    windows: int
    declined: int
    not_scored: int
    accuracy: float | None
    cpu_safe: float | None
    memory_safe: float | None
    cpu_waste: float | None
    memory_waste: float | None
    definition: str
    recorded: RecordedAccuracy | None = None
    applied: tuple[AppliedAccuracy, ...] = ()
