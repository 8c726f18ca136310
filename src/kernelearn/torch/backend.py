"""The backend of `torch.compile`: from Dynamo's graph to a function that runs on the engine where it can."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.fx import GraphModule

from kernelearn.torch.assembly import Assembled, assemble
from kernelearn.torch.graphs.capture import Captured, NothingGiven, capture
from kernelearn.torch.graphs.checkpoints import keep_checkpoints
from kernelearn.torch.graphs.splitting import compile_parts, has_parts
from kernelearn.torch.graphs.substitutes import tell_dynamo
from kernelearn.torch.inside import need_sources, open_axes
from kernelearn.torch.measuring import check_mode, check_options, is_wanted
from kernelearn.torch.telling import warn_once
from kernelearn.torch.translation import load_families
from kernelearn.torch.translation.table import CannotTranslate, reason_of

# Told of each graph: what runs in its place, or why nothing does.
Listener = Callable[["Assembled | Exception"], None]


tell_dynamo()


def compile_graph(
    gm: GraphModule,
    example_inputs: Sequence[Any],
    options: dict[str, Any] | None = None,
    listener: Listener | None = None,
    mode: str | None = None,
) -> Callable[..., Any]:
    """The backend `"kernelearn"`: a function like `gm.forward`.

    Args:
        options: `{"measure": False}` keeps regions on the engine in which PyTorch is faster (`measuring`);
            `{"every": True}` takes regions that are hardly worth the way into them, too.
        mode: of `torch.compile`, None or "default".
    Raises: UnknownNameError for other options; ArgumentError for other modes, or if KERNELEARN_TORCH_MEASURE
        says nothing.
    """
    check_mode(mode)
    check_options(options)
    is_measured = is_wanted(options)

    def compile_part(part: GraphModule) -> Callable[..., Any]:
        return compile_graph(part, (), options, listener)

    try:
        if example_inputs:  # else it is a part of a graph
            need_sources(gm)
        keep_checkpoints(gm, compile_part)
        load_families()
        _refuse_open_maps(example_inputs)
        if has_parts(gm):
            return compile_parts(gm, compile_part)
        captured = capture(gm)
        assembled = assemble(captured, bool((options or {}).get("every")), is_measured)
    except Exception as error:
        if not isinstance(error, NothingGiven):
            warn_once(f"kernelearn leaves a graph to PyTorch: {reason_of(error)}")
        if listener is not None:
            listener(error)
        return gm.forward
    if listener is not None:
        listener(assembled)
    if not assembled.regions:
        return gm.forward  # type: ignore[no-any-return]
    return _either(gm, captured, assembled) if is_measured else assembled.module.forward


def _refuse_open_maps(example_inputs: Sequence[Any]) -> None:
    """Raises CannotTranslate where somebody asked that another size than the number of images stays open."""
    asked = {i for x in example_inputs for i in open_axes(x)}
    if asked - {0}:
        raise CannotTranslate(f"the sizes of axes {sorted(asked - {0})} are marked as open (mark_dynamic)")


def _either(gm: GraphModule, captured: Captured, assembled: Assembled) -> Callable[..., Any]:
    """What runs in place of a graph; the graph as it was where PyTorch is faster in all regions."""
    choices = [region.choice for region in assembled.regions]
    counted, axis = captured.counted
    plain, ours = gm.forward, assembled.module.forward

    def forward(*inputs: Any) -> Any:
        key = inputs[counted].shape[axis], torch.get_num_threads()
        return (plain if all(choice.left.get(key) for choice in choices) else ours)(*inputs)

    return forward
