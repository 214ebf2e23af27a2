"""Enumerations of the contract: additions only, no renames."""

from enum import StrEnum


class OptimizationType(StrEnum):
    """What kind of change a recommendation makes."""

    RESOURCE_OPTIMIZATION = "RESOURCE_OPTIMIZATION"
    PERFORMANCE_TUNING = "PERFORMANCE_TUNING"
    SCALING_OPTIMIZATION = "SCALING_OPTIMIZATION"
    COST_OPTIMIZATION = "COST_OPTIMIZATION"
    LATENCY_OPTIMIZATION = "LATENCY_OPTIMIZATION"


class OptimizationStatus(StrEnum):
    """Where a job stands."""

    ANALYZING = "ANALYZING"
    RECOMMENDATIONS_READY = "RECOMMENDATIONS_READY"
    APPLYING = "APPLYING"
    APPLIED = "APPLIED"
    FAILED = "FAILED"
    ROLLED_BACK = "ROLLED_BACK"


class ServiceClass(StrEnum):
    """How much a violation costs a service, relative to waste."""

    CRITICAL = "critical"
    STANDARD = "standard"
    BATCH = "batch"


class Basis(StrEnum):
    """What a baseline of requests rests on."""

    DECLARED = "declared"
    ASSUMED_FROM_LIMIT = "assumed_from_limit"
    UNKNOWN = "unknown"


class DeclineCode(StrEnum):
    """Why no recommendation was made. Stable: users filter on it."""

    SHORT_HISTORY = "short_history"
    LOW_COVERAGE = "low_coverage"
    NO_DATA = "no_data"
    NO_STRATEGY = "no_strategy"
    OWNED_BY_CONTROLLER = "owned_by_controller"
    UNSTABLE = "unstable"
    UNKNOWN_STATE = "unknown_state"
    LOW_CONFIDENCE = "low_confidence"
    VETOED = "vetoed"
    CONFLICT = "conflict"
    NO_NET_BENEFIT = "no_net_benefit"
    NOT_APPLICABLE = "not_applicable"
    STRATEGY_FAILED = "strategy_failed"

    @classmethod
    def _missing_(cls, value: object) -> "DeclineCode | None":
        """Reads the code of older versions, for one minor version."""
        return cls.NO_NET_BENEFIT if value == "not_worth_it" else None
