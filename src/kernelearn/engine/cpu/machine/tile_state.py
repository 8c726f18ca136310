"""Permission for the state of matrix tiles (AMX): Linux gives it to a process that asks, once.

A process without it is ended when it touches a tile, because its signal stacks might be too small for that
much state. Threads share the permission, and children of a fork have it as well.
"""

from __future__ import annotations

import ctypes
import functools
import platform
import sys

# Source: Linux, Documentation/arch/x86/xstate.rst: the call `arch_prctl` of x86-64, its request for a
# component of the state, and the number of that component.
ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


@functools.cache
def may_use_tiles() -> bool:
    """Whether this process may use matrix tiles; the first call asks the system for them."""
    if sys.platform != "linux" or platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    return _ask() == 0


def _ask() -> int:
    """Ask for permission: 0 if it is given, -1 if not or if this Linux knows no such request."""
    if ctypes.sizeof(ctypes.c_void_p) != 8:  # another table of calls
        return -1
    call = ctypes.CDLL(None).syscall
    call.restype = ctypes.c_long
    return int(call(ctypes.c_long(ARCH_PRCTL), ctypes.c_long(REQUEST_PERMISSION), ctypes.c_long(TILE_DATA)))
