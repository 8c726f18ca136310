"""Memory with unreadable pages between its parts, and a child process whose crash fails a test."""

from __future__ import annotations

import ctypes
import faulthandler
import mmap
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping

import numpy as np

PAGE = mmap.PAGESIZE
PROT_NONE, PROT_READ = 0, 1
# What unused memory holds, as int16: NaN, which shows in a result that used it; or denormal numbers, which
# show in the flags of the processor. Both are that as float32, as float64 and as bfloat16.
NANS, DENORMALS = -1, 1
# What the message of a child that died says.
CAUGHT = "out of bounds"

needs_guard_pages = sys.platform != "win32"


class GuardedMemory:
    """One mapping in which every part has pages of its own, with an unreadable page on both sides.

    Args:
        sizes: name of a part -> bytes.
        at_end: parts end where their last page ends; else they start where their first page starts.
        filling: what the memory holds at first, as int16.
    """

    def __init__(self, sizes: Mapping[str, int], at_end: bool, filling: int = NANS) -> None:
        self.offsets: dict[str, int] = {}
        self.sizes = dict(sizes)
        self._pages: dict[str, tuple[int, int]] = {}
        guards, place = [0], PAGE
        for name, size in sizes.items():
            length = max(-(-size // PAGE), 1) * PAGE
            self._pages[name] = place, length
            self.offsets[name] = place + (length - size if at_end else 0)
            guards.append(place + length)
            place += length + PAGE
        self._map = mmap.mmap(-1, place)
        self.whole = np.frombuffer(self._map, np.uint8)
        self.whole.view(np.int16)[:] = filling
        self._filling = self.whole.copy()
        self._protect = ctypes.CDLL(None, use_errno=True).mprotect
        self._protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for guard in guards:
            self._set(guard, PAGE, PROT_NONE)

    def _set(self, offset: int, length: int, protection: int) -> None:
        if self._protect(self.whole.ctypes.data + offset, length, protection):
            raise OSError(ctypes.get_errno(), "mprotect failed")

    def __enter__(self) -> GuardedMemory:
        return self

    def __exit__(self, *error: object) -> None:
        self._set(0, len(self._map), PROT_READ | 2)

    def part(self, name: str) -> np.ndarray:
        """The bytes of a part."""
        return self.whole[self.offsets[name] : self.offsets[name] + self.sizes[name]]

    def place(self, name: str, array: np.ndarray) -> np.ndarray:
        """A copy of an array in its part."""
        copy = self.part(name).view(array.dtype).reshape(array.shape)
        copy[...] = array
        return copy

    def protect(self, names: Iterable[str]) -> None:
        """Make parts read-only."""
        for name in names:
            self._set(*self._pages[name], PROT_READ)

    def check_filling(self, what: str) -> None:
        """Raise AssertionError if somebody wrote beside a part, on the part's own pages."""
        for name, (start, length) in self._pages.items():
            inside = self.offsets[name]
            for lo, hi in ((start, inside), (inside + self.sizes[name], start + length)):
                is_left = np.array_equal(self.whole[lo:hi], self._filling[lo:hi])
                assert is_left, f"{what}: wrote {CAUGHT} beside {name}"


def run_in_child(work: Callable[[Callable[[str], None]], None]) -> None:
    """Run `work(tell)` in a forked process; what it told last names the place if it dies.

    Raises: AssertionError if the child fails or crashes.
    """
    note = mmap.mmap(-1, 16 * PAGE)

    def tell(text: str) -> None:
        data = text.encode()[: len(note) - 1]
        note[: len(data) + 1] = data + b"\0"

    tell("the first kernel")
    child = os.fork()
    if child == 0:
        _child(work, tell)
    _, status = os.waitpid(child, 0)
    text = note[:].split(b"\0")[0].decode(errors="replace")
    if os.WIFSIGNALED(status):
        name = signal.Signals(os.WTERMSIG(status)).name
        raise AssertionError(f"{name}: access {CAUGHT} in\n{text}")
    assert os.WEXITSTATUS(status) == 0, text


def _child(work: Callable, tell: Callable[[str], None]) -> None:
    """Never returns: the child must not go on with the tests of its parent."""
    status = 1
    faulthandler.disable()  # a crash is expected here, and told by the parent
    try:
        work(tell)
        status = 0
    except BaseException:
        tell(traceback.format_exc())
    finally:
        os._exit(status)
