"""All variables of conditions and bounds, by name."""

from collections.abc import Callable
from typing import Any

from perfopt.domain.fields import QUANTITY_OF_NAME, knobs
from perfopt.rules.container_variables import container_variables
from perfopt.rules.facts import RuleFacts
from perfopt.rules.fields import HPA_FIELDS, SCHEDULE, numbers
from perfopt.rules.variable import RuleVariable
from perfopt.rules.workload_variables import workload_variables

_QUANTITY_UNITS = {"cpu": "cores", "memory": "bytes"}


def _quantities(prefix: str, scope: str, of: Callable[[RuleFacts], Any], meaning: str) -> list[RuleVariable]:
    def read(field: str) -> Callable[[RuleFacts], Any]:
        def value(facts: RuleFacts) -> float | None:
            quantity = of(facts)
            amount = None if quantity is None else getattr(quantity, field)
            return None if amount is None else float(amount)

        return value

    return [
        RuleVariable(
            f"{prefix}{name}", "double", _QUANTITY_UNITS[name.partition("_")[0]], meaning, scope, read(field)
        )
        for name, field in QUANTITY_OF_NAME.items()
    ]


def _totals(prefix: str, scope: str, of: Callable[[RuleFacts], Any], meaning: str) -> list[RuleVariable]:
    def read(field: str) -> Callable[[RuleFacts], Any]:
        def value(facts: RuleFacts) -> float | None:
            total = of(facts).total(field)
            return None if total is None else float(total)

        return value

    return [
        RuleVariable(
            f"{prefix}{name}", "double", _QUANTITY_UNITS[name.partition("_")[0]], meaning, scope, read(field)
        )
        for name, field in QUANTITY_OF_NAME.items()
    ]


def _hpa(prefix: str, scope: str, of: Callable[[RuleFacts], Any]) -> list[RuleVariable]:
    def read(field: str) -> Callable[[RuleFacts], Any]:
        return lambda facts: None if of(facts).hpa is None else getattr(of(facts).hpa, field)

    return [
        RuleVariable(
            f"{prefix}hpa_{field}",
            "int",
            "percent" if field.endswith("percent") else "replicas",
            f"{field.replace('_', ' ')} of the HorizontalPodAutoscaler; unknown without one",
            scope,
            read(field),
        )
        for field in HPA_FIELDS
    ]


def _schedule(prefix: str, scope: str, of: Callable[[RuleFacts], Any]) -> list[RuleVariable]:
    def read(choose: Callable[[Any], Any]) -> Callable[[RuleFacts], Any]:
        return lambda facts: choose(numbers(of(facts), SCHEDULE) or (None,))

    return [
        RuleVariable(
            f"{prefix}schedule_{name}_replicas",
            "int",
            "replicas",
            f"{name} minimum of the schedule; unknown without one",
            scope,
            read(choose),
        )
        for name, choose in (("lowest", min), ("highest", max))
    ]


def _knobs(facts: RuleFacts) -> dict[str, str]:
    return {
        f"{container}.{name}": str(value)
        for container, own in knobs(facts.target).items()
        for name, value in own.items()
    }


def _own_knobs(facts: RuleFacts) -> dict[str, str]:
    return {name: str(value) for name, value in knobs(facts.target).get(facts.container.name, {}).items()}


def _state(prefix: str, scope: str, of: Callable[[RuleFacts], Any], what: str) -> list[RuleVariable]:
    return [
        *_totals(prefix, scope, of, f"{what}, summed over the containers of one replica"),
        RuleVariable(
            f"{prefix}replicas", "int", "replicas", f"{what}: replicas", scope, lambda f: of(f).replicas
        ),
        *_hpa(prefix, scope, of),
        *_schedule(prefix, scope, of),
        RuleVariable(
            f"{prefix}monthly_cost",
            "double",
            "money",
            f"{what}: cost of the requests of all replicas per month, in the price book's currency",
            scope,
            lambda f: f.context.price_book.monthly_cost(of(f)),
        ),
    ]


def _proposal_variables() -> list[RuleVariable]:
    def of(
        name: str, kind: str, meaning: str, read: Callable[[RuleFacts], Any], unit: str = ""
    ) -> RuleVariable:
        return RuleVariable(name, kind, unit, meaning, "proposal", read)

    return [
        of("proposal.type", "string", '"RESOURCE_OPTIMIZATION", ...', lambda f: f.optimization_type),
        of("proposal.changed", "list", "names of the state's fields that it changes", lambda f: f.changed),
        of(
            "proposal.latency_ms",
            "double",
            "latency it claims; unknown where it claims none",
            lambda f: f.latency_ms,
            "ms",
        ),
        *_state("proposal.", "proposal", lambda f: f.target, "proposed"),
        of("proposal.knobs", "map", 'runtime knobs that it sets: "CONTAINER.KNOB" to value', _knobs),
    ]


VARIABLES: dict[str, RuleVariable] = {
    variable.name: variable
    for variable in (
        *workload_variables(),
        *_state("current.", "workload", lambda f: f.current, "set now"),
        *_proposal_variables(),
        *container_variables(),
        *_quantities(
            "container.current.", "container", lambda f: f.current_container, "of the container now"
        ),
        *_quantities("container.", "container proposal", lambda f: f.container, "proposed for the container"),
        RuleVariable(
            "container.changed",
            "list",
            "",
            "names of the container's four quantities that the proposal changes",
            "container proposal",
            lambda f: f.container_changed,
        ),
        RuleVariable(
            "container.knobs",
            "map",
            "",
            "runtime knobs that the proposal sets in it, by name",
            "container proposal",
            _own_knobs,
        ),
    )
}


def variables_for(scope: str, *, prepares: bool) -> dict[str, RuleVariable]:
    """Returns the variables that a rule may read.

    Args:
        scope: "workload" or "containers".
        prepares: it comes before the strategy, so there is no proposal yet.
    """
    hidden = {"container", "container proposal"} if scope == "workload" else set()
    hidden |= {"proposal", "container proposal"} if prepares else set()
    return {name: variable for name, variable in VARIABLES.items() if variable.scope not in hidden}
