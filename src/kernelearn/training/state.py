"""Where a run stands: what, besides weights and optimiser, decides how training goes on."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np


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


@dataclass(frozen=True)
class StepReport:
    """What one training step was and did, for callbacks that asked with `Trainer.watch_step`.

    Attributes:
        loss: of the batch alone, penalties included.
        learning_rate: that the step used.
        inputs: input name of the program -> array: "x_0", "y_true_0", ...
        rows: (n,) int64 row number in the data of each sample, or None where the data has no rows.
        buffers: label -> array, for the buffers that were asked for.
    """

    loss: float
    learning_rate: float
    inputs: dict[str, np.ndarray]
    rows: np.ndarray | None
    buffers: dict[str, np.ndarray]
