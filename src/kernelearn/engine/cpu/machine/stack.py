"""Whether threads have stacks deep enough for kernels that keep megabytes of scratch there.

Linux with the GNU library and macOS give each thread 8 MiB or more unless told otherwise; Windows, musl and
low limits (`ulimit -s`, `threading.stack_size`) do not, and a kernel that needs more ends the process.
"""

import platform
import sys
import threading

# The most that any kernel uses is below two MiB, of float64 below four; Python and the libraries below it
# need the rest.
NEEDED = 6 * 2**20


def is_deep() -> bool:
    """Whether every thread of this process may be expected to have NEEDED bytes of stack."""
    if sys.platform == "win32" or 0 < threading.stack_size() < NEEDED:
        return False
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return False
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_STACK)
    return limit == resource.RLIM_INFINITY or limit >= NEEDED
