"""Weights of a layer: at one step, over the steps, and the trace of one number."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError, unknown_name
from kernelearn.explain.choices import some_steps
from kernelearn.explain.gradient.pairs import operator_index
from kernelearn.recording.run import Run
from kernelearn.view.page.asking import Ask, NotRecorded
from kernelearn.view.page.blocks import Blocks, absent
from kernelearn.view.page.library import PageRun

_FRAMES, _MOST_FRAMES = 60, 400
# Numbers in a film, at most.
_MOST_NUMBERS = 2**24


def layer_and_weight(run: Run, ask: Ask) -> tuple[str, str]:
    """The layer and weight asked for.

    Raises: UnknownNameError; NotRecorded for a layer of the model whose weights are not recorded.
    """
    layer = recorded_layer(run, ask)
    return layer, run.weight_name(layer, ask.text("weight", kernel_shown(run, layer) or "kernel"))


def kernel_shown(run: Run, layer: str) -> str | None:
    """The kernel that a page looks at: of a separable layer the second, behind which its bias stands."""
    names = run.about.weights_of(layer)
    return "pointwise_kernel" if "pointwise_kernel" in names else run.about.kernel_name(layer)


def recorded_layer(run: Run, ask: Ask) -> str:
    """The layer asked for.

    Raises: UnknownNameError; NotRecorded for a layer of the model whose weights are not recorded.
    """
    layer = ask.text("layer")
    if layer not in run.layers and run.about.weights_of(layer):
        raise NotRecorded(
            absent(
                f"The weights of {layer} are not recorded in this run: train with --record-layers {layer}."
            )
        )
    run.weights(layer)
    return layer


def index_of(run: Run, layer: str, weight: str, ask: Ask) -> tuple[int, ...]:
    """The number of a weight that is asked for.

    Raises: ArgumentError outside of it.
    """
    index = ask.numbers("index")
    if not index:
        raise ArgumentError("index is missing: add index=i,j,channel,filter to the address.")
    shape = run.shape_of(layer, weight)
    operator_index(index, shape, shape)
    return tuple(int(i) % size for i, size in zip(index, shape))


def weights(page_run: PageRun, ask: Ask) -> Blocks:
    """All weights of a layer at a step and before it, and their gradients."""
    run = page_run.open()
    layer, step = ask.text("layer"), ask.number("step")
    names = run.about.weights_of(layer) if layer not in run.layers else run.weights(layer)
    if not names:
        raise unknown_name(
            "layer with weights", layer, {path.rpartition("/")[0] for path in run.about.weights}
        )
    blocks = Blocks(header={"layer": layer, "step": step, "frozen": []})
    for weight in names:
        _add_weight(blocks, run, layer, weight, step)
    return blocks


def _add_weight(blocks: Blocks, run: Run, layer: str, weight: str, step: int) -> None:
    for name, at in ((weight, step), (f"{weight}:before", step - 1)):
        try:
            blocks.arrays[name] = value_at(run, layer, weight, at)
        except NotRecorded as error:
            blocks.missing[name] = error.about
    if layer not in run.layers:
        why = f"Of {layer} only weights are recorded, at some steps: its gradients are not."
        blocks.missing[f"{weight}:gradient"] = absent(why)
        return
    if step > 0 and run.is_frozen(layer, step, weight):
        blocks.header["frozen"].append(weight)
    gradients = run.gradient_steps_of(layer, weight)
    if step in gradients:
        blocks.arrays[f"{weight}:gradient"] = run.gradient(layer, step, weight)
    else:
        why = f"The gradient of {layer}/{weight} is not recorded at step {step}."
        blocks.missing[f"{weight}:gradient"] = absent(why, gradients, step)


def value_at(run: Run, layer: str, weight: str, step: int) -> np.ndarray:
    """A weight at a step.

    Raises: NotRecorded.
    """
    found = run.weight_of_model(f"{layer}/{weight}", step) if step >= 0 else None
    if found is not None:
        return found
    own = run.weight_steps(layer, weight) if layer in run.layers else np.zeros(0, np.int64)
    steps = np.union1d(own, run.model_steps)
    if step < 0:
        raise NotRecorded(absent("There is nothing before the first state.", steps, step))
    raise NotRecorded(absent(f"{layer}/{weight} is not recorded at step {step}.", steps, step))


def film(page_run: PageRun, ask: Ask) -> Blocks:
    """A weight at many steps."""
    run = page_run.open()
    layer, weight = layer_and_weight(run, ask)
    known = run.weight_steps(layer, weight)
    wanted = np.array(ask.numbers("steps"), np.int64)
    if len(wanted):
        missing = wanted[~np.isin(wanted, known)]
        if len(missing):
            step = int(missing[0])
            raise NotRecorded(absent(f"{layer}/{weight} is not recorded at step {step}.", known, step))
        chosen = np.unique(wanted)
    else:
        chosen = some_steps(known, ask.number("count", _FRAMES, 1, _MOST_FRAMES))
    part = _part(run, layer, weight, ask)
    size = int(np.prod(np.zeros(run.shape_of(layer, weight), np.uint8)[part].shape)) * len(chosen)
    if size > _MOST_NUMBERS:
        raise ArgumentError(
            f"{len(chosen)} steps of {layer}/{weight} are {size:,} numbers, more than {_MOST_NUMBERS:,} at a "
            "time: ask for one filter, or fewer steps."
        )
    values = np.stack([run.kernels(layer, int(k), weight)[part] for k in chosen])
    return Blocks({"steps": chosen, weight: values}, {"layer": layer, "weight": weight})


def _part(run: Run, layer: str, weight: str, ask: Ask) -> tuple[Any, ...]:
    """Which filter and channel of a weight."""
    shape = run.shape_of(layer, weight)
    part: list[Any] = [slice(None)] * len(shape)
    for name, axis in (("filter", -1), ("channel", -2)):
        if ask.has(name):
            if len(shape) < -axis:
                raise ArgumentError(f"{layer}/{weight} has no {name}: its shape is {shape}.")
            part[axis] = ask.number(name, None, 0, shape[axis] - 1)
    return tuple(part)


def trace(page_run: PageRun, ask: Ask) -> Blocks:
    """One number of a weight over the steps, and its gradients."""
    run = page_run.open()
    layer, weight = layer_and_weight(run, ask)
    index = index_of(run, layer, weight, ask)
    steps, values = run.trace(layer, index, weight)
    blocks = Blocks({"steps": steps, "values": values}, {"layer": layer, "weight": weight, "index": index})
    try:
        blocks.arrays["gradient_steps"], blocks.arrays["gradients"] = run.gradient_trace(layer, index, weight)
    except KernelearnError as error:
        blocks.missing["gradients"] = absent(str(error))
    return blocks
