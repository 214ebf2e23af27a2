"""What the recorded outcomes of a strategy say of the probabilities that it states."""

import math

import msgspec

_EDGE = 1e-4  # a stated certainty is taken as this near to it


class StrategyRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A monotone map from a stated probability to the one that the recorded outcomes call for.

    log-odds out = slope * log-odds in + intercept + shift (Platt 1999, on log-odds); slope is positive, so
    the order of recommendations stays.

    Attributes:
        slope, intercept: 1 and 0 change nothing.
        shift: what the last weeks call for on top; below 0 where they were less accurate than before.
        outcomes: the weight of the outcomes it rests on, in validity windows of one workload each.
        accuracy: weighted share of them that was accurate; stated: weighted mean of what was stated.
    """

    slope: float
    intercept: float
    outcomes: float
    accuracy: float
    stated: float
    shift: float = 0.0

    def recalibrated(self, probability: float) -> float:
        """Returns the probability that the record calls for."""
        inside = min(max(probability, _EDGE), 1 - _EDGE)
        odds = self.slope * math.log(inside / (1 - inside)) + self.intercept + self.shift
        return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))
