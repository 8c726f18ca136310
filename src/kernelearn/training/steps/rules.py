"""Constraints as attributes of the operators that stand for them."""

from __future__ import annotations

from typing import Any


def constraint_attrs(constraint: Any) -> dict[str, Any]:
    """Attributes of the projection for a constraint; a function of the weights is one, too."""
    if getattr(constraint, "kind", "custom") != "custom":
        return {"kind": constraint.kind, **constraint.attrs()}
    return {"kind": "custom", "custom": constraint}
