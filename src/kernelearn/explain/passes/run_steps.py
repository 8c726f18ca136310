"""A recorded step computed once more, so that every number of it can be read: not only those in the record.

The weights before the step are in the record, and so are the images by their numbers, the seed and the loss;
the images themselves are in the data. What comes out is compared with what was recorded.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.errors import ArgumentError, KernelearnError
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
    model = _model_before(run, step)
    images, targets = _rows(run, step, x, y)
    said = begun(run, step)
    model.optimizer.iterations = run.iteration(step) - 1
    return replay_training(model, images, targets, seed=int(said["seed"]))


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


def _model_before(run: Run, step: int) -> Any:
    """The compiled model with the weights before a step."""
    known = replayable_steps(run)
    if step not in known:
        near = min(known, key=lambda k: abs(k - step), default=None)
        raise ArgumentError(
            f"The errors of step {step} cannot be followed: that needs all weights before the step, which "
            "are recorded "
            + (f"for the steps {steps_in_words(known)}; the nearest is {near}." if known else "for no step.")
        )
    compiled = begun(run, step).get("compiled")
    if compiled is None:
        raise ArgumentError(
            "The run does not say what its loss was: it is of an earlier version, or the loss cannot be "
            "written down. Give a compiled model: explain.delta(model, layer, x, y)."
        )
    model = run.model_before(step)
    # NOTE: any optimiser does; the errors of a step do not depend on what is made of them.
    precision, engine = compiled.get("policy", "float32"), run.about.engine
    model.compile("sgd", compiled["loss"], compiled["loss_weights"], policy=precision, engine=engine)
    return model


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
