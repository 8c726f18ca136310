"""Settings of the process: default float type, precision policy, engine and seed.

Seeds: `set_random_seed(s)` starts a sequence from which every initialiser, dropout layer and shuffle that
was given no seed of its own draws one. The same calls in the same order give the same network.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from kernelearn.errors import ArgumentError, unknown_name

FLOAT_TYPES = ("float32", "float64")
POLICIES = ("float32", "mixed_bfloat16")

_state: dict = {
    "floatx": "float32",
    "policy": "float32",
    "engine": os.environ.get("KERNELEARN_ENGINE") or None,
    "seeds": None,
}


def floatx() -> str:
    """The float type of new variables and inputs: "float32" (default) or "float64"."""
    return _state["floatx"]


def set_floatx(value: str) -> None:
    """Set the float type of layers made from now on.

    Raises: UnknownNameError for anything but "float32" and "float64".
    """
    if value not in FLOAT_TYPES:
        raise unknown_name("float type", value, FLOAT_TYPES)
    _state["floatx"] = value


def policy() -> str:
    """The precision policy that `compile(policy=None)` uses: "float32" (default) or "mixed_bfloat16"."""
    return _state["policy"]


def set_policy(name: str) -> None:
    """Set the precision policy of models that are compiled from now on.

    Raises: UnknownNameError for anything but "float32" and "mixed_bfloat16".
    """
    _state["policy"] = check_policy(name)


def check_policy(name: str) -> str:
    """The name itself, if there is such a policy.

    Raises: UnknownNameError.
    """
    if name not in POLICIES:
        raise unknown_name("precision policy", name, POLICIES)
    return name


def engine() -> str | None:
    """The engine that `compile(engine=None)` uses; None picks the best one available."""
    return _state["engine"]


def set_engine(name: str | None) -> None:
    """Choose the default engine by name; the name is checked when a program is compiled."""
    _state["engine"] = name


def set_random_seed(seed: int) -> None:
    """Make everything that follows repeatable: initial weights, dropout, shuffling, augmentation.

    Seeds Python's `random`, NumPy's global generator and kernelearn's own sequence, as
    `keras.utils.set_random_seed` does.

    >>> from kernelearn.utils import set_random_seed
    >>> set_random_seed(7)
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ArgumentError(f"seed must be an integer in [0, 2**32), got {seed!r}.")
    import random

    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - the global generator that users and scikit-learn still draw from
    _state["seeds"] = np.random.SeedSequence(int(seed))


def next_seed() -> int:
    """Draw the next seed (a 32-bit unsigned integer) from the process's sequence."""
    if _state["seeds"] is None:
        _state["seeds"] = np.random.SeedSequence()
    return int(_state["seeds"].spawn(1)[0].generate_state(1)[0])


@contextmanager
def seeds_from(seed: int) -> Iterator[None]:
    """Inside the block `next_seed` draws from `seed`; the process's own sequence is as it was behind it.

    NOTE: `set_random_seed` also seeds NumPy's global generator, which an estimator must not touch.
    """
    before = _state["seeds"]
    _state["seeds"] = np.random.SeedSequence(seed)
    try:
        yield
    finally:
        _state["seeds"] = before
