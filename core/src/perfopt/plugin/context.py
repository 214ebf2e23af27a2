"""The input of a strategy: history, validity, prices, settings, and the forecasts that it declared."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import msgspec

from perfopt.domain.enums import ServiceClass
from perfopt.domain.price import PriceBook
from perfopt.domain.service_class import under_provisioning_penalty
from perfopt.metrics.snapshot import WorkloadSnapshot
from perfopt.plugin.forecasting import Forecast

Sessions = tuple[tuple[datetime, datetime], ...]
"""(open, close) of an exchange's sessions in UTC, in order, over the history and the validity."""


@dataclass(frozen=True, slots=True)
class AnalysisContext:
    """The input of a strategy. Everything in it was known at `now`; treat it as read-only.

    Attributes:
        snapshot: history up to `now`.
        validity: how long the recommendation must hold: [now, now + validity).
        price_book: the prices to cost by.
        forecasts: what the strategy's `forecasts` ask for, over the validity: by the name of a
            `ForecastSpec`, or for a metric's name by "container/metric", or "metric" where that is one of the
            workload. Each is made when it is first read; absent where none could be made.
        models: kind of model to the content of its file, where the user gave one in place of what a
            plugin ships; `load` of the plugin's own `ModelKind` reads it.
        sessions: ISO 10383 code of an exchange to its sessions, for the exchanges that rules ask for and
            the one that the workload follows (`snapshot.workload.exchange`), which
            `perfopt.forecast.calendar_of` makes a calendar of.
        under_provisioning_penalties: configured penalties of a violated recommendation by class of service,
            in learnt sizes where the typical allocation costs 8; `under_provisioning_penalty` is the one
            to use.
        settings: of the strategy's plugin, as plain data; `settings_as` gives them typed.
    """

    snapshot: WorkloadSnapshot
    validity: timedelta
    price_book: PriceBook
    forecasts: Mapping[str, Forecast] = field(default_factory=dict)
    models: Mapping[str, bytes] = field(default_factory=dict)
    sessions: Mapping[str, Sessions] = field(default_factory=dict)
    under_provisioning_penalties: Mapping[ServiceClass, float] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)

    def settings_as[S: msgspec.Struct](self, struct: type[S]) -> S:
        """Returns the settings of the strategy's plugin, with defaults for what is not set.

        Args:
            struct: what the plugin's hook `perfopt_settings` returns.
        """
        return msgspec.convert(self.settings, struct)

    @property
    def under_provisioning_penalty(self) -> float:
        """The penalty of a violated recommendation for the workload's class of service."""
        kind = self.snapshot.workload.service_class
        return under_provisioning_penalty(kind, self.under_provisioning_penalties)

    @property
    def now(self) -> datetime:
        """The instant the recommendation is made at: the end of the history."""
        return self.snapshot.grid.end
