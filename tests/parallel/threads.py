"""Processes that are threads: a communicator with the few calls of mpi4py that the exchange makes."""

import pickle
import threading

import numpy as np

from kernelearn.parallel import world
from kernelearn.parallel.exchange import OverMPI


class Room:
    """Where `size` threads meet."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size, timeout=60)
        self.said, self.memory = [None] * size, [None] * size

    def all_say(self, rank, value):
        """What every thread said, in order."""
        self.said[rank] = pickle.dumps(value)
        self.barrier.wait()
        found = [pickle.loads(text) for text in self.said]
        self.barrier.wait()
        return found


class Done:
    """A request that was answered at once."""

    def Test(self):
        return True

    def Wait(self):
        return None


class ThreadCommunicator:
    """One thread's end."""

    def __init__(self, room, rank):
        self.room, self.rank = room, rank

    def Get_rank(self):
        return self.rank

    def Get_size(self):
        return self.room.size

    def Dup(self):
        return self

    def Iallgather(self, part, into):
        self.Allgather(part, into)
        return Done()

    def Ialltoallv(self, outgoing, incoming):
        self.Alltoallv(outgoing, incoming)
        return Done()

    def Iallgatherv(self, part, into):
        self.Allgatherv(part, into)
        return Done()

    def Isend(self, array, rank):
        return Done()  # an error of a thread ends all of them, see run_together

    def Iprobe(self):
        return False

    def Ibcast(self, array, root):
        self.Bcast(array, root)
        return Done()

    def Bcast(self, array, root):
        found = self.room.all_say(self.rank, array)[root]
        if self.rank != root:
            array[:] = found

    def Allgather(self, part, into):
        into[:] = np.stack(self.room.all_say(self.rank, part))

    def Allgatherv(self, part, into):
        array, counts = into
        parts = self.room.all_say(self.rank, np.ravel(part))
        assert [len(one) for one in parts] == [int(count) for count in counts]
        array.reshape(-1)[:] = np.concatenate(parts)

    def Alltoallv(self, outgoing, incoming):
        (sent, sizes), (array, counts) = outgoing, incoming
        pieces = np.split(sent, np.cumsum(sizes)[:-1].astype(int))
        parts = [pieces_of[self.rank] for pieces_of in self.room.all_say(self.rank, pieces)]
        assert [len(one) for one in parts] == [int(count) for count in counts]
        array[:] = np.concatenate(parts) if parts else array


class ThreadWindows:
    """Memory that all threads see; `room` bytes of it for each at most."""

    def __init__(self, communicator, room=1 << 30):
        self._communicator, self._room, self.taken = communicator, room, []

    def has_room(self, size):
        return all(self._communicator.room.all_say(self._communicator.rank, size <= self._room))

    def take(self, size):
        self.taken.append(size)
        self._communicator.room.memory[self._communicator.rank] = np.empty(size, np.uint8)
        self.wait()
        found = list(self._communicator.room.memory)
        self.wait()
        return found

    def wait(self):
        self._communicator.room.barrier.wait()


def run_together(size, work):
    """work(communicator) in `size` threads; what each gave, or its error raised."""
    room, found, errors = Room(size), [None] * size, []

    def one(rank):
        try:
            found[rank] = work(ThreadCommunicator(room, rank))
        except BaseException as error:
            errors.append(error)
            room.barrier.abort()

    threads = [threading.Thread(target=one, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return found


def as_processes(size, work, spans_machines=False):
    """work() as each of `size` processes that train together; what each gave.

    `world` is one a Python process, so each thread asks for the exchange that is its own.
    """
    local = threading.local()

    class Each:
        def __getattr__(self, name):
            return getattr(local.exchange, name)

    def one(communicator):
        local.exchange = OverMPI(communicator)
        local.exchange.spans_machines = spans_machines
        return work()

    with world.pretending(Each()):
        return run_together(size, one)
