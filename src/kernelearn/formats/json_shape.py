"""What a JSON value must look like before it is used: types and keys are compared once, where it is read.

A shape is a type (`int`, `float`, `str`, `bool`, `list`, `dict`, or `object` for anything), None, a tuple of
shapes of which one must fit, `[shape]` for a list of such values, `Every(shape)` for a dict of such values
under any keys, and a dict of key -> shape for a dict that has these keys ("key?" may be missing) and maybe
others.
"""

from dataclasses import dataclass
from typing import Any

from kernelearn.formats.foreign import Refusal

Shape = Any  # a recursive type, see above
_SHOWN = 60


@dataclass(frozen=True)
class Every:
    """A dict whose values all have one shape."""

    value: Shape


def check_json(value: object, shape: Shape, where: str, error: Refusal) -> None:
    """Compare a value with a shape.

    Args:
        where: the file and the place in it, for the message.
    Raises: `error` naming the first place that differs, what is expected there, what came, and what to do.

    >>> check_json({"epochs": 3, "best": 1}, {"epochs": int, "best?": float}, "run.json", ValueError)
    >>> check_json({"epochs": "3"}, {"epochs": int}, "run.json", ValueError)
    Traceback (most recent call last):
    ...
    ValueError: run.json is damaged: its ['epochs'] should be int, but is '3'. Use another copy of it.
    """
    problem = _problem(value, shape, "")
    if problem:
        raise error(f"{where} is damaged: its {problem}. Use another copy of it.")


def _problem(value: object, shape: Shape, place: str) -> str:
    """What is wrong with a value, in words; empty if nothing is."""
    if isinstance(shape, tuple):
        problems = [_problem(value, option, place) for option in shape]
        return "" if "" in problems else problems[-1]
    if isinstance(shape, list):
        items = enumerate(value) if isinstance(value, list) else None
        return _first_problem(items, lambda _: shape[0], value, "a list", place)
    if isinstance(shape, Every):
        entries = value.items() if isinstance(value, dict) else None
        return _first_problem(entries, lambda _: shape.value, value, "a dict", place)
    if isinstance(shape, dict):
        return _problem_of_keys(value, shape, place)
    fits = value is None if shape is None else _is_of(value, shape)
    return "" if fits else _differs(value, "null" if shape is None else shape.__name__, place)


def _first_problem(items: Any, shape_of: Any, value: object, name: str, place: str) -> str:
    if items is None:
        return _differs(value, name, place)
    problems = (_problem(item, shape_of(key), f"{place}[{key!r}]") for key, item in items)
    return next(filter(None, problems), "")


def _problem_of_keys(value: object, shape: dict[str, Shape], place: str) -> str:
    if not isinstance(value, dict):
        return _differs(value, "a dict", place)
    missing = [key for key in shape if not key.endswith("?") and key not in value]
    if missing:
        return f"{place or 'content'} has no {missing[0]!r}"
    shapes = {key.removesuffix("?"): item for key, item in shape.items()}
    known = [(key, item) for key, item in value.items() if key in shapes]
    return _first_problem(known, lambda key: shapes[key], value, "a dict", place)


def _is_of(value: object, kind: type) -> bool:
    """JSON knows one kind of numbers: 3 is a float too; true is a number for Python only."""
    if kind is object:
        return True
    if isinstance(value, bool):
        return kind is bool
    return isinstance(value, int | float if kind is float else kind)


def _differs(value: object, expected: str, place: str) -> str:
    shown = repr(value)
    shown = shown if len(shown) <= _SHOWN else shown[:_SHOWN] + " ..."
    return f"{place or 'content'} should be {expected}, but is {shown}"
