"""Where a run can say that some of its outputs are there, while others are still to be computed.

The native loop works through a stretch without a break. Here stretches are cut behind the groups that are the
last to write what somebody waits for; what is computed, and in which groups, stays.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from kernelearn.engine.cpu.gathering import Group, Stretch, items
from kernelearn.engine.cpu.plan import Fallback, Plan
from kernelearn.engine.cpu.schedule import touched

Parts = list[Stretch | Fallback]


def cut_behind(
    parts: Sequence[Stretch | Fallback], plan: Plan, wanted: Sequence[Collection[str]]
) -> tuple[Parts, list[int]]:
    """Parts, cut where buffers are there.

    Args:
        parts: all that a run does; wanted: names of buffers, set by set.
    Returns: the parts; and for each set the number of the part behind which it and all before it are there.
    """
    behind = _last_writers(parts, plan, wanted)
    found: Parts = []
    ends: dict[int, int] = {}  # number of a group or operation -> of the part that ends with it
    number = 0
    for part in parts:
        groups: list[Group] = []
        for item in items([part]):
            if isinstance(item, Group):
                groups.append(item)
            if number in behind or isinstance(item, Fallback):
                found.append(item if isinstance(item, Fallback) else Stretch(groups))
                ends[number], groups = len(found) - 1, []
            number += 1
        if groups:
            found.append(Stretch(groups))
    return found, [ends[last] for last in behind]


def _last_writers(
    parts: Sequence[Stretch | Fallback], plan: Plan, wanted: Sequence[Collection[str]]
) -> list[int]:
    """Numbers of the groups and operations behind which sets of buffers are there, with all sets before."""
    written: dict[str, int] = {}
    for number, item in enumerate(items(parts)):
        written.update(dict.fromkeys(touched(item, plan)[1], number))
    latest = [max((written.get(plan.root(name), 0) for name in names), default=0) for names in wanted]
    return [max(latest[: number + 1]) for number in range(len(latest))]
