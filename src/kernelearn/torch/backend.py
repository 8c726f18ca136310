"""The backend of `torch.compile`: from Dynamo's graph to a function that runs on the engine where it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch.fx import GraphModule

from kernelearn.torch.assembly import Assembled, assemble
from kernelearn.torch.capture import capture
from kernelearn.torch.passes import warn_once
from kernelearn.torch.splitting import compile_parts, has_parts
from kernelearn.torch.translation import load_families
from kernelearn.torch.translation.table import reason_of

# Told of each graph: what runs in its place, or why nothing does.
Listener = Callable[["Assembled | Exception"], None]


def compile_graph(
    gm: GraphModule,
    example_inputs: Sequence[Any],
    options: dict[str, Any] | None = None,
    listener: Listener | None = None,
) -> Callable[..., Any]:
    """The backend `"kernelearn"`: a function like `gm.forward`.

    Args:
        options: `{"every": True}` takes regions that are hardly worth the way into them, too.
    """
    load_families()
    try:
        if has_parts(gm):
            return compile_parts(gm, lambda part: compile_graph(part, (), options, listener))
        assembled = assemble(capture(gm), bool((options or {}).get("every")))
    except Exception as error:
        warn_once(f"kernelearn leaves a graph to PyTorch: {reason_of(error)}")
        if listener is not None:
            listener(error)
        return gm.forward
    if listener is not None:
        listener(assembled)
    forward: Callable[..., Any] = assembled.module.forward if assembled.regions else gm.forward
    return forward
