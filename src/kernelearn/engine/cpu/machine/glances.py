"""Short looks at memory before a program runs: nanoseconds a number, where NumPy takes long for each view."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable
from typing import Any

from kernelearn.engine.cpu.machine import compiler
from kernelearn.engine.cpu.machine.target import current_target

_SAME = """
define i64 @{name}(ptr %places, ptr %numbers, i64 %count) nounwind {{
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %seen = phi i32 [ 0, %entry ], [ %seen.next, %next ]
  %place.p = getelementptr i64, ptr %places, i64 %i
  %place = load ptr, ptr %place.p
  %now = load i32, ptr %place
  %number.p = getelementptr i32, ptr %numbers, i64 %i
  %number = load i32, ptr %number.p
  %difference = xor i32 %now, %number
  %seen.next = or i32 %seen, %difference
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %next, label %done
done:
  %all = phi i32 [ 0, %entry ], [ %seen.next, %next ]
  %is.same = icmp eq i32 %all, 0
  %found = zext i1 %is.same to i64
  ret i64 %found
}}
"""

_BELOW = """
define i64 @{name}(ptr %numbers, i64 %count, i64 %limit) nounwind {{
entry:
  %any = icmp sgt i64 %count, 0
  br i1 %any, label %next, label %done
next:
  %i = phi i64 [ 0, %entry ], [ %i.next, %next ]
  %beyond = phi i64 [ 0, %entry ], [ %beyond.next, %next ]
  %number.p = getelementptr i64, ptr %numbers, i64 %i
  %number = load i64, ptr %number.p
  %is.beyond = icmp uge i64 %number, %limit
  %one = zext i1 %is.beyond to i64
  %beyond.next = or i64 %beyond, %one
  %i.next = add i64 %i, 1
  %more = icmp slt i64 %i.next, %count
  br i1 %more, label %next, label %done
done:
  %all = phi i64 [ 0, %entry ], [ %beyond.next, %next ]
  %is.below = icmp eq i64 %all, 0
  %found = zext i1 %is.below to i64
  ret i64 %found
}}
"""

Glance = Callable[[int, int, int], int]


# NOTE: they return soon: letting other Python threads run meanwhile would cost more.
_SAME_TYPE = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64)
_BELOW_TYPE = ctypes.PYFUNCTYPE(ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@functools.cache
def is_same() -> Callable[[int, int, int], int]:
    """(address of addresses, address of numbers of 32 bits, count) -> 1 if each address has its number."""
    return _loaded("glance same", _SAME, _SAME_TYPE)  # type: ignore[no-any-return]


@functools.cache
def are_below() -> Callable[[int, int, int], int]:
    """(address of whole numbers of 64 bits, count, limit) -> 1 if all are from 0 to below the limit."""
    return _loaded("glance below", _BELOW, _BELOW_TYPE)  # type: ignore[no-any-return]


def _loaded(key: str, text: str, kind: Any) -> Any:
    function = compiler.load(key, current_target(), lambda name: text.format(name=name))
    call = kind(function.address)
    call.function = function  # the code stays as long as the call does
    return call
