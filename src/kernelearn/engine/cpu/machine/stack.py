"""Whether threads have stacks deep enough for kernels that keep megabytes of scratch there.

Linux with the GNU library and macOS give each thread 8 MiB or more unless told otherwise; Windows, musl and
low limits (`ulimit -s`, `threading.stack_size`) do not, and a kernel that needs more ends the process.
"""

import platform
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# The most that any kernel uses is below one and a half MiB, of float64 below three; Python and the libraries
# below it need the rest.
NEEDED = 6 * 2**20

_are_doubles = ContextVar("whether kernels are for float64", default=False)


@contextmanager
def of_doubles() -> Iterator[None]:
    """Within it, `is_deep` is asked for kernels of float64, which need twice as much."""
    token = _are_doubles.set(True)
    try:
        yield
    finally:
        _are_doubles.reset(token)


def is_deep() -> bool:
    """Whether every thread of this process may be expected to have stack enough."""
    if sys.platform == "win32" or 0 < threading.stack_size() < NEEDED:
        return False
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return False
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    if limit != resource.RLIM_INFINITY:
        return limit >= NEEDED
    # NOTE: the GNU library then gives a thread two MiB, unless a size was asked for: less than with the usual
    # limit, and enough for kernels of float32.
    return not _are_doubles.get() or threading.stack_size() > 0
