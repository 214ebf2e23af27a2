"""What rules cost: CPU per service for five strategies with twelve replays each, and to read the packs.

python benchmarks/rules.py
"""

import time

import msgspec

from perfopt.config.loading import RulesConfig
from perfopt.domain.enums import OptimizationType
from perfopt.engine.sessions import sessions_of
from perfopt.plugin import AnalysisContext, Proposal
from perfopt.rules import RuleBook, RuleSet, RuleSources
from perfopt.testing import make_context

STRATEGIES, PROPOSALS = 5, 13  # the proposal and those of twelve replays
REPEATS = 20
ALL = RulesConfig(enable=("market-hours", "step-limits", "budget"))


def proposals(context: AnalysisContext) -> list[Proposal]:
    """Returns one proposal of each type; the resource type's is raised by the floors."""
    state = context.snapshot.workload.state
    container = msgspec.structs.replace(state.containers[0], cpu_request_cores=0.3)
    low = msgspec.structs.replace(container, cpu_request_cores=0.001)
    targets = [msgspec.structs.replace(state, containers=(one,)) for one in (low, container)]
    return [
        Proposal(
            optimization_type=kind,
            target=targets[kind is not OptimizationType.RESOURCE_OPTIMIZATION],
            description="Do it.",
        )
        for kind in OptimizationType
    ]


def milliseconds(rules: RuleSet, context: AnalysisContext) -> float:
    """Returns the CPU time of the rules on one service, the smallest of a few."""
    made_proposals, best = proposals(context), float("inf")
    for _ in range(REPEATS):
        begin = time.process_time()
        for proposal in made_proposals[:STRATEGIES]:
            for _ in range(PROPOSALS):
                rules.apply(proposal, context)
        best = min(best, time.process_time() - begin)
    return best * 1000


def main() -> None:
    """Prints both tables."""
    context = make_context()
    sessions, _ = sessions_of(["XNYS"], context.snapshot.grid.start, context.now + context.validity)
    context = AnalysisContext(context.snapshot, context.validity, context.price_book, sessions=sessions)
    begin = time.process_time()
    sources = RuleSources.read(RulesConfig())
    read = (time.process_time() - begin) * 1000
    begin = time.process_time()
    shipped = RuleBook(sources).rules_for(context.snapshot.workload)
    compiled = (time.process_time() - begin) * 1000
    whole = RuleBook(RuleSources.read(ALL)).rules_for(context.snapshot.workload)
    print("| packs | CPU per service, 5 strategies × 13 proposals |\n|---|---|")
    print(f"| as shipped | {milliseconds(shipped, context):.1f} ms |")
    print(f"| all that are shipped | {milliseconds(whole, context):.1f} ms |")
    print(f"\nReading and checking the shipped packs, once: {read:.0f} ms; compiling: {compiled:.0f} ms.")


if __name__ == "__main__":
    main()
