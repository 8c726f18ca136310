"""Shapes of layers on inputs whose sizes are known only when a batch comes: `Input((None, None, 3))`.

Operators see whole numbers only. So the shapes of a layer are inferred with trial sizes in place of the
unknown ones, twice: a size of the result that comes out the same both times is known, one that follows the
trial is not.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from kernelearn.errors import ShapeError

Shape = tuple[int | None, ...]
Specs = list[tuple[Shape, str]]

# Two sizes each, tried in turn until a layer takes one of them: some layers want sizes that can be halved six
# times, some small ones (a table of positions), some ones that 3, 5, 7 and 9 divide, or larger than a window;
# a loop over steps takes its time for large ones. None is a usual number of channels, which would be mistaken
# for it.
TRIALS = ((88, 104), (704, 832), (22, 26), (960, 1920), (2520, 5040))

# The trial that is running: its number, 0 or 1, and its size.
_running: ContextVar[tuple[int, int] | None] = ContextVar("running", default=None)


def has_unknown(shape: Shape) -> bool:
    """Whether a size other than the number of images is unknown."""
    return None in shape[1:]


def fits(shape: Sequence[int | None], wanted: Sequence[int | None]) -> bool:
    """Whether arrays of a shape are what `wanted` says, where None takes any size.

    >>> fits((8, 20, 30, 3), (None, None, None, 3)), fits((8, 20, 3), (None, None, None, 3))
    (True, False)
    """
    if shape[1:] == wanted[1:] and (wanted[:1] == (None,) or shape[:1] == wanted[:1]):
        return len(shape) == len(wanted)  # the usual case, told faster
    return len(shape) == len(wanted) and all(w is None or s == w for s, w in zip(shape, wanted))


def opened(shape: Shape, other: Shape) -> Shape | None:
    """A shape with None where another one has another size; None for shapes that differ in more than sizes.

    >>> opened((None, 8, 8, 3), (None, 8, 9, 3))
    (None, 8, None, 3)
    """
    if len(shape) != len(other) or shape[-1] != other[-1]:
        return None
    return tuple(a if a == b else None for a, b in zip(shape, other))


def inferred(infer: Callable[[Specs], Specs], specs: Specs) -> Specs:
    """What `infer` gives for (shape, type) of every input, also where sizes are unknown.

    Args:
        infer: from specs without unknown sizes (but the number of images) to the specs of the outputs.
    Raises: ShapeError that says which sizes were tried, where none does.
    """
    if not any(has_unknown(shape) for shape, _ in specs):
        return infer(specs)
    error: ShapeError | None = None
    for trial in TRIALS:
        try:
            first, second = (_tried(infer, specs, number, size) for number, size in enumerate(trial))
        except ShapeError as found:
            error = error or found
        else:
            return [_agreed(a, b) for a, b in zip(first, second, strict=True)]
    assert error is not None
    shown = ", ".join(str(shape) for shape, _ in specs)
    raise ShapeError(
        f"{error} (The inputs are {shown}; {TRIALS[0][0]} and {TRIALS[0][1]} were tried for the sizes that "
        "are known only when a batch comes. Where a layer needs all sizes, give them: Input((64, 64, 3)); "
        "to flatten maps of any size use GlobalAveragePooling instead of Flatten.)"
    ) from error


def as_declared(shape: Shape) -> Shape:
    """A shape met while shapes are inferred, with None for what is the running trial size; else as it is."""
    trial = _running.get()
    if trial is None:
        return shape
    return (*shape[:1], *(None if size == trial[1] else size for size in shape[1:]))


def as_noted(before: tuple[Shape, ...], now: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """What is remembered of the shapes that a layer gives inside of a `call`, for the summary of its model.

    Args:
        before: what is remembered; `now`: what was met. Of two trials the sizes that agree are known, and the
            program of one size does not fix those that are not.
    """
    trial = _running.get()
    has_pairs = len(before) == len(now) and all(len(b) == len(n) for b, n in zip(before, now))
    if has_pairs and trial is None and all(fits(n, b) for b, n in zip(before, now)):
        return before
    if has_pairs and trial is not None and trial[0] == 1:
        return tuple(tuple(a if a == b else None for a, b in zip(*pair)) for pair in zip(before, now))
    return now


def _tried(infer: Callable[[Specs], Specs], specs: Specs, number: int, size: int) -> Specs:
    """What `infer` gives with one size in place of all that are unknown."""
    token = _running.set((number, size))
    try:
        return infer([_filled(spec, size) for spec in specs])
    finally:
        _running.reset(token)


def _filled(spec: tuple[Shape, str], size: int) -> tuple[Shape, str]:
    shape, dtype = spec
    return (*shape[:1], *(size if known is None else known for known in shape[1:])), dtype


def _agreed(first: tuple[Shape, str], second: tuple[Shape, str]) -> tuple[Shape, str]:
    sizes = zip(first[0], second[0], strict=True)
    return tuple(a if a == b else None for a, b in sizes), first[1]
