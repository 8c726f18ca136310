"""Short looks at memory before a program runs: nanoseconds a number, where NumPy takes long for each view."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from kernelearn.engine.cpu.machine import compiler
from kernelearn.engine.cpu.machine.target import current_target

# 1 where no bit of %other is set, whichever of %count places is looked at.
_EACH = """
define i64 @{{name}}({arguments}, i64 %count) nounwind {{{{
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %seen = phi i64 [ 0, %entry ], [ %seen.next, %next ]
  {look}
  %seen.next = or i64 %seen, %other
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %next, label %done
done:
  %all = phi i64 [ 0, %entry ], [ %seen.next, %next ]
  %is.none = icmp eq i64 %all, 0
  %found = zext i1 %is.none to i64
  ret i64 %found
}}}}
"""

_SAME = _EACH.format(
    arguments="ptr %places, ptr %numbers",
    look="""%place.p = getelementptr i64, ptr %places, i64 %i
  %place = load ptr, ptr %place.p
  %now = load i32, ptr %place
  %number.p = getelementptr i32, ptr %numbers, i64 %i
  %number = load i32, ptr %number.p
  %difference = xor i32 %now, %number
  %other = zext i32 %difference to i64""",
)

_BELOW = _EACH.format(
    arguments="ptr %numbers, i64 %limit",
    look="""%number.p = getelementptr i64, ptr %numbers, i64 %i
  %number = load i64, ptr %number.p
  %is.beyond = icmp uge i64 %number, %limit
  %other = zext i1 %is.beyond to i64""",
)

Glance = Callable[[int, int, int], int]

# NOTE: they return soon: letting other Python threads run meanwhile would cost more.
_SAME_TYPE = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_BELOW_TYPE = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@functools.cache
def is_same() -> Glance:
    """(address of addresses, address of numbers of 32 bits, count) -> 1 if each address has its number."""
    return _loaded("glance same", _SAME, _SAME_TYPE)


@functools.cache
def are_below() -> Glance:
    """(address of whole numbers of 64 bits, limit, count) -> 1 if all are from 0 to below the limit."""
    return _loaded("glance below", _BELOW, _BELOW_TYPE)


def _loaded(key: str, text: str, kind: Any) -> Glance:
    function = compiler.load(key, current_target(), lambda name: text.format(name=name))
    call = kind(function.address)
    call.function = function  # the code stays as long as the call does
    return call  # type: ignore[no-any-return]
