"""Timing in turn: ours, the first peer, the second, ours again, so that all meet the same machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from kernelearn.errors import KernelearnError

# Most steps in one burst: very small steps stop here instead of at the wanted time.
MOST_STEPS = 20_000
# A burst may take so many times the wanted seconds for the sake of a contestant's least number of steps.
LONGER = 4.0


class Contestant(Protocol):
    """Something that can be timed.

    Attributes:
        name: for tables.
        least: steps of one burst at least.
    """

    name: str
    least: int

    def time(self, count: int) -> float:
        """Seconds that `count` steps take."""


@dataclass(frozen=True)
class Rounds:
    """How to time.

    Attributes:
        rounds: bursts of each contestant that count.
        burst: about so many seconds of work a burst.
        rest: seconds between bursts, so that the spinning threads of the last contestant fall asleep.
    """

    rounds: int = 9
    burst: float = 0.5
    rest: float = 0.05


@dataclass
class Times:
    """Seconds a step of every contestant, round by round; and why others have none."""

    seconds: dict[str, list[float]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def measure(
    contestants: Sequence[Contestant], plan: Rounds, sleep: Callable[[float], None] = time.sleep
) -> Times:
    """Time all contestants round by round. One that fails is left out, with its reason, and the rest go on.

    Args:
        sleep: waits so many seconds; tests give another.
    """
    times = Times()
    for one in contestants:
        _attempt(times, one, _calibrate, plan)
    running = [c for c in contestants if c.name not in times.failed]
    times.seconds = {c.name: [] for c in running}
    for _ in range(plan.rounds):
        for one in running:
            if one.name not in times.failed:
                sleep(plan.rest)
                _attempt(times, one, _burst, plan)
    for name in times.failed:
        times.seconds.pop(name, None)
    return times


def burst_length(contestant: Contestant, seconds: float) -> int:
    """Steps that take about so long, found by a few untimed bursts, which warm up as well.

    The contestant's least number of steps counts unless these would take much longer.
    """
    count = 1
    for _ in range(3):
        taken = max(contestant.time(count), 1e-9)
        fitting = seconds * count / taken
        least = min(contestant.least, LONGER * fitting)
        count = int(min(max(fitting, least, 1), MOST_STEPS))
        if taken > seconds / 2:  # long enough to know
            break
    return count


def _calibrate(times: Times, contestant: Contestant, plan: Rounds) -> None:
    times.counts[contestant.name] = burst_length(contestant, plan.burst)


def _burst(times: Times, contestant: Contestant, plan: Rounds) -> None:
    count = times.counts[contestant.name]
    times.seconds[contestant.name].append(contestant.time(count) / count)


def _attempt(
    times: Times, contestant: Contestant, action: Callable[[Times, Contestant, Rounds], None], plan: Rounds
) -> None:
    try:
        action(times, contestant, plan)
    except KernelearnError as error:
        times.failed[contestant.name] = str(error)
