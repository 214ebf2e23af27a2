"""The closed loop on history: re-analysed at a stride, changed where worth it, raised on drift in between."""

from perfopt.backtest.loop.day import ServiceDay
from perfopt.backtest.loop.policies import LoopPolicy, loop_policies
from perfopt.backtest.loop.report import LoopResult, PolicyLoop, summarise_loop
from perfopt.backtest.loop.run import run_loops

__all__ = [
    "LoopPolicy",
    "LoopResult",
    "PolicyLoop",
    "ServiceDay",
    "loop_policies",
    "run_loops",
    "summarise_loop",
]
