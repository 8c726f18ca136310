"""A recorded step computed once more, so that every number of it can be read: not only those in the record.

The weights before the step are in the record, and so are the images by their numbers, the seed and the loss;
the images themselves are in the data, or what the first kernel got of them in the ledger of the step.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.data import Dataset
from kernelearn.engine.backends import ENGINES
from kernelearn.errors import ArgumentError, KernelearnError
from kernelearn.explain.passes.recorded_batches import RecordedBatches
from kernelearn.explain.passes.replay import Replay, replay_training
from kernelearn.recording.reading.records import steps_in_words
from kernelearn.recording.run import Run

_IN_ORDER = (
    "The images of this run are numbered in the order in which they came. Leave the data out (the record is "
    "used then), or watch with loader=NumberedLoader(...), which knows their numbers in the data."
)


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
    """Recorded steps computed once more, one after another: one network for each loss, of exchanged weights.

    Args:
        run: a recorded run.
        x, y: the data that it was trained on, arrays or a Dataset. None takes what the record has: what went
            into the first kernel at ledger steps, and class numbers.
    """

    def __init__(self, run: Run, x: Any = None, y: Any = None) -> None:
        self.run = run
        self._data = (x, y)
        self._record = None if x is not None else RecordedBatches(run)
        self._models: dict[str, Any] = {}

    def steps(self) -> list[int]:
        """Those that can be computed once more.

        Raises: ArgumentError for a run without ledgers, where there is no data.
        """
        known = replayable_steps(self.run)
        if self._record is None:
            return known
        with_ledger = self._record.steps()
        return [step for step in known if step in with_ledger]

    def at(self, step: int) -> Replay:
        """All numbers of one step; errors as `replay_step`.

        Raises: ArgumentError, from the record alone, for a step that depended on more than it says.
        """
        self._check(step)
        said = begun(self.run, step)
        model = self._model_before(step, said)
        seed = int(said.get("seed") or 0)
        if self._record is not None:
            return self._record.replay(model, step, seed)
        images, targets = _rows(self.run, step, *self._data)
        replay = replay_training(model, images, targets, seed=seed)
        if _are_in_order(self.run, step):
            self._compare(replay, step)
        return replay

    def _compare(self, replay: Replay, step: int) -> None:
        """Images that are numbered as they came may be any: the ledger of the step knows.

        Raises: ArgumentError for other images than those of the record.
        """
        record = RecordedBatches(self.run)
        if step not in record.steps():
            raise ArgumentError(
                f"Whether step {step} was trained on these images is not known: {_IN_ORDER} Choose a step "
                f"with a ledger: {steps_in_words(sorted(record.steps()))}."
            )
        try:
            record.compare(replay, step)
        except ArgumentError as error:
            raise ArgumentError(f"{error} Are these its images? {_IN_ORDER}") from error

    def _check(self, step: int) -> None:
        known = self.steps()
        if step in known:
            return
        near = min(known, key=lambda k: abs(k - step), default=None)
        needed = "all weights before the step" + ("" if self._record is None else " and its ledger")
        raise ArgumentError(
            f"The errors of step {step} cannot be followed: that needs {needed}, which are recorded "
            + (f"for the steps {steps_in_words(known)}; the nearest is {near}." if known else "for no step.")
        )

    def _model_before(self, step: int, said: dict[str, Any]) -> Any:
        """The compiled model with the weights before a step."""
        compiled = said.get("compiled")
        if compiled is None:
            raise ArgumentError(
                "The run does not say what its loss was: it is of an earlier version, the loss cannot be "
                "written down, or it was watched without criterion=. Give a compiled model: "
                "explain.delta(model, layer, x, y)."
            )
        key = repr(compiled)
        if key not in self._models:
            self._models[key] = self._compiled(compiled)
        model = self._models[key]
        self.run.assign_before(model, step)
        model.optimizer.iterations = self.run.iteration(step) - 1
        return model

    def _compiled(self, compiled: dict[str, Any]) -> Any:
        model = self.run.untrained_model()
        precision, engine = compiled.get("policy", "float32"), self.run.about.engine
        engine = engine if engine in ENGINES else None  # of a training elsewhere that was watched
        # NOTE: any optimiser does; the errors of a step do not depend on what is made of them.
        model.compile("sgd", compiled["loss"], compiled["loss_weights"], policy=precision, engine=engine)
        return model


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


def _are_in_order(run: Run, step: int) -> bool:
    """Whether the images of a step are numbered as they came, and not by their places in the data."""
    segments = [segment for segment in run.manifest["segments"] if segment["start"] < step]
    return bool(segments) and segments[-1].get("ids", "rows") == "order"


def _rows(run: Run, step: int, x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """The images and targets of the batch of a step, out of the data."""
    images, targets = x.arrays() if isinstance(x, Dataset) else (np.asarray(x), np.asarray(y))
    numbers = run.batch(step).images
    if numbers.max(initial=0) >= len(images):
        remedy = _IN_ORDER if _are_in_order(run, step) else "Give the data that the run was trained on."
        raise ArgumentError(
            f"Step {step} was trained on image {int(numbers.max())}, and the data has {len(images)}. {remedy}"
        )
    return np.asarray(images)[numbers], np.asarray(targets)[numbers]
