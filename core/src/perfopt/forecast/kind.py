"""The fleet network of forecasts as a kind of model."""

from dataclasses import dataclass, field
from typing import Any

from perfopt.forecast.model_file import read_network
from perfopt.forecast.network import FleetNetwork
from perfopt.forecast.training.trainer import ForecastTrainer
from perfopt.plugin.array_file import read_card
from perfopt.plugin.models import Trainer


@dataclass(frozen=True)
class ForecastKind:
    """Quantiles of any metric over a horizon (`perfopt.forecast.network`): the forecaster `fleet`."""

    kind: str = "forecast"
    description: str = "quantiles of any metric: the forecaster fleet"
    trainer: Trainer | None = field(default_factory=ForecastTrainer)

    def load(self, content: bytes) -> FleetNetwork:
        """Returns the network of a file's content.

        Raises:
            InvalidInputError: the content is no network, or one of other inputs.
        """
        return read_network(content)

    def check(self, content: bytes) -> dict[str, Any]:
        """Returns the card of a file's content.

        Raises:
            InvalidInputError: as `load`.
        """
        self.load(content)
        return read_card(content)
