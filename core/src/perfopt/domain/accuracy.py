"""How the recommendations in force did on their services' own past."""

import msgspec

from perfopt.domain.enums import OptimizationType


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
