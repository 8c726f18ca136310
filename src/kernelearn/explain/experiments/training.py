"""Training one condition: the same optimiser and budget for all, time without tests, a safe place to stop."""

import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.errors import NonFiniteError
from kernelearn.optimizers import Adam
from kernelearn.training.callbacks import Callback
from kernelearn.training.interrupts import Interrupts


class Stopped(Exception):
    """Raised between two batches when Ctrl-C or SIGTERM came."""


@dataclass(frozen=True)
class Budget:
    """How long a network is trained, and how."""

    epochs: int
    batch_size: int
    learning_rate: float

    def updates(self, images: int) -> int:
        """Number of updates for so many images."""
        return self.epochs * -(-images // self.batch_size)


@dataclass
class Course:
    """How a training went.

    Attributes:
        accuracy, loss: on the test images after each epoch; if training diverged, the last values repeat.
        train_accuracy: on the training images during the last epoch.
        seconds: time of the training steps alone.
        diverged: whether the loss was not finite; the weights are those before that step.
    """

    accuracy: list[float] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    train_accuracy: float = float("nan")
    seconds: float = 0.0
    diverged: bool = False


class _Watch(Callback):
    """Times the training steps, and stops between two of them when asked to."""

    def __init__(self, interrupts: Interrupts) -> None:
        super().__init__()
        self.seconds = 0.0
        self._interrupts = interrupts
        self._started: float | None = None

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._started = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if self._interrupts.requested is not None:
            raise Stopped

    def on_test_begin(self, logs: Any = None) -> None:
        self.pause()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.pause()

    def pause(self) -> None:
        """Stop the clock."""
        if self._started is not None:
            self.seconds += time.perf_counter() - self._started
        self._started = None


@dataclass(frozen=True)
class Training:
    """Trains networks of one seed.

    Attributes:
        seed: of the order of the images.
        interrupts: where a wish to stop is noted.
    """

    seed: int
    interrupts: Interrupts = field(default_factory=Interrupts)

    def fit(
        self,
        model: Any,
        x: np.ndarray,
        y: np.ndarray,
        budget: Budget,
        test: tuple[np.ndarray, np.ndarray] | None = None,
    ) -> Course:
        """Compile and train a network, testing it after each epoch where there is something to test on.

        Args:
            model: with `trainable` set as wanted.
            x, y: (n, h, w, c) images and (n,) class numbers; `test`: the same to test on, or None.
        Raises: Stopped.
        """
        model.compile(Adam(budget.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
        watch = _Watch(self.interrupts)
        course = Course()
        try:
            history = model.fit(
                x,
                y,
                batch_size=budget.batch_size,
                epochs=budget.epochs,
                validation_data=test,
                validation_batch_size=256,
                callbacks=[watch],
                seed=self.seed,
                verbose=0,
            ).history
            course.accuracy, course.loss = history.get("val_accuracy", []), history.get("val_loss", [])
            course.train_accuracy = history["accuracy"][-1]
        except NonFiniteError:
            watch.pause()
            _score_as_it_is(course, model, (x, y), budget, test)
        course.seconds = watch.seconds
        return course


def _score_as_it_is(course: Course, model: Any, train: Any, budget: Budget, test: Any) -> None:
    """Fill the course of a training that diverged, from the weights before the step that failed."""
    course.diverged = True
    course.train_accuracy = model.evaluate(*train, batch_size=256, verbose=0)[1]
    if test is not None:
        loss, accuracy = model.evaluate(*test, batch_size=256, verbose=0)
        course.accuracy, course.loss = [accuracy] * budget.epochs, [loss] * budget.epochs
