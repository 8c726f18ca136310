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
        data_pass: number of the pass over the data, which decides its order. An epoch is a pass, unless
            `steps_per_epoch` ends it before.
        pass_batch: batches of the pass already trained.
    """

    seed: int
    epoch: int = 0
    batch: int = 0
    data_pass: int = 0
    pass_batch: int = 0

    @classmethod
    def at(cls, seed: int, epoch: int) -> "FitState":
        """The beginning of an epoch, with a pass of its own."""
        return cls(seed, epoch, data_pass=epoch)

    def count_batch(self) -> None:
        """Note that a batch was trained."""
        self.batch += 1
        self.pass_batch += 1

    def end_epoch(self) -> int:
        """Go on to the next epoch; gives the index of the one that ended."""
        self.epoch, self.batch = self.epoch + 1, 0
        return self.epoch - 1

    def end_pass(self) -> None:
        """Go on to the next pass over the data."""
        self.data_pass, self.pass_batch = self.data_pass + 1, 0

    def to_config(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)

    def restore(self, config: dict[str, Any]) -> None:
        """Take over what `to_config` gave."""
        # NOTE: older files do not count passes: an epoch was a pass then.
        passes = {"data_pass": config["epoch"], "pass_batch": config["batch"]}
        for name, value in {**passes, **config}.items():
            setattr(self, name, value)
