"""Calls every callback of a run, in order; the training loop talks to this alone.

Batches are frequent, so only callbacks that have something to do there are called.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from kernelearn.errors import ArgumentError
from kernelearn.training.callbacks.base import Callback, Logs, overrides
from kernelearn.training.callbacks.history import History
from kernelearn.training.callbacks.progress_bar import ProgressBar

_BATCH_ALIASES = {"on_train_batch_begin": "on_batch_begin", "on_train_batch_end": "on_batch_end"}


class CallbackList(Callback):
    """Callbacks that are called together; a context manager that closes them however the block ends.

    Args:
        callbacks: one callback, or (nested) lists of them, or None.
        add_history: add a `History` unless there is one.
        add_progbar: add a `ProgressBar` unless there is one.
        model: passed to `set_model` of each.
        params: passed to `set_params` of each.
    Raises: ArgumentError for anything that is not a callback object.
    """

    def __init__(
        self,
        callbacks: Any = None,
        add_history: bool = False,
        add_progbar: bool = False,
        model: Any = None,
        **params: Any,
    ) -> None:
        super().__init__()
        self.callbacks: list[Callback] = []
        self._handlers: dict[str, list[Callable[..., None]]] = {}
        for callback in _flatten(callbacks):
            self.append(callback)
        if add_history and self.history is None:
            self.append(History())
        if add_progbar and not any(isinstance(c, ProgressBar) for c in self.callbacks):
            self.append(ProgressBar())
        if model is not None:
            self.set_model(model)
        self.set_params(params)

    @property
    def history(self) -> History | None:
        """The `History` in the list, if there is one."""
        return next((c for c in self.callbacks if isinstance(c, History)), None)

    def append(self, callback: Callback) -> None:
        """Add a callback; those with `runs_last` stay behind all others."""
        self.callbacks.append(_checked(callback))
        self.callbacks.sort(key=lambda c: c.runs_last)
        self._handlers.clear()
        callback.callback_list = self

    def drop(self, is_dropped: Callable[[Callback], bool]) -> None:
        """Leave out the callbacks for which this is true."""
        self.callbacks = [callback for callback in self.callbacks if not is_dropped(callback)]
        self._handlers.clear()

    def set_model(self, model: Any) -> None:
        super().set_model(model)
        for callback in self.callbacks:
            callback.set_model(model)
        if self.history is not None:
            model.history = self.history

    def set_params(self, params: dict[str, Any]) -> None:
        super().set_params(params)
        for callback in self.callbacks if params else ():
            callback.set_params(params)

    def close(self) -> None:
        for callback in self.callbacks:
            callback.close()

    def __enter__(self) -> "CallbackList":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __iter__(self) -> Iterator[Callback]:
        return iter(self.callbacks)

    def __len__(self) -> int:
        return len(self.callbacks)

    def _call(self, hook: str, *arguments: Any, logs: Logs | None) -> None:
        handlers = self._handlers.get(hook)
        if handlers is None:
            handlers = self._handlers[hook] = [getattr(c, hook) for c in self.callbacks if _listens(c, hook)]
        if handlers:
            # One copy for all: a callback may add what later ones should see, such as the learning rate.
            shared = dict(logs or {})
            for handler in handlers:
                handler(*arguments, shared)

    def on_train_begin(self, logs: Logs | None = None) -> None:
        self._call("on_train_begin", logs=logs)

    def on_train_end(self, logs: Logs | None = None) -> None:
        self._call("on_train_end", logs=logs)

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_begin", epoch, logs=logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        self._call("on_epoch_end", epoch, logs=logs)

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_begin", batch, logs=logs)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_train_batch_end", batch, logs=logs)

    def on_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_batch_begin", batch, logs=logs)

    def on_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_batch_end", batch, logs=logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        self._call("on_test_begin", logs=logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        self._call("on_test_end", logs=logs)

    def on_test_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_begin", batch, logs=logs)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_test_batch_end", batch, logs=logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        self._call("on_predict_begin", logs=logs)

    def on_predict_end(self, logs: Logs | None = None) -> None:
        self._call("on_predict_end", logs=logs)

    def on_predict_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_begin", batch, logs=logs)

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        self._call("on_predict_batch_end", batch, logs=logs)


def _listens(callback: Callback, hook: str) -> bool:
    alias = _BATCH_ALIASES.get(hook)
    return overrides(callback, hook) or (alias is not None and overrides(callback, alias))


def _flatten(callbacks: Any) -> Iterable[Any]:
    if callbacks is None:
        return
    if isinstance(callbacks, CallbackList):
        yield from callbacks.callbacks
    elif isinstance(callbacks, list | tuple):
        for item in callbacks:
            yield from _flatten(item)
    else:
        yield callbacks


def _checked(callback: Any) -> Callback:
    if isinstance(callback, Callback):
        return callback
    if isinstance(callback, type):
        raise ArgumentError(
            f"callbacks must hold objects, got the class {callback.__name__}. "
            f"Did you mean {callback.__name__}()?"
        )
    raise ArgumentError(
        f"callbacks must hold kernelearn.callbacks.Callback objects, got {callback!r} of type "
        f"{type(callback).__name__}. For plain functions use kernelearn.callbacks.LambdaCallback."
    )
