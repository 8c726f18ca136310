"""Arguments of Keras's `compile` that change no result here, and the other names of what a trainer has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from kernelearn._configurable import is_whole
from kernelearn.errors import ArgumentError

if TYPE_CHECKING:
    from kernelearn.training.steps.programs import Programs


class TrainerNames:
    """Keras's names of attributes and methods of `Trainer`."""

    programs: Programs

    def results(self) -> dict[str, Any]:
        """Loss and metrics so far."""
        raise NotImplementedError

    @property
    def loss(self) -> Any:
        """The loss as `compile` was told; None before."""
        told = self.programs.arguments
        return None if told is None else told.loss

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` gives, in its order: the loss first."""
        return list(self.results())

    def get_metrics_result(self) -> dict[str, Any]:
        """Keras's name of `results`."""
        return self.results()

    def reset_metrics(self) -> None:
        """Let loss and metrics start again."""
        self.programs.results.reset()


def engine_of(engine: str | None, run_eagerly: bool) -> str | None:
    """The engine that `compile(engine=, run_eagerly=)` asks for.

    Raises: ArgumentError if the two contradict each other.
    """
    if run_eagerly and engine not in (None, "reference"):
        raise ArgumentError(f"run_eagerly=True means engine='reference'; got engine={engine!r} too.")
    return "reference" if run_eagerly else engine


def check_without_effect(steps_per_execution: Any, jit_compile: Any, auto_scale_loss: Any) -> None:
    """Raise ArgumentError for values that Keras would not take either."""
    if steps_per_execution != "auto" and not (is_whole(steps_per_execution) and steps_per_execution >= 1):
        raise ArgumentError(
            "steps_per_execution must be a whole number of at least 1, or 'auto'; "
            f"got {steps_per_execution!r}."
        )
    if jit_compile not in (True, False, None, "auto"):
        raise ArgumentError(f"jit_compile must be True, False or 'auto'; got {jit_compile!r}.")
    if auto_scale_loss not in (True, False):
        raise ArgumentError(f"auto_scale_loss must be True or False; got {auto_scale_loss!r}.")
