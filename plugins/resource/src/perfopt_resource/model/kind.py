"""The sizing model as a kind of model."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from perfopt.plugin import Trainer
from perfopt_resource.model.sizing_model import SizingModel
from perfopt_resource.training.trainer import SizingTrainer


@dataclass(frozen=True)
class SizingKind:
    """The smallest safe CPU and memory size of a container, as probabilities (`sizing_model.py`)."""

    kind: str = "sizing"
    description: str = "cpu and memory sizes of containers"
    trainer: Trainer | None = field(default_factory=SizingTrainer)

    def load(self, content: bytes) -> SizingModel:
        """Returns the model of a file's content.

        Raises:
            ModelError: the content is no sizing model, or one of other features.
        """
        return SizingModel.loads(content)

    def check(self, content: bytes) -> dict[str, Any]:
        """Returns the card of a file's content.

        Raises:
            ModelError: as `load`.
        """
        card: dict[str, Any] = msgspec.to_builtins(self.load(content).card)
        return card
