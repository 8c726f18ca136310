"""How fast each call could be at best, from its FLOPs, bytes and tasks: an estimate, nothing is timed.

The roofline model: a call takes at least as long as its arithmetic at the machine's peak, and at least as
long as its bytes take to and from memory; the longer one limits it. Where tasks do not fill all threads, both
take longer accordingly. Source: Williams, Waterman, Patterson, "Roofline: an insightful visual performance
model for multicore architectures", CACM 52 (4), 2009.
"""

from __future__ import annotations

import re

from kernelearn.engine.cpu.peaks import Peaks
from kernelearn.engine.work import Estimate, Work


def estimate(work: Work, peaks: Peaks, threads: int) -> Estimate | None:
    """What a call of the compiled engine takes at best; None for what the reference engine does."""
    if not work.is_native:
        return None
    busy = busy_share(work.tasks, threads)
    arithmetic = (work.flops or 0.0) / (peaks.flops * busy * saving(work.kernel))
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


def saving(kernel: str) -> float:
    """How many times as fast as by a float32 multiply-add for each product a kernel of this text may be.

    Winograd's transforms take fewer multiplications than the sum over a window of 3 x 3; an instruction for
    pairs of bfloat16 numbers does two of them.

    >>> saving("conv Winograd 2x2, tile 9x2"), saving("conv tile 1x9x2")
    (2.25, 1.0)
    """
    factor = 2.0 if "bfloat16 pairs" in kernel else 1.0
    found = re.search(r"Winograd (\d+)x(\d+)", kernel)
    if found is None:
        return factor
    height, width = map(int, found.groups())
    return factor * 9 * height * width / ((height + 2) * (width + 2))
