"""What rules did to recommendations and plans, as a person reads it."""

from perfopt.cli.output.render import table
from perfopt.domain.period import format_instant
from perfopt.domain.recommendation import OptimizationRecommendation, Plan


def explanation(made: OptimizationRecommendation) -> str:
    """Prints what rules did to a recommendation, in a table."""
    return _explained(f"{made.recommendation_id}: {made.optimization_type} of {made.service_name}", made)


def plan_explanation(service: str, plan: Plan) -> str:
    """Prints what rules did to the parts of a plan and to the whole."""
    parts = " and ".join(step.recommendation_id for step in plan.steps)
    return _explained(f"The plan of {service}, from {parts}", plan)


def _explained(title: str, made: OptimizationRecommendation | Plan) -> str:
    if not made.rules:
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
        for fired in made.rules
    ]
    shown = table(("RULE", "ACTION", "FIELD", "BEFORE", "AFTER", "REASON"), rows)
    return f"{title}\n{shown}{_conditions(made)}"


def _value(value: str | int | float | None) -> str:
    return "-" if value is None else str(value)


def _conditions(made: OptimizationRecommendation | Plan) -> str:
    lines = ["It needs approval before it is applied."] if made.requires_approval else []
    if made.allowed_windows:
        spans = [f"{format_instant(w.start)} to {format_instant(w.end)}" for w in made.allowed_windows]
        lines.append(f"It may be applied {', '.join(spans)}.")
    return "".join(f"{line}\n" for line in lines)
