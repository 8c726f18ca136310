"""The model of a run, with the weights of any step at which they are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, FormatError, UnknownNameError
from kernelearn.formats.foreign import refused
from kernelearn.recording.interventions import BY_HAND, variable_of
from kernelearn.recording.reading.records import steps_in_words
from kernelearn.recording.reading.steps import RecordedSteps
from kernelearn.recording.schedule import Stream


class RecordedModels(RecordedSteps):
    """The model of a run; see `Run`."""

    def model(self, step: int | None = None) -> Any:
        """The model, rebuilt from its config, with the weights of a step; not compiled.

        Args:
            step: one of `model_steps`, or any recorded step if all weights are recorded; None for the last
                of `model_steps`.
        """
        model = self.untrained_model()
        if step is None and not len(self.model_steps):
            return model
        self.assign(model, int(self.model_steps[-1]) if step is None else step)
        return model

    def assign(self, model: Any, step: int) -> None:
        """Give a model of this run the weights of one of `model_steps`.

        Raises: ArgumentError for a step at which not all weights are known.
        """
        for name, variable in model.weight_paths().items():
            variable.assign(self._weight_of_model(name, step))

    def model_before(self, step: int) -> Any:
        """The model that an update began with: that of step-1, with what was done by hand since.

        Raises: as `model`.
        """
        model = self.untrained_model()
        self.assign_before(model, step)
        return model

    def assign_before(self, model: Any, step: int) -> None:
        """Give a model of this run the weights that an update began with; see `model_before`."""
        self.assign(model, step - 1)
        for done in self.interventions:
            if done.kind in BY_HAND and done.step == step - 1:
                variable = variable_of(model, done.layer, done.weight)
                variable.assign(done.changed(variable.numpy()))

    def untrained_model(self) -> Any:
        """The model from its config, with whatever weights.

        Raises: ArgumentError if the run does not hold it; FormatError, UnknownNameError if it cannot be made.
        """
        import kernelearn.models  # noqa: F401  (a model is known by name once its class is loaded)
        from kernelearn.initializers.from_layer import values_follow
        from kernelearn.layers.core.base import LAYERS

        if self.about.model is None:
            raise ArgumentError(
                f"The run {str(self.folder)!r} does not say what its model is, as that of a watched module "
                "that could not be read: what computes with the model needs it. Ledgers, updates, histories, "
                "curves, filters and the report work without."
            )
        passing, where = (FormatError, UnknownNameError), repr(str(self.folder))
        with refused(where, FormatError, passing=passing), values_follow(self.about.size):
            model = LAYERS.get(self.about.model)
        model.metadata = dict(self.about.metadata)
        return model

    def weight_of_model(self, path: str, step: int) -> np.ndarray | None:
        """Any weight of the model at a step, by its path "layer/kernel"; None if it is not known there.

        Raises: FormatError if its record is damaged.
        """
        found = self._record(Stream.SNAPSHOTS, path, step)
        return self._weights.value(path, step) if found is None else found[0].read(found[1], found[2])

    def _weight_of_model(self, name: str, step: int) -> np.ndarray:
        value = self.weight_of_model(name, step)
        if value is not None:
            return value
        raise ArgumentError(
            f"Not all weights of step {step} are recorded ({name!r} is not). The model is known at steps "
            f"{steps_in_words(self.model_steps)}."
        )
