"""Compiled code, which hides what it does: whether there is some, and how a step runs without it."""

from __future__ import annotations

import sys
from typing import Any


def is_compiled(module: Any) -> bool:
    """Whether calls of a module run compiled code: what `torch.compile` gave, or a part compiled in place."""
    parts = (part for part in module.modules() if getattr(part, "_compiled_call_impl", None) is not None)
    return hasattr(module, "_orig_mod") or next(parts, None) is not None


def has_compiled() -> bool:
    """Whether anything was compiled in this process, such as a function that calls the module."""
    dynamo = sys.modules.get("torch._dynamo")
    return dynamo is not None and any(dynamo.utils.counters.values())


def run_eagerly(is_wanted: bool) -> None:
    """Let what was compiled run as it was written, or as compiled again."""
    import torch

    torch.compiler.set_stance("force_eager" if is_wanted else "default")
