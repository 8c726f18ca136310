"""Watching in the loops of others: a callback for Lightning, a handler for Ignite, a callback for Trainer.

Each begins a `watch` when the training begins and stops it when it ends; the arguments are those of `watch`,
without the module and the optimiser, which the loop knows.
"""

from __future__ import annotations

import importlib
from typing import Any

from kernelearn._optional import require
from kernelearn.errors import ArgumentError, MissingDependencyError
from kernelearn.storage import PathLike
from kernelearn.watching.pytorch.watcher import Watcher, watch


class _Watching:
    """A watcher that a loop begins and ends."""

    def __init__(self, run: PathLike, options: dict[str, Any]) -> None:
        self.run, self.options = run, options
        self.watcher: Watcher | None = None

    def begin(self, module: Any, optimizer: Any) -> None:
        """Training begins."""
        if self.watcher is None:
            self.watcher = watch(module, optimizer, self.run, **self.options)

    def note(self, **said: Any) -> None:
        """As `Watcher.note`."""
        if self.watcher is not None:
            self.watcher.note(**said)

    def end(self, error: Any = None) -> None:
        """Training has ended, by an error or not."""
        watcher, self.watcher = self.watcher, None
        if watcher is not None:
            watcher.__exit__(None if error is None else type(error), error, None)


def lightning_callback(run: PathLike = "runs/watched", **options: Any) -> Any:
    """A callback for Lightning: `Trainer(callbacks=[kernelearn.watching.lightning_callback("runs/mine")])`.

    Args:
        run, options: as for `watch`. The passes are seen from the loss that `training_step` gives, whatever
            it calls; `hold_model` is off, because the module's own call is not seen.
    Returns: a `Callback` of lightning.pytorch, or of pytorch_lightning.
    Raises: MissingDependencyError without Lightning. When the training begins: ArgumentError for several
        optimisers, and as `watch`.
    """
    require("torch", "watching a training in Lightning")
    base, watching = _lightning().Callback, _Watching(run, {"hold_model": False, **options})

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        """Writes a run; made by `lightning_callback`."""

        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            if len(trainer.optimizers) != 1:
                raise ArgumentError(
                    f"lightning_callback: the module has {len(trainer.optimizers)} optimisers; watch each "
                    "with its own part of the module, by kernelearn.watch in on_train_start."
                )
            watching.begin(pl_module, trainer.optimizers[0])

        def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
            watching.note(epoch=trainer.current_epoch)

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, *_: Any) -> None:
            self._batch = batch

        def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
            if watching.watcher is not None:
                share = 1 / trainer.accumulate_grad_batches  # the loss is divided already
                watching.watcher.see_pass(loss, getattr(self, "_batch", None), share)

        def on_train_end(self, trainer: Any, pl_module: Any) -> None:
            watching.end()

        def on_exception(self, trainer: Any, pl_module: Any, exception: Any) -> None:
            watching.end(exception)

    return WatchCallback()


def _lightning() -> Any:
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            return importlib.import_module(name)
        except ImportError:
            continue
    raise MissingDependencyError(
        "lightning_callback needs Lightning, which is not installed: pip install lightning."
    )


def ignite_handler(
    engine: Any, module: Any, optimizer: Any, run: PathLike = "runs/watched", **options: Any
) -> None:
    """Let a training of Ignite be watched, from its start to its end.

    Args:
        engine: the `ignite.engine.Engine` of the training.
        module, optimizer, run, options: as for `watch`.
    Raises: MissingDependencyError without Ignite. When the training begins: as `watch`.
    """
    events = require("ignite.engine", "watching a training in Ignite").Events
    watching = _Watching(run, options)
    engine.add_event_handler(events.STARTED, lambda _: watching.begin(module, optimizer))
    engine.add_event_handler(events.EPOCH_STARTED, lambda e: watching.note(epoch=e.state.epoch - 1))
    engine.add_event_handler(events.COMPLETED, lambda _: watching.end())

    def failed(_: Any, error: BaseException) -> None:
        watching.end(error)
        raise error  # NOTE: with a handler Ignite leaves it to the handler

    engine.add_event_handler(events.EXCEPTION_RAISED, failed)


def trainer_callback(run: PathLike = "runs/watched", **options: Any) -> Any:
    """A callback for the Trainer of Transformers: `Trainer(..., callbacks=[trainer_callback("runs/mine")])`.

    Args:
        run, options: as for `watch`. Losses and classes are those that the model gives and takes.
    Returns: a `TrainerCallback`.
    Raises: MissingDependencyError without Transformers. When the training begins: as `watch`.
    """
    base = require("transformers", "watching a training of Trainer").TrainerCallback
    watching = _Watching(run, options)

    class WatchCallback(base):  # type: ignore[misc, valid-type]
        """Writes a run; made by `trainer_callback`."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            watching.begin(known["model"], known["optimizer"])

        def on_epoch_begin(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            watching.note(epoch=int(state.epoch or 0))

        def on_train_end(self, args: Any, state: Any, control: Any, **known: Any) -> None:
            watching.end()

    return WatchCallback()
