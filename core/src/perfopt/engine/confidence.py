"""The probability that a recommendation is accurate: the strategy's prior, updated by its hit rate here."""

from datetime import datetime, timedelta

from perfopt.domain.recommendation import ConfidenceDetail, Evidence, ReplayWindow
from perfopt.plugin.strategy import Prior

_DIGITS = 4


def confidence(evidence: Evidence, prior: Prior, validity: timedelta) -> tuple[float, ConfidenceDetail]:
    """Returns the posterior mean of the probability of being accurate, and what it is made of.

    Beta-binomial shrinkage: (mean·strength + n·share) / (strength + n), where n is the time covered by
    scored windows in units of the validity. Windows overlap and are not independent, so that time
    counted once stands for their number. Where outcomes of the strategy were recorded, that probability is
    mapped to the one that they call for (engine/records.py).
    """
    scored = [window for window in evidence.windows if window.accurate is not None]
    n_effective = _covered(scored) / validity
    share = sum(window.accurate is True for window in scored) / len(scored) if scored else None
    successes = prior.mean * prior.strength + n_effective * (share or 0.0)
    own = successes / (prior.strength + n_effective)
    record = prior.record
    detail = ConfidenceDetail(
        n_effective=round(n_effective, _DIGITS),
        accurate_share=None if share is None else round(share, _DIGITS),
        prior=prior.mean,
        prior_strength=prior.strength,
        prior_source=prior.source,
        before_record=None if record is None else round(own, _DIGITS),
        recorded_outcomes=0.0 if record is None else round(record.outcomes, _DIGITS),
        recorded_accuracy=None if record is None else round(record.accuracy, _DIGITS),
    )
    return round(own if record is None else record.recalibrated(own), _DIGITS), detail


def _covered(windows: list[ReplayWindow]) -> timedelta:
    """Returns the length of the union of the windows."""
    total = timedelta(0)
    end: datetime | None = None
    for window in sorted(windows, key=lambda window: window.made_at):
        start = window.made_at if end is None else max(window.made_at, end)
        total += max(window.scored_until - start, timedelta(0))
        end = window.scored_until if end is None else max(end, window.scored_until)
    return total
