"""Makes a strategy advice only where what was applied of it was accurate too seldom."""

import structlog

from perfopt.domain.accuracy import AppliedAccuracy
from perfopt_api.policy.settings import PolicySettings
from perfopt_api.store.realised import PostgresRealised
from perfopt_api.supervision import BackgroundTask

_log = structlog.get_logger(__name__)


class StrategyDemotion(BackgroundTask):
    """Looks at what applied recommendations came to.

    Args:
        store: knows that, and records demotions.
        settings: the policy, with the floor.
        pause_seconds: from one look to the next.
    """

    name = "demotion"

    def __init__(self, store: PostgresRealised, settings: PolicySettings, *, pause_seconds: float) -> None:
        self._store = store
        self._settings = settings
        self.pause_seconds = pause_seconds

    async def round(self) -> None:
        """Demotes what is below the floor."""
        for one in await self._store.applied_accuracy():
            if self._too_low(one) and await self._store.demote(one, self._settings.strategy_floor):
                _log.warning("strategy_demoted", strategy=one.strategy, accuracy=one.accuracy)

    def _too_low(self, one: AppliedAccuracy) -> bool:
        enough = one.scored >= self._settings.strategy_min_scored
        return enough and one.accuracy is not None and one.accuracy < self._settings.strategy_floor
