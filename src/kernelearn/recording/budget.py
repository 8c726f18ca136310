"""How often to record what, so that a run stays under its size and its time: pure arithmetic.

A schedule says that something is recorded every so many steps. Where all of it would not fit, the schedule
that takes the most room is halved, again and again, until it does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Schedules, and the streams of records of the same names.
KERNELS, GRADIENTS, LEDGER, MAPS, SNAPSHOTS = "kernels", "gradients", "ledger", "maps", "snapshots"
STATE = "state"


@dataclass(frozen=True)
class Cost:
    """What one time of a schedule takes, in bytes or in seconds, and how many steps one unit of it is.

    `unit` is 1 for schedules that count steps, and the steps of an epoch for those that count epochs.
    """

    amount: float
    unit: float = 1.0


def schedule_costs(records: Mapping[str, float], steps_per_epoch: float) -> dict[str, Cost]:
    """What one time of every schedule takes; a ledger brings its gradients and both its neighbours.

    Args:
        records: stream -> bytes, or seconds, of one record; 0 for those that are left out.
    """
    of = {name: records.get(name, 0) for name in (KERNELS, GRADIENTS, STATE, LEDGER, MAPS, SNAPSHOTS)}
    return {
        KERNELS: Cost(of[KERNELS]),
        GRADIENTS: Cost(of[GRADIENTS] + of[STATE]),
        LEDGER: Cost(of[LEDGER] + of[GRADIENTS] + 2 * of[STATE] + of[KERNELS]),
        MAPS: Cost(of[MAPS]),
        SNAPSHOTS: Cost(of[SNAPSHOTS], steps_per_epoch),
    }


def thinned(
    every: Mapping[str, int], costs: Mapping[str, Cost], steps: float, room: float, fixed: float = 0
) -> dict[str, int]:
    """Schedules that fit.

    Args:
        every: schedule -> its stride as wished for, 0 for never.
        costs: schedule -> its cost.
        steps: to come.
        room: bytes, or seconds, that are left for them.
        fixed: what each step takes that is always recorded.
    Returns: schedule -> stride, the wished one times a power of two. One that does not fit even once gets a
        stride beyond the last step.

    >>> thinned({"kernels": 1}, {"kernels": Cost(1000)}, steps=100, room=30_000)
    {'kernels': 4}
    """
    chosen = {name: stride for name, stride in every.items() if stride}
    room -= fixed * steps

    def total(name: str) -> float:
        return costs[name].amount * (1 + steps // (chosen[name] * costs[name].unit))

    while chosen and sum(map(total, chosen)) > room:
        longest = [name for name in chosen if chosen[name] * costs[name].unit <= steps]
        if not longest:
            break
        chosen[max(longest, key=total)] *= 2
    return {name: chosen.get(name, 0) for name in every}


def is_due(step: int, stride: int) -> bool:
    """Whether a schedule comes at a step: at its multiples.

    >>> [step for step in range(7) if is_due(step, 3)]
    [0, 3, 6]
    """
    return bool(stride) and step % stride == 0


def is_ledger_due(step: int, stride: int) -> bool:
    """As `is_due`, and at the first step too, whose ledger explains the first change.

    >>> [step for step in range(7) if is_ledger_due(step, 3)]
    [1, 3, 6]
    """
    return bool(stride) and step > 0 and (step == 1 or step % stride == 0)
