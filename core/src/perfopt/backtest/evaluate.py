"""Evaluates policies at every origin of one service's history."""

from collections.abc import Iterator, Sequence

from perfopt.backtest.evaluated import EvaluatedRecommendation, OriginCase, case_at
from perfopt.backtest.policies import Policy
from perfopt.backtest.schedule import OriginSchedule
from perfopt.domain.price import PriceBook
from perfopt.metrics.snapshot import WorkloadSnapshot


def origin_cases(
    snapshot: WorkloadSnapshot, schedule: OriginSchedule, book: PriceBook
) -> Iterator[OriginCase]:
    """Yields the cases of one service, oldest first; origins at which it had no history are left out."""
    step = snapshot.grid.step
    history, window = max(schedule.history // step, 1), max(schedule.validity // step, 1)
    for origin in schedule.origins:
        case = case_at(snapshot, origin, history, window, book)
        if case is not None:
            yield case


def evaluate_policies(
    snapshot: WorkloadSnapshot, schedule: OriginSchedule, policies: Sequence[Policy], book: PriceBook
) -> list[EvaluatedRecommendation]:
    """Returns what each policy would have recommended at each origin, and how that did; may block.

    Args:
        snapshot: the whole history.
        schedule: the origins, and what is given and scored.
        policies: what is evaluated.
        book: prices.
    """
    return [
        case.evaluate(policy.name, policy.optimization_type, policy.recommend(case))
        for case in origin_cases(snapshot, schedule, book)
        for policy in policies
    ]
