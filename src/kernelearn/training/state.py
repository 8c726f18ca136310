"""Where a run stands: what, besides weights and optimiser, decides how training goes on."""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass
class FitState:
    """Position of a call of `fit`.

    Attributes:
        seed: decides shuffling, dropout and augmentation.
        epoch: index of the epoch that is running, from 0.
        batch: batches of it already trained.
    """

    seed: int
    epoch: int = 0
    batch: int = 0

    def to_config(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def restore(self, config: dict[str, Any]) -> None:
        """Take over what `to_config` gave."""
        for name, value in config.items():
            setattr(self, name, value)
