"""Long vectors between real processes: python exchanging.py ; prints what differs from one, or "same"."""

import numpy as np

import kernelearn as kl
from kernelearn.parallel.exchange import Alone
from kernelearn.parallel.tree import cover, share_of, value_of

SHARDS, LENGTH = 12, 50_001
together = kl.distribute()
random = np.random.default_rng(0)
scale = 10.0 ** random.integers(-6, 6, (SHARDS, 1))
parts = (random.normal(size=(SHARDS, LENGTH)) * scale).astype("float32")


def combined(exchange, length):
    """The sum over all shards of the first numbers of each."""
    own = share_of(exchange.rank, exchange.size, SHARDS)
    nodes = {
        node: value_of(node, lambda number: parts[number, :length].copy(), np.add)
        for node in cover((0, SHARDS), own)
    }
    return exchange.combine(SHARDS, nodes, np.zeros(length, "float32"), lambda node: True)


boards, found = [together.board, None], []
for length in (20_000, LENGTH, 17, LENGTH):
    wanted = combined(Alone(), length).tobytes()
    for number, board in enumerate(boards):
        together.board = board
        if combined(together, length).tobytes() != wanted:
            found.append((length, "messages" if number else "shared memory"))
said = together.all_say((found, boards[0] is not None))
if together.rank == 0:
    print(
        "found", said if any(one for one, _ in said) or not all(is_there for _, is_there in said) else "same"
    )
