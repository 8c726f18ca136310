"""One training by several processes: shards, the fixed tree that combines them, and the exchange over MPI.

    kernelearn.distribute()        # in a script that mpiexec starts

A batch is cut into shards whose number does not depend on the number of processes. What a shard gives is
combined by one tree over the shards' numbers, whoever computed it: so the weights have the same bits for any
number of processes with any number of threads.
"""

from kernelearn.parallel.exchange import Exchange
from kernelearn.parallel.world import DEFAULT_SHARDS, distribute, exchange, is_first

__all__ = ["DEFAULT_SHARDS", "Exchange", "distribute", "exchange", "is_first"]
