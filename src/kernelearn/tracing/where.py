"""The line of the user's code that is running: the first frame outside of this package."""

from __future__ import annotations

import linecache
import os
import sys
from types import FrameType, TracebackType

import numpy as np

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_NUMPY = os.path.dirname(os.path.abspath(np.__file__)) + os.sep
_INSIDE = (_OURS, _NUMPY, "<frozen")


def user_line() -> str:
    """Where the user's code is now: `file.py, line 12 ("y = np.exp(x)")`; "" if there is none."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_INSIDE):
        frame = frame.f_back
    return "" if frame is None else _shown(frame.f_code.co_filename, frame.f_lineno)


def line_of(traceback: TracebackType | None) -> str:
    """The innermost line of the user's code that an error came through, in the form of `user_line`."""
    found = ""
    while traceback is not None:
        name = traceback.tb_frame.f_code.co_filename
        if not name.startswith(_INSIDE):
            found = _shown(name, traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


def _shown(file: str, line: int) -> str:
    text = linecache.getline(file, line).strip()
    return f"{os.path.basename(file)}, line {line}" + (f" ({text!r})" if text else "")
