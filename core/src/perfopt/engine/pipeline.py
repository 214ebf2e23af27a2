"""From a snapshot to one strategy's proposal with its evidence. Pure; runs in a worker process."""

from dataclasses import replace

import msgspec
import numpy as np

from perfopt.domain.recommendation import Declined, Evidence, PredictionSeries
from perfopt.engine.forecasts import DeclaredForecasts
from perfopt.engine.messages import StrategyOutcome
from perfopt.engine.proposals import checked
from perfopt.engine.small_changes import without_small_changes
from perfopt.evaluation.expected import with_simulated_saving
from perfopt.evaluation.rolling import backtest
from perfopt.forecast import InstalledForecasters
from perfopt.metrics.snapshot import Array, WorkloadSnapshot
from perfopt.plugin.context import AnalysisContext
from perfopt.plugin.forecasting import Forecast
from perfopt.plugin.strategy import Proposal, Strategy
from perfopt.rules import RuledProposal, RuleSet, default_book

_PREDICTED = ("cpu_cores", "memory_bytes", "requests_per_second")
_SIGNIFICANT_DIGITS = 6  # far more than a forecast knows, and a third of the bytes of a full float


def run_strategy(
    strategy: Strategy,
    context: AnalysisContext,
    rules: RuleSet | None = None,
    forecasters: InstalledForecasters | None = None,
    *,
    backtested: bool = True,
) -> StrategyOutcome:
    """Asks a strategy, applies the rules and replays both on the workload's own past.

    Args:
        strategy: not trusted: its result is checked, and whatever it raises is raised.
        context: without forecasts; those that the strategy declares are made here.
        rules: what every proposal passes; None is those shipped, for the workload.
        forecasters: make the forecasts; None is what perfopt brings.
        backtested: without, the outcome has no evidence.

    Raises:
        ProposalError: the strategy broke the contract of proposals.
    """
    read_only(context.snapshot)
    rules = rules if rules is not None else default_book().rules_for(context.snapshot.workload)
    ruled = _propose(strategy, context, rules, forecasters)
    if isinstance(ruled, Declined):
        return StrategyOutcome(status="declined", declined=ruled)

    replays: list[Proposal | None] = []

    def again(snapshot: WorkloadSnapshot) -> Proposal | Declined:
        proposal = _propose(strategy, replace(context, snapshot=snapshot), rules, forecasters)
        replays.append(None if isinstance(proposal, Declined) else _without_texts(proposal.proposal))
        return proposal if isinstance(proposal, Declined) else proposal.proposal

    evidence = backtest(again, context.snapshot, context.validity) if backtested else Evidence(windows=())
    return StrategyOutcome(
        status="ok",
        proposal=ruled.proposal,
        evidence=evidence,
        rules=ruled.rules,
        conditions=ruled.conditions,
        replays=tuple(replays),
    )


def _without_texts(proposal: Proposal) -> Proposal:
    return msgspec.structs.replace(proposal, description="", reasons=())


def _propose(
    strategy: Strategy, context: AnalysisContext, rules: RuleSet, forecasters: InstalledForecasters | None
) -> RuledProposal | Declined:
    context, fired = rules.prepared(context)
    context = with_forecasts(strategy, context, forecasters)
    result = checked(strategy.propose(context), strategy, context)
    if isinstance(result, Declined):
        return result
    proposal = without_small_changes(result, context.snapshot.workload.state, context.validity)
    ruled = rules.apply(proposal, context)
    if isinstance(ruled, Declined):
        held = getattr(strategy, "holds", ())
        return msgspec.structs.replace(ruled, holds=tuple(name for name in ruled.holds if name in held))
    proposal = with_simulated_saving(ruled.proposal, context.snapshot, context.validity)
    return replace(ruled, proposal=proposal, rules=(*fired, *ruled.rules))


def with_forecasts(
    strategy: Strategy, context: AnalysisContext, forecasters: InstalledForecasters | None = None
) -> AnalysisContext:
    """Returns the context with the forecasts that a strategy declares, where they can be made.

    Args:
        strategy: declares them.
        context: of the analysis.
        forecasters: that are asked; None is what perfopt brings.
    """
    if not strategy.forecasts:
        return context
    forecasts = DeclaredForecasts(context, strategy.forecasts, forecasters or InstalledForecasters())
    return replace(context, forecasts=forecasts)


def predict(
    context: AnalysisContext, forecasters: InstalledForecasters | None = None
) -> dict[str, PredictionSeries]:
    """Returns the forecasts that a user asked for: use of each container, and the rate of requests."""
    forecasts = DeclaredForecasts(context, _PREDICTED, forecasters or InstalledForecasters())
    return {name: _shown(forecast) for name, forecast in forecasts.items()}


def _shown(forecast: Forecast) -> PredictionSeries:
    return PredictionSeries(
        unit=forecast.unit,
        start=forecast.grid.start,
        step_seconds=forecast.grid.step_seconds,
        quantiles={
            f"{level:g}": _rounded(values)
            for level, values in zip(forecast.levels, forecast.values, strict=True)
        },
    )


def _rounded(values: Array) -> list[float]:
    magnitude = np.floor(np.log10(np.maximum(np.abs(values), np.finfo(np.float64).tiny)))
    scale = np.power(10.0, np.clip(_SIGNIFICANT_DIGITS - 1 - magnitude, -15, 15))
    rounded: list[float] = (np.round(values * scale) / scale).tolist()
    return rounded


def read_only(snapshot: WorkloadSnapshot) -> None:
    """Locks the arrays of a snapshot: writing to one raises, so that no replay sees an altered past."""
    for metrics in snapshot.containers.values():
        for series in metrics.values():
            series.values.setflags(write=False)
    for values in snapshot.service.values():
        values.setflags(write=False)
