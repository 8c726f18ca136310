"""One layer place by place, forward and back; one image through the network; where an error comes from."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError, KernelearnError, UnknownNameError
from kernelearn.explain.passes.backward import delta_in, of_run
from kernelearn.explain.passes.image import inference, loss_in, picture_in
from kernelearn.explain.passes.places import (
    Places,
    needed_layers,
    places_for_images,
    places_in_replay,
    places_in_step,
)
from kernelearn.explain.passes.replay import Replay
from kernelearn.explain.passes.run_steps import StepReplays
from kernelearn.recording.run import Run
from kernelearn.view.page.addresses.gradients import check_ledger
from kernelearn.view.page.addresses.overview import probe_labels
from kernelearn.view.page.addresses.pictures import picture_of
from kernelearn.view.page.addresses.structure import untrained
from kernelearn.view.page.addresses.weights import kernel_shown
from kernelearn.view.page.asking import Ask, NotRecorded
from kernelearn.view.page.blocks import Blocks, absent
from kernelearn.view.page.library import PageRun

_BY_FILTER = ("z", "norm", "a", "pool", "winner", "dz", "dnorm", "da", "dpool", "bias", "bias_gradient")
_KERNELS = ("kernel", "gradient")


def batch(page_run: PageRun, ask: Ask) -> Blocks:
    """A layer in a training step, for all images of the batch."""
    run, layer, step = page_run.open(), ask.text("layer"), ask.number("step", least=1)
    places = page_run.keep(("batch", layer, step), lambda: _places(page_run, run, layer, step))
    blocks = _blocks(places, layer, step)
    found = run.batch(step)
    rows = _rows(ask, len(places.x))
    labels = np.full(len(found.images), -1) if found.labels is None else found.labels
    blocks.arrays = {name: _some(array, rows, name) for name, array in blocks.arrays.items()}
    blocks.arrays |= {"images": found.images[rows], "labels": labels[rows]}
    blocks.header |= {"images_all": len(found.images), "is_training": True}
    if layer in run.layers and step in run.gradient_steps_of(layer, places.weight):
        blocks.arrays["gradient"] = run.gradient(layer, step, places.weight)
        if places.bias is not None and "bias" in run.weights(layer):
            blocks.arrays["bias_gradient"] = run.gradient(layer, step, "bias")
    for name in places.errors.keys() ^ places.values.keys():
        blocks.missing[f"d{name}"] = _no_error(run, places, name, step)
    return _cut(blocks, ask)


def _places(page_run: PageRun, run: Run, layer: str, step: int) -> Places:
    """A layer in a step: from its ledger, or else from the step computed once more."""
    weight = kernel_shown(run, layer)
    if weight is None:
        raise ArgumentError(f"{layer!r} is no layer with a kernel.")
    if layer in run.layers and step in run.ledger_steps_of(layer, weight):
        is_whole = step in run.stage_steps(layer, weight)
        return places_in_step(run, layer, step, weight, None if is_whole else _replay_or_none(page_run, step))
    if layer in run.layers and (
        len(run.ledger_steps_of(layer, weight)) or run.is_frozen(layer, step, weight)
    ):
        check_ledger(run, layer, weight, step)
    return places_in_replay(replay_of(page_run, step), layer, step)


def _no_error(run: Run, places: Places, name: str, step: int) -> dict[str, Any]:
    """Why the error at a place is not there."""
    has_stages = places.layer in run.layers and step in run.stage_steps(places.layer, places.weight)
    if has_stages or places.sources.get("dz") == "replay":
        return absent(places.missing.get(name, "No error is computed at this place."))
    why = "The error from above is not recorded where the activation cut it."
    return absent(why, run.stage_steps(places.layer, places.weight), step)


def steps_of(page_run: PageRun) -> StepReplays:
    """The steps of a run that can be computed once more; one object, which keeps the network compiled."""
    run = page_run.open()
    return page_run.keep(("replays",), lambda: StepReplays(run))


def replay_of(page_run: PageRun, step: int) -> Replay:
    """A step computed once more.

    Raises: NotRecorded, with the nearest step that can be.
    """
    steps = steps_of(page_run)
    try:
        return page_run.keep(("replay", step), lambda: steps.at(step))
    except ArgumentError as error:
        raise NotRecorded(absent(str(error), _known(steps), step)) from error


def _known(steps: StepReplays) -> list[int]:
    try:
        return steps.steps()
    except ArgumentError:
        return []


def _replay_or_none(page_run: PageRun, step: int) -> Replay | None:
    try:
        return replay_of(page_run, step)
    except (NotRecorded, KernelearnError):
        return None


def _blocks(places: Places, layer: str, step: int) -> Blocks:
    arrays = {"x": places.x, **places.values, **{f"d{n}": e for n, e in places.errors.items()}}
    if places.winner is not None:
        arrays["winner"] = places.winner
    arrays["kernel"] = places.kernel
    if places.bias is not None:
        arrays["bias"] = places.bias
    header = {"layer": layer, "weight": places.weight, "step": step, "sources": dict(places.sources)}
    return Blocks(arrays, header)


def _some(array: np.ndarray, rows: np.ndarray, name: str) -> np.ndarray:
    return array if name in ("kernel", "bias") else array[rows]


def _rows(ask: Ask, count: int) -> np.ndarray:
    """The images of a batch that are asked for."""
    rows = np.array(ask.numbers("rows") or range(count), np.int64)
    if ((rows < 0) | (rows >= count)).any():
        raise ArgumentError(f"The batch has {count} images; rows must lie between 0 and {count - 1}.")
    return rows


def _cut(blocks: Blocks, ask: Ask) -> Blocks:
    """One filter, one channel, and the blocks asked for."""
    for name, axis in (("filter", -1), ("channel", -2)):
        if ask.has(name):
            blocks.header[name] = _take(blocks.arrays, name, axis, ask)
    wanted = ask.texts("only")
    unknown = [name for name in wanted if name not in blocks.arrays and name not in blocks.missing]
    if unknown:
        raise UnknownNameError(
            f"There is no block {unknown[0]!r} here; there are {', '.join(blocks.arrays)}."
        )
    if wanted:
        blocks.arrays = {name: array for name, array in blocks.arrays.items() if name in wanted}
        blocks.missing = {name: about for name, about in blocks.missing.items() if name in wanted}
    return blocks


def _take(arrays: dict[str, np.ndarray], name: str, axis: int, ask: Ask) -> int:
    """Keep one filter or channel of all that has them."""
    kernel = arrays["kernel"]
    # The channel axis of a kernel goes before its filter: behind that it is the last one.
    place = axis if kernel.ndim >= -axis else -1
    is_filter = name == "filter"
    count = arrays["z"].shape[-1] if is_filter else arrays["x"].shape[-1]
    number = ask.number(name, None, 0, count - 1)
    own = _BY_FILTER if is_filter else ("x",)
    for block in [n for n in arrays if n in own]:
        arrays[block] = arrays[block][..., number]
    for block in [n for n in arrays if n in _KERNELS]:
        along = -1 if not is_filter and ask.has("filter") else place
        size = arrays[block].shape[along]
        arrays[block] = np.take(arrays[block], number % size, along)
    return number


def probe(page_run: PageRun, ask: Ask) -> Blocks:
    """A layer for the probe images, or a picture of the reader's own, with the weights after a step."""
    run, layer, step = page_run.open(), ask.text("layer"), ask.number("step")
    images, numbers, labels, key = _images(page_run, run, ask)
    places = page_run.keep(
        ("probe", layer, step, key),
        lambda: places_for_images(model_at(page_run, layer, step, images), layer, images, step),
    )
    blocks = _blocks(places, layer, step)
    rows = _rows(ask, len(images))
    blocks.arrays = {name: _some(array, rows, name) for name, array in blocks.arrays.items()}
    blocks.arrays |= {"images": numbers[rows], "labels": labels[rows]}
    blocks.header |= {"images_all": len(images), "is_training": False, "sources": {}}
    return _cut(blocks, ask)


def _images(page_run: PageRun, run: Run, ask: Ask) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
    """(images, numbers, classes, name in the cache) of the probes, or of one picture."""
    if ask.has("picture"):
        name = ask.text("picture")
        return picture_of(page_run, name)[None], np.array([-1]), np.array([-1]), name
    images = run.probe_images
    if images is None or isinstance(images, list):
        raise NotRecorded(absent("This run has no probe images: record some with probe_images=8."))
    ids = run.probe_ids
    numbers = np.full(len(images), -1) if ids is None else ids
    return images, numbers, page_run.keep(("probe labels",), lambda: probe_labels(run)), "probes"


def model_at(page_run: PageRun, layer: str | None, step: int, images: Any = None) -> Any:
    """The model with the weights after a step, as far as a layer's numbers depend on them.

    Args:
        layer: None for all of it; images: that the layer is wanted for.
    Raises: NotRecorded if one of them is not known.
    """
    run, model = page_run.open(), untrained(page_run)
    needed = (
        None
        if layer is None
        else page_run.keep(("needed", layer), lambda: needed_layers(model, layer, images))
    )
    for path, variable in model.weight_paths().items():
        owner = path.rpartition("/")[0]
        if needed is not None and owner not in needed:
            continue
        value = run.weight_of_model(path, step)
        if value is None:
            raise NotRecorded(_unknown_weights(run, model, needed, owner, step))
        variable.assign(value)
    return model


def _unknown_weights(run: Run, model: Any, needed: list[str] | None, owner: str, step: int) -> dict[str, Any]:
    """What is said where the weights of a layer are not known at a step."""
    steps = None
    for path in model.weight_paths():
        layer, _, weight = path.rpartition("/")
        if needed is None or layer in needed:
            own = run.weight_steps(layer, weight) if layer in run.layers else np.zeros(0, np.int64)
            known = np.union1d(own, run.model_steps)
            steps = known if steps is None else np.intersect1d(steps, known)
    why = f"The weights of {owner} are not recorded at step {step}, and the numbers here depend on them."
    return absent(why, () if steps is None else steps, step)


def network(page_run: PageRun, ask: Ask) -> Blocks:
    """One image through the whole network."""
    run, step = page_run.open(), ask.number("step")
    if ask.has("row"):
        return _trained(page_run, run, step, ask)
    images, numbers, labels, _ = _images(page_run, run, ask)
    place = 0 if ask.has("picture") else ask.number("probe", 0, 0, len(images) - 1)
    model = model_at(page_run, None, step)
    from kernelearn.explain.passes.replay import replay_prediction

    replay = replay_prediction(model, images[place : place + 1])
    values = {f"value:{name}": replay.value(buffer)[0] for name, buffer in _outputs(replay).items()}
    prediction = np.ravel(replay.value(replay.program.outputs["y_pred_0"])[0])
    header = {
        "step": step,
        "image": numbers[place],
        "label": labels[place],
        "prediction": prediction,
        "loss": None,
        "loss_before": None,
        "loss_after": None,
        "is_training": False,
    }
    return Blocks({"input": images[place], **values}, header)


def _trained(page_run: PageRun, run: Run, step: int, ask: Ask) -> Blocks:
    """One image of a batch through its training step, forward and back."""
    replay = replay_of(page_run, step)
    row = ask.number("row", None, 0, replay.rows - 1)
    found = run.batch(step)
    arrays: dict[str, np.ndarray] = {}
    for name, buffer in _outputs(replay).items():
        arrays[f"value:{name}"] = replay.value(buffer)[row]
        errors = replay.gradient(buffer)
        if errors is not None:
            arrays[f"error:{name}"] = errors[row]
    header = {
        "step": step,
        "image": found.images[row],
        "label": -1 if found.labels is None else found.labels[row],
        "prediction": np.ravel(replay.value(replay.program.outputs["y_pred_0"])[row]),
        "loss": loss_in(replay, row),
        "batch_loss": replay.value(replay.program.outputs["loss"]),
        **_around(page_run, run, step, replay, row),
        "is_training": True,
    }
    return Blocks(arrays, header)


def _around(page_run: PageRun, run: Run, step: int, replay: Replay, row: int) -> dict[str, float | None]:
    """The loss of one image in inference mode with the weights before and after the update, where known."""
    losses: dict[str, float | None] = {"loss_before": None, "loss_after": None}
    picture = picture_in(replay, row)
    if picture.shape != tuple(untrained(page_run).inputs[0].shape[1:]):
        return losses
    for name, at in (("loss_before", step - 1), ("loss_after", step)):
        with suppress(NotRecorded):
            losses[name], _ = inference(model_at(page_run, None, at), picture, replay, row)
    return losses


def _outputs(replay: Replay) -> Mapping[str, str]:
    """Layer -> buffer of its output, in order."""
    found: dict[str, str] = {}
    for op in replay.program.operations:
        if op.phase == "forward" and op.layer and replay.has_images(op.outputs[0]):
            found[op.layer] = op.outputs[0]
    return found


def path(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """Where the error of one unit comes from, up to the loss."""
    run, layer, step = page_run.open(), ask.text("layer"), ask.number("step", least=1)
    replay = replay_of(page_run, step)
    at = ask.numbers("at") if ask.has("at") else None
    row, most = ask.number("row", None, 0, replay.rows - 1), ask.number("most", 8, 1, 1000)
    found = delta_in(replay, layer, ask.number("filter"), at, row)
    if layer in run.layers:
        found = of_run(run, step, found)
    return {
        "layer": layer,
        "step": step,
        "row": row,
        "filter": found.unit.filter,
        "position": found.unit.position,
        "error": found.error,
        "recorded": found.recorded,
        "is_cut": found.is_cut,
        "loss": found.loss,
        "residual": found.residual,
        "hops": [_hop(hop, most) for hop in found.hops],
    }


def _hop(hop: Any, most: int) -> dict[str, Any]:
    own = ("operator", "layer", "index", "value", "error", "is_whole")
    part = ("layer", "operator", "index", "factor", "error", "term", "note")
    return {
        **{name: getattr(hop, name) for name in own},
        "total": hop.total,
        "residual": hop.residual,
        "parts": [{name: getattr(one, name) for name in part} for one in hop.parts[:most]],
        "rest": float(np.sum([one.term for one in hop.parts[most:]])),
        "parts_in_all": len(hop.parts),
        "end": None
        if hop.end is None
        else {
            "kind": hop.end.kind,
            "reads": hop.end.reads,
            "error": hop.end.error,
            "target": hop.end.target,
            "probability": hop.end.probability,
            "factor": hop.end.factor,
            "formula": hop.end.formula,
        },
    }
