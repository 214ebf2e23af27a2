"""What rules did to recommendations and plans, as a person reads it."""

from perfopt.cli.output.render import table
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation, Plan


def explanation(recommendation: OptimizationRecommendation) -> str:
    """Prints what rules did to a recommendation, in a table."""
    name = f"{recommendation.recommendation_id}: {recommendation.optimization_type}"
    return _explained(f"{name} of {recommendation.service_name}", recommendation)


def plan_explanation(service: str, plan: Plan) -> str:
    """Prints what rules did to the parts of a plan and to the whole."""
    parts = " and ".join(step.recommendation_id for step in plan.steps)
    return _explained(f"The plan of {service}, from {parts}", plan)


def _explained(title: str, recommendation: OptimizationRecommendation | Plan) -> str:
    if not recommendation.rules:
        return f"{title}\nNo rule changed it or held it back.\n"
    rows = [
        (
            f"{fired.pack}/{fired.rule} {fired.version}",
            fired.action,
            " ".join(filter(None, (fired.container, fired.field))),
            _value(fired.before),
            _value(fired.after),
            fired.reason,
        )
        for fired in recommendation.rules
    ]
    shown = table(("RULE", "ACTION", "FIELD", "BEFORE", "AFTER", "REASON"), rows)
    return f"{title}\n{shown}{_conditions(recommendation)}"


def _value(value: str | int | float | None) -> str:
    return "-" if value is None else str(value)


def _conditions(recommendation: OptimizationRecommendation | Plan) -> str:
    lines = ["It needs approval before it is applied."] if recommendation.requires_approval else []
    if recommendation.allowed_windows:
        spans = [
            f"{format_instant(w.start)} to {format_instant(w.end)}" for w in recommendation.allowed_windows
        ]
        lines.append(f"It may be applied {', '.join(spans)}.")
    return "".join(f"{line}\n" for line in lines)
