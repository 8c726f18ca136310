"""Sizes of traced tensors, of which some are open: compared without asking what they are."""

from __future__ import annotations

from typing import Any

import torch


def expression(value: Any) -> Any:
    """What stands for a size: a number, or an expression of open ones."""
    return value.node.expr if isinstance(value, torch.SymInt) else value if type(value) is int else id(value)


def same_size(a: Any, b: Any) -> bool:
    """Whether two sizes are equal for certain; asking nothing that would be a guard."""
    return type(a) is type(b) and bool(expression(a) == expression(b))
