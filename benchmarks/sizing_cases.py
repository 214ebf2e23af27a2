"""The windows of bitbrains_rnd one by one, each with a model that knows no more than it may."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fold_models import Kind, fold_models
from resource_accuracy import cases_of
from walk_traces import SETTINGS, Split, load

from perfopt.backtest.trial import Case
from perfopt.evaluation.resources import score_resources
from perfopt.learn.model import SizingModel
from perfopt.plugin import AnalysisContext, Container
from perfopt_resource.observed import Observed, observe

FILE = "bitbrains_rnd"


@dataclass(frozen=True, slots=True)
class Asked:
    """One window that can be scored.

    Attributes:
        case: what was known, and what came.
        context: the question that it is to a strategy.
        seen: the container as the strategy sees it.
        model: that has seen neither the series nor an outcome after the instant.
        needs: resource to the smallest accurate size, in cores or bytes.
    """

    case: Case
    context: AnalysisContext
    seen: Observed
    model: SizingModel
    needs: dict[str, float]


def asked_of(traces: Path, kind: Kind = "later", half: Split | None = None) -> Iterator[Asked]:
    """Yields the windows of unseen VMs, and with `later` of later weeks, by name and time."""
    models, setting = fold_models(traces, kind), SETTINGS[FILE]
    for snapshot in load(traces / f"{FILE}.parquet", keep=half):
        for case in cases_of(snapshot, setting):
            workload = snapshot.workload
            model = models.model_for(workload.service_name, case.known.grid.end.timestamp())
            needs = _needs(case)
            if model is None or needs is None:
                continue
            context = AnalysisContext(case.known, setting.validity, case.book)
            container = case.known.workload.state.container("main") or Container(name="main")
            seen = observe(context, container)
            if seen.features.references:
                yield Asked(case, context, seen, model, needs)


def _needs(case: Case) -> dict[str, float] | None:
    score = score_resources(case.known.workload.state, case.window)
    needs = {"cpu": score.cpu_needed_cores, "memory": score.memory_needed_bytes}
    return {name: need for name, need in needs.items() if need is not None} if score.scored else None
