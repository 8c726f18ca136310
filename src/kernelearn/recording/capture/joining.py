"""Where a fit goes on in a run folder: at its end, at an earlier step that is repeated, or not at all."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kernelearn.engine.variable import Variable
from kernelearn.errors import ArgumentError
from kernelearn.recording.run import Run
from kernelearn.recording.schedule import Stream
from kernelearn.training.fingerprint import Fingerprint, differences


@dataclass(frozen=True)
class Place:
    """Where to go on.

    Attributes:
        step: number of updates that stay recorded.
        offset: step - optimiser's iterations.
    """

    step: int
    offset: int


def place_of(
    folder: Path,
    weights: Mapping[str, Variable],
    iterations: int,
    restored_run: str | None,
    fingerprint: Fingerprint,
) -> Place:
    """Where a fit with these weights goes on in the run of a folder.

    Args:
        iterations: updates that the optimiser has done.
        restored_run: number of the run that a restored checkpoint belongs to, or None.
        fingerprint: of this training; a run that is repeated from an earlier step has to be of the same one.
    Raises: ArgumentError if the fit is not a continuation of the run.
    """
    run = Run(folder)
    _check_shapes(run, weights)
    last, offset = run.last_step, _offset(run)
    step = iterations + offset
    is_same_run = restored_run == run.manifest["run"]
    if step == last and _has_weights(run, last, weights) is not False:
        return Place(last, offset)
    if is_same_run and step <= last:
        return Place(step, offset)
    if _has_weights(run, last, weights):
        return Place(last, last - iterations)
    saved = _fingerprint(run)
    other = differences(saved, fingerprint)
    is_at_step = step < last and bool(_has_weights(run, step, weights))
    if run.ending != "finished" and is_at_step and not other:
        return Place(step, offset)
    raise ArgumentError(
        f"The run in {str(folder)!r} ends at step {last} ({run.ending}), and this training does not go on "
        f"from there: {_why_not(iterations, is_at_step, bool(saved), other)} Record into another folder, or "
        "pass overwrite=True to replace the run."
    )


def _why_not(iterations: int, is_at_step: bool, is_known: bool, other: list[str]) -> str:
    """Why a training does not go on in a run.

    Args:
        iterations: updates done.
        is_at_step: whether its weights are those of the run at so many updates.
        is_known: whether the run says which training it is of.
        other: what differs between the two trainings.
    """
    if other:
        return f"it is another one. What differs: {'; '.join(other)}."
    if is_known and is_at_step:
        return (
            f"it is the same training, at update {iterations} again, and what it would record is in the run "
            "already: read it with kernelearn.recording.Run."
        )
    return f"its optimizer has done {iterations} updates and its weights differ."


def _fingerprint(run: Run) -> Fingerprint:
    """That of the last fit of a run; empty in a run of an earlier version."""
    found = [event.get("fingerprint") for event in run.events if event["kind"] == "begun"]
    return dict(found[-1]) if found and isinstance(found[-1], dict) else {}


def _offset(run: Run) -> int:
    segments = run.manifest["segments"]
    return int(segments[-1].get("offset", 0)) if segments else 0


def _check_shapes(run: Run, weights: Mapping[str, Variable]) -> None:
    own = {path: tuple(weight.shape) for path, weight in weights.items()}
    if run.about.weights != own:
        raise ArgumentError(
            f"The run in {str(run.folder)!r} is of another model: names or shapes of weights differ. Record "
            "into another folder, or pass overwrite=True to replace the run."
        )


def _has_weights(run: Run, step: int, weights: Mapping[str, Variable]) -> bool | None:
    """Whether the weights are those recorded at a step, bit for bit; None if none are recorded there."""
    stream = next((s for s in (Stream.SNAPSHOTS, Stream.KERNELS) if step in run.stream_steps(s)), None)
    if stream is None:
        return None
    recorded = {path: run.read(stream, path, step) for path in run.fields(stream) if path in weights}
    return all(np.array_equal(array, weights[path].value, equal_nan=True) for path, array in recorded.items())
