"""Functions of PyTorch's that end a graph, in a form that Dynamo reads through.

They are told to Dynamo when the backend is loaded, before a graph is read; eager mode runs PyTorch's own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.modules import transformer


def is_causal_mask(mask: Any, is_causal: bool | None = None, size: int | None = None) -> bool:
    """Whether attention may forget a mask and look back only: where the user says so.

    PyTorch compares the numbers of a mask, too, to find out. The result is the same, for a mask is applied
    where this is False; but comparing numbers ends a graph inside of `nn.Transformer`, all of which then runs
    in eager mode.
    """
    return is_causal is True


# Name in `torch.nn.modules.transformer` -> the other form. A version without one has no such comparison.
_FORMS = {"_detect_is_causal_mask": is_causal_mask}


def tell_dynamo() -> None:
    """Register the forms; where somebody has registered others, those stay."""
    for name, form in _FORMS.items():
        original = getattr(transformer, name, None)
        if original is None:
            continue
        try:
            torch.compiler.substitute_in_graph(original)(form)
        except (ValueError, TypeError):  # others have registered one, or its arguments are other ones
            continue
