"""A strategy that leans on what is not public. It lives apart: its imports are what is bad about it."""

from perfopt.domain.quantity import format_cpu
from perfopt.plugin import AnalysisContext, Declined, Proposal
from perfopt.testing.examples import PeakStrategy


class ImportsPrivate(PeakStrategy):
    """Works, until perfopt is next reorganised."""

    name = "imports-private"

    def propose(self, context: AnalysisContext) -> Proposal | Declined:  # noqa: D102
        assert format_cpu(1) == "1"
        return super().propose(context)
