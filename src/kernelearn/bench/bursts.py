"""Timing steps in bursts: as many as fill a tenth of a second, of one kind after the other in each round."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

# Seconds that one burst takes.
BURST = 0.1


def in_turn(steps: Sequence[Callable[[], Any]], rounds: int, warm_up: int = 3) -> list[list[float]]:
    """Seconds of one of each of these steps, for every round: what is compared is measured side by side.

    Args:
        warm_up: how many of a step say how many fill a burst.
    """
    counts = [max(1, int(BURST / max(seconds_of(step, warm_up), 1e-6))) for step in steps]
    return [[seconds_of(step, count) for step, count in zip(steps, counts)] for _ in range(rounds)]


def seconds_of(step: Callable[[], Any], count: int) -> float:
    """Seconds of one of so many steps."""
    start = time.perf_counter()
    for _ in range(count):
        step()
    return (time.perf_counter() - start) / count
