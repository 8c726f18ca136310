"""Where processes meet before they share work: each says what it is about to do.

A script may let one process do more than others (`if is_first(): model.evaluate(...)`), and nobody else would
take part in that. So before it shares anything a process says what it is there for, and hears what the others
are there for. Those who can do without the others do so; those who cannot, come back until all want the same.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError

MESSAGE, FIT, BATCH, EVALUATE, PREDICT, END = "message", "fit", "train_on_batch", "evaluate", "predict", "end"
_WORDS = {
    MESSAGE: "exchanges a message",
    FIT: "begins a fit",
    BATCH: "trains on a batch",
    EVALUATE: "evaluates",
    PREDICT: "predicts",
    END: "has ended",
}
# What a process can do by itself, with the same results.
ALONE = (EVALUATE, PREDICT)
_DIGEST = 16
# Looks at once before a process falls asleep between them, and seconds of that sleep: MPI itself would spin.
_AT_ONCE, _ASLEEP = 2000, 0.001

Said = tuple[str, bytes]


def all_here(communicator: Any, size: int, purpose: str, what: bytes) -> list[Said]:
    """What every process is here for, once all are here."""
    words = list(_WORDS)
    digest = hashlib.blake2b(what, digest_size=_DIGEST).digest()
    own = np.frombuffer(bytearray([words.index(purpose), *digest]), np.uint8)
    said = np.empty((size, 1 + _DIGEST), np.uint8)
    wait_for(communicator.Iallgather(own, said))
    return [(words[one[0]], one[1:].tobytes()) for one in said]


def wait_for(request: Any) -> None:
    """Wait for the others, asleep after a while."""
    looks = 0
    while not request.Test():
        looks += 1
        if looks > _AT_ONCE:
            time.sleep(_ASLEEP)


def check(said: Sequence[Said]) -> None:
    """Make sure that those who need each other are waiting for the same.

    Raises: ArgumentError where all wait, and not for the same: they would for ever.
    """
    purposes = [purpose for purpose, _ in said]
    if set(purposes) & set(ALONE) or len(set(purposes)) == 1:
        return
    other = next(rank for rank, purpose in enumerate(purposes) if purpose != purposes[0])
    raise ArgumentError(
        f"Process 0 {_WORDS[purposes[0]]} while process {other} {_WORDS[purposes[other]]}: each waits for "
        "the other. Run the same script everywhere, and leave fit and train_on_batch to all processes alike."
    )
