"""How fast each call could be at best, from its FLOPs, bytes and tasks: an estimate, nothing is timed.

The roofline model: a call takes at least as long as its arithmetic at the machine's peak, and at least as
long as its bytes take to and from memory; the longer one limits it. Where tasks do not fill all threads, both
take longer accordingly. Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance
model for multicore architectures", CACM 52 (4), 2009.
"""

from __future__ import annotations

from kernelearn.engine.cpu.report.peaks import Peaks
from kernelearn.engine.work import Estimate, Work


def estimate(work: Work, peaks: Peaks, threads: int) -> Estimate | None:
    """What a call of the compiled engine takes at best; None for what the reference engine does."""
    if not work.is_native:
        return None
    busy = busy_share(work.tasks, threads)
    arithmetic = (work.flops or 0.0) / (peaks.flops * busy * work.saving)
    memory = work.bytes / (peaks.bandwidth(work.bytes) * busy)
    seconds = max(arithmetic, memory)
    share = (work.flops or 0.0) / (peaks.flops * seconds) if seconds else 0.0
    return Estimate(seconds, "arithmetic" if arithmetic >= memory else "memory", share)


def busy_share(tasks: int, threads: int) -> float:
    """Share of all threads' time that is work, if each of the equal tasks is done by one thread.

    >>> busy_share(3, 2)
    0.75
    """
    rounds = -(-tasks // threads)
    return tasks / (rounds * threads) if tasks else 1.0
