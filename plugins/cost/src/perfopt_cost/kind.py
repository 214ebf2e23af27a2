"""The bounds of demand as a kind of model."""

import json
from dataclasses import dataclass, field
from typing import Any

from perfopt.plugin import InvalidInputError, Trainer
from perfopt_cost.calibration import BoundCalibration, parse_calibration
from perfopt_cost.training.trainer import CostTrainer


@dataclass(frozen=True)
class CostKind:
    """Upper bounds of what the next window needs (`calibration.py`)."""

    kind: str = "cost"
    description: str = "upper bounds of cpu and memory for COST_OPTIMIZATION"
    trainer: Trainer | None = field(default_factory=CostTrainer)

    def load(self, content: bytes) -> BoundCalibration:
        """Returns the bounds of a file's content.

        Raises:
            InvalidInputError: the content holds no such bounds.
        """
        try:
            calibration = parse_calibration(content.decode())
            if not calibration.prior.possible or not all(
                bounds.usable for bounds in (*calibration.cpu.values(), *calibration.memory.values())
            ):
                raise ValueError("a number is out of range")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InvalidInputError(
                "The file holds no bounds for COST_OPTIMIZATION.",
                field="model",
                remedy="Give a file that `perfopt train --what cost` wrote.",
            ) from error
        return calibration

    def check(self, content: bytes) -> dict[str, Any]:
        """Returns the card of a file's content.

        Raises:
            InvalidInputError: as `load`.
        """
        self.load(content)
        card: dict[str, Any] = json.loads(content).get("card", {})
        return card
