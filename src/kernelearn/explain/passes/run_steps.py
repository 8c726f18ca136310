"""A recorded step computed once more, so that every number of it can be read: not only those in the record.

The weights before the step are in the record, and so are the images by their numbers, the seed and the loss;
the images themselves are in the data. What comes out is compared with what was recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.choices import batch_images
from kernelearn.explain.passes.replay import Replay, replay_training
from kernelearn.recording.run import Run, steps_in_words


def replay_step(run: Run, step: int, x: Any, y: Any = None) -> Replay:
    """All numbers of one recorded training step.

    Args:
        step: one before which all weights are recorded: step - 1 is one of `run.model_steps`.
        x, y: the data that the run was trained on: arrays, or a Dataset.
    Raises: ArgumentError for a step without that, for a run of an earlier version, for data that has no
        numbers of images, or fewer images.
    """
    return StepReplays(run, x, y).at(step)


class StepReplays:
    """Recorded steps computed once more, one after another: one network, whose weights are exchanged.

    Args:
        run: a recorded run.
        x, y: the data that it was trained on, arrays or a Dataset. None takes what the record has: the images
            of ledger steps as the first layer got them, and class numbers.
    """

    def __init__(self, run: Run, x: Any = None, y: Any = None) -> None:
        self.run = run
        self._data = (x, y)
        self._model: Any = None
        self._compiled: Any = None

    def at(self, step: int) -> Replay:
        """All numbers of one step; errors as `replay_step`."""
        _check_replayable(self.run, step)
        images, targets = self._rows(step)
        said = begun(self.run, step)
        model = self._model_before(step, said)
        model.optimizer.iterations = self.run.iteration(step) - 1
        return replay_training(model, images, targets, seed=int(said["seed"]))

    def _rows(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        x, y = self._data
        return _rows(self.run, step, x, y) if x is not None else _recorded_rows(self.run, step)

    def _model_before(self, step: int, said: dict[str, Any]) -> Any:
        """The compiled model with the weights before a step; compiled again where the loss is another."""
        compiled = said.get("compiled")
        if compiled is None:
            raise ArgumentError(
                "The run does not say what its loss was: it is of an earlier version, or the loss cannot be "
                "written down. Give a compiled model: explain.delta(model, layer, x, y)."
            )
        if self._model is None or compiled != self._compiled:
            self._model, self._compiled = self.run.untrained_model(), compiled
            # NOTE: any optimiser does; the errors of a step do not depend on what is made of them.
            self._model.compile(
                "sgd",
                compiled["loss"],
                compiled["loss_weights"],
                policy=compiled.get("policy", "float32"),
                engine=self.run.about.engine,
            )
        self.run.assign_before(self._model, step)
        return self._model


def _check_replayable(run: Run, step: int) -> None:
    known = replayable_steps(run)
    if step not in known:
        near = min(known, key=lambda k: abs(k - step), default=None)
        raise ArgumentError(
            f"The errors of step {step} cannot be followed: that needs all weights before the step, which "
            "are recorded "
            + (f"for the steps {steps_in_words(known)}; the nearest is {near}." if known else "for no step.")
        )


def _recorded_rows(run: Run, step: int) -> tuple[np.ndarray, np.ndarray]:
    """The images and classes of a step out of the record of its ledger."""
    images, labels = batch_images(run, step), run.batch(step).labels
    if images is None or labels is None:
        raise ArgumentError(
            f"The record of step {step} does not hold its images and classes: give the data that the run was "
            "trained on."
        )
    return images, labels


def recorded_error(run: Run, step: int, layer: str, row: int, unit: tuple[int, ...]) -> float | None:
    """The error of a unit as the record of the step's ledger has it; None where it is not recorded."""
    try:
        factors = run.ledger(layer, step, run.about.kernel_name(layer) or "kernel")
    except KernelearnError:
        return None
    return float(factors.parts[0].delta[(row, *unit)])


def row_of(run: Run, step: int, image: int) -> int:
    """Where an image stands in the batch of a step.

    Raises: ArgumentError for an image that is not in it.
    """
    images = run.batch(step).images
    places = np.flatnonzero(images == image)
    if not len(places):
        shown = ", ".join(map(str, images[:8].tolist())) + (", ..." if len(images) > 8 else "")
        raise ArgumentError(
            f"Image {image} is not in the batch of step {step}, which has the images {shown}. An error comes "
            "back to the images of the batch alone; run.steps_of_image(image) lists the steps of an image."
        )
    return int(places[0])


def replayable_steps(run: Run) -> list[int]:
    """The steps before which all weights are recorded."""
    return [int(k) + 1 for k in run.model_steps if int(k) < run.last_step]


def begun(run: Run, step: int) -> dict[str, Any]:
    """What the fit that trained a step said when it began."""
    before = [event for event in run.events if event["kind"] == "begun" and event["step"] < step]
    return dict(before[-1]) if before else {}


def _rows(run: Run, step: int, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images and targets of the batch of a step, out of the data."""
    images, targets = x.arrays() if isinstance(x, Dataset) else (np.asarray(x), np.asarray(y))
    numbers = run.batch(step).images
    if numbers.max(initial=0) >= len(images):
        raise ArgumentError(
            f"Step {step} was trained on image {int(numbers.max())}, and the data has {len(images)}: give "
            "the data that the run was trained on."
        )
    return np.asarray(images)[numbers], np.asarray(targets)[numbers]
