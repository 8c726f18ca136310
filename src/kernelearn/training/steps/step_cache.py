"""The steps of a model by signature, a bounded number of signatures at once.

A model of any image size has programs for each size that it meets. Weights and optimiser slots are shared
among them, but each holds machine code and memory of its own; so the least recently used signature goes
where there are too many, and the libraries of its kernels are unloaded with it.
"""

from __future__ import annotations

import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from kernelearn.training.steps.objectives import Objective

from kernelearn.training.steps.signature import Signature

# Sizes of images (and numbers of them, where a program needs it) that a model has programs for at the same
# time, and the memory for computed values beyond which fewer are kept, but always two.
SIGNATURES_KEPT = 16
BYTES_KEPT = 2 << 30

S = TypeVar("S")


@dataclass
class Made(Generic[S]):
    """What was made for one signature.

    Attributes:
        steps: by kind, and by what else tells steps of a kind apart.
        objectives: with the shapes of this signature; None before they are wanted.
    """

    steps: dict[Any, S] = field(default_factory=dict)
    objectives: list[Objective] | None = None

    @property
    def nbytes(self) -> int:
        """Memory that the steps hold for what they compute."""
        engines = (getattr(step, "executable", None) for step in self.steps.values())
        return sum(getattr(engine, "arena_bytes", 0) for engine in engines)


class StepCache(Generic[S]):
    """What was made for the last `SIGNATURES_KEPT` signatures."""

    def __init__(self) -> None:
        self._made: OrderedDict[Signature, Made[S]] = OrderedDict()
        self._has_warned = False

    def clear(self) -> None:
        """Throw everything away; a warning that was given counts on."""
        self._made.clear()

    def at(self, signature: Signature) -> Made[S]:
        """What there is for a signature, which is the most recently used one now."""
        found = self._made.get(signature)
        if found is None:
            found = self._made[signature] = Made()
            while len(self._made) > SIGNATURES_KEPT or (len(self._made) > 2 and self._nbytes() > BYTES_KEPT):
                count = len(self._made) - 1
                self._made.popitem(last=False)
                self._warn(count)
        else:
            with suppress(KeyError):  # another thread has dropped it meanwhile
                self._made.move_to_end(signature)
        return found

    def step(self, signature: Signature, key: Any, make: Callable[[], S]) -> S:
        """The step under a key, made if there is none."""
        steps = self.at(signature).steps
        if key not in steps:
            steps[key] = make()
        return steps[key]

    def latest(self) -> Signature | None:
        """The most recently used signature."""
        return next(reversed(self._made), None)

    def __len__(self) -> int:
        return len(self._made)

    def __iter__(self) -> Iterator[Signature]:
        """The signatures, the least recently used one first."""
        return iter(self._made)

    def _nbytes(self) -> int:
        return sum(made.nbytes for made in self._made.values())

    def _warn(self, kept: int) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        warnings.warn(
            f"The model has met more than {kept} sizes of images or batches. It has a program of its own for "
            f"each and keeps the {kept} that were used last: any other is built again when it comes again, "
            "which takes much longer than a step. Bring the images to fewer sizes: resize them, or let "
            "batches be padded: as_dataset(x, y).padded(multiple_of=32).",
            UserWarning,
            stacklevel=6,
        )
