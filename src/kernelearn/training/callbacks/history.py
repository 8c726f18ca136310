"""What happened in each epoch: what `fit` gives back."""

from typing import Any, ClassVar

from kernelearn import _notebook
from kernelearn.training.callbacks.base import Callback, Logs


class History(Callback):
    """Keeps the logs of every epoch. `fit` adds one by itself and gives it back.

    Attributes:
        epoch: the indices of the epochs that have ended, from 0.
        history: name -> values, one an epoch: "loss", the metrics, their "val_" values, "learning_rate" if a
            callback changes it.
    """

    state_names: ClassVar[tuple[str, ...]] = ("epoch", "history")

    def __init__(self) -> None:
        super().__init__()
        self.epoch: list[int] = []
        self.history: dict[str, list[Any]] = {}

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)

    def __repr__(self) -> str:
        last = ", ".join(f"{name}={values[-1]:.4g}" for name, values in self.history.items() if values)
        return f"<History of {len(self.epoch)} epochs: {last}>"

    def _repr_html_(self) -> str:
        columns = [name for name, values in self.history.items() if len(values) == len(self.epoch)]
        rows = [
            [epoch + 1, *(_notebook.number(self.history[name][i]) for name in columns)]
            for i, epoch in enumerate(self.epoch)
        ]
        title = f"History of {len(self.epoch)} epochs"
        return _notebook.table(title, ["epoch", *columns], _notebook.shortened(rows))
