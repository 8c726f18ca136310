"""Where processes meet before they share work: each says what it is about to do.

A script may let one process do more than others (`if is_first(): model.evaluate(...)`), and nobody else would
take part in that. So before it shares anything a process says what it is there for, and hears what the others
are there for. Those who can do without the others do so; those who cannot, come back until all want the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.parallel.waiting import looks_at

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
_DIGEST, _NUMBER = 16, 8
# Seconds of sleep between looks: others may be long in coming.
_ASLEEP = 0.001


class Said(NamedTuple):
    """What a process says when it comes.

    Attributes:
        purpose, digest: what it is here for, and with what.
        work: number of what it did last together with the others.
        is_broken: whether it gave that up.
    """

    purpose: str
    digest: bytes
    work: int
    is_broken: bool

    @property
    def topic(self) -> tuple[str, bytes]:
        """What has to be the same for all to begin."""
        return self.purpose, self.digest


def digest(what: bytes) -> bytes:
    """Of a description, in a length that all have."""
    return hashlib.blake2b(what, digest_size=_DIGEST).digest()


def all_here(communicator: Any, size: int, own: Said, keep: Callable[[Any], None]) -> list[Said]:
    """What every process says, once all are here.

    Args:
        keep: keeps a request that is answered after all, when this process was interrupted and has gone.
    """
    words = list(_WORDS)
    head = bytes([words.index(own.purpose), own.is_broken]) + own.work.to_bytes(_NUMBER, "little")
    said = np.empty((size, len(head) + _DIGEST), np.uint8)
    request = communicator.Iallgather(np.frombuffer(bytearray(head + own.digest), np.uint8), said)
    try:
        for _ in looks_at(request, _ASLEEP):
            pass
    except BaseException:
        keep(request)
        raise
    texts = [one.tobytes() for one in said]
    return [
        Said(words[t[0]], t[len(head) :], int.from_bytes(t[2 : len(head)], "little"), bool(t[1]))
        for t in texts
    ]


def check_inside(purpose: str) -> None:
    """Make sure that what begins while all are busy needs nobody: nobody may be there for it.

    Raises: ArgumentError for a training, whose sums others would add to those of what they do.
    """
    if purpose in (FIT, BATCH):
        raise ArgumentError(
            f"A process {_WORDS[purpose]} inside of what all processes do together, as in a callback or a "
            "train_step: the others may do something else there, and each would wait for the other. Train it "
            "before or behind that, on all processes alike."
        )


def check(said: Sequence[Said]) -> None:
    """Make sure that those who need each other are waiting for the same.

    Raises: ArgumentError where all wait, and not for the same: they would for ever.
    """
    purposes = [one.purpose for one in said]
    if set(purposes) & set(ALONE) or len(set(purposes)) == 1:
        return
    other = next(rank for rank, purpose in enumerate(purposes) if purpose != purposes[0])
    raise ArgumentError(
        f"Process 0 {_WORDS[purposes[0]]} while process {other} {_WORDS[purposes[other]]}: each waits for "
        "the other. Run the same script everywhere, and leave fit and train_on_batch to all processes alike."
    )
