"""What does not depend on a step: runs, layers with the columns behind their sums, recorded steps, events."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn import __version__
from kernelearn.recording.run import Run
from kernelearn.view.page.addresses.opening import opening
from kernelearn.view.page.addresses.structure import Structure, structure_of
from kernelearn.view.page.asking import Ask
from kernelearn.view.page.blocks import Blocks, as_ranges
from kernelearn.view.page.library import Library, PageRun

VERSION = 1
_MOST_STEPS = 400


def about(library: Library, ask: Ask) -> dict[str, Any]:
    """Which runs there are, and what answers."""
    return {
        "version": VERSION,
        "kernelearn": __version__,
        "kind": "server",
        "holds": None,
        "control": library.can_control,
        "runs": [one.about() for one in library.runs.values()],
    }


def manifest(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """One run as a whole."""
    run = page_run.open()
    structure = structure_of(page_run)
    names = run.about.class_names
    return {
        **page_run.about(),
        "folder": page_run.path.name,
        "problems": run.problems,
        "class_names": None if names is None else list(names),
        "input_shape": structure.input_shape,
        "parameters": sum(int(np.prod(shape)) for shape in run.about.weights.values()),
        "ids": run.manifest["segments"][-1].get("ids", "rows") if run.manifest["segments"] else "rows",
        "optimizer": run.optimizer,
        "layers": [_layer(run, structure, name) for name in structure.names],
        "steps": {
            "weights": as_ranges(run.steps),
            "ledgers": as_ranges(run.ledger_steps),
            "maps": as_ranges(run.map_steps),
            "models": as_ranges(run.model_steps),
        },
        "scalars": run.scalar_names,
        "probe": _probe(run),
        "opening": page_run.keep(("opening", len(run.ledger_steps)), lambda: opening(run)),
        "events": len(run.events),
    }


def _layer(run: Run, structure: Structure, name: str) -> dict[str, Any]:
    part = structure.parts[name]
    recorded = run.layers
    return {
        "name": name,
        "class": part.kind,
        "output_shape": part.output_shape,
        "parameters": part.parameters,
        "how": part.formula,
        "trainable": not part.is_frozen,
        "is_recorded": name in recorded,
        "is_full": name in run.full_layers,
        "reads": part.reads,
        "weights": {w: _weight(run, name, w) for w in run.weights(name)} if name in recorded else {},
        "operator": part.operator,
        "columns": part.columns,
    }


def _weight(run: Run, layer: str, weight: str) -> dict[str, Any]:
    return {
        "shape": list(run.shape_of(layer, weight)),
        "steps": as_ranges(run.weight_steps(layer, weight)),
        "gradients": as_ranges(run.gradient_steps_of(layer, weight)),
        "ledgers": as_ranges(run.ledger_steps_of(layer, _kernel(run, layer, weight))),
    }


def _kernel(run: Run, layer: str, weight: str) -> str:
    """The weight whose factors a ledger of this one is read from: a bias is in those of its kernel."""
    return run.about.kernel_name(layer) or weight if weight == "bias" else weight


def _probe(run: Run) -> dict[str, Any] | None:
    images = run.probe_images
    if images is None or isinstance(images, list):
        return None
    ids = run.probe_ids
    numbers = np.full(len(images), -1) if ids is None else ids
    return {
        "count": len(images),
        "ids": numbers.tolist(),
        "labels": probe_labels(run).tolist(),
        "shape": list(images.shape[1:]),
    }


def probe_labels(run: Run) -> np.ndarray:
    """(images,) int64 classes of the probe images, where a recorded batch had them; else -1."""
    ids = run.probe_ids
    if ids is None:
        return np.full(len(run.probe_images), -1)
    steps, images = run.column("steps", "images")
    _, labels = run.column("steps", "labels")
    known = dict(zip(np.ravel(images).tolist(), np.ravel(labels).tolist())) if len(steps) else {}
    return np.array([known.get(int(number), -1) if number >= 0 else -1 for number in ids])


def events(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """What happened besides steps, from a number on."""
    found = page_run.open().events
    since = ask.number("since", 0)
    return {"events": [_without_config(event) for event in found[since:]], "next": len(found)}


def _without_config(event: dict[str, Any]) -> dict[str, Any]:
    """An event without what only a resumed training reads."""
    return {name: value for name, value in event.items() if name not in ("fingerprint", "compiled")}


def scalars(page_run: PageRun, ask: Ask) -> Blocks:
    """Loss, metrics and the like."""
    run = page_run.open()
    blocks = Blocks()
    for name in ask.texts("names") or run.scalar_names:
        steps, values = run.scalars(name)
        blocks.arrays[f"steps:{name}"] = steps
        blocks.arrays[name] = np.asarray(values, np.float64)
    return blocks


def distances(page_run: PageRun, ask: Ask) -> Blocks:
    """How far each filter is from its start and its end."""
    from kernelearn.explain.choices import some_steps
    from kernelearn.explain.kernel.curves import learning_curves

    run, layer = page_run.open(), ask.text("layer")
    weight = run.weight_name(layer, ask.text("weight", "kernel"))
    steps = some_steps(run.weight_steps(layer, weight), _MOST_STEPS)
    key = ("distances", layer, weight, len(steps), int(steps[-1]) if len(steps) else 0)
    found = page_run.keep(key, lambda: learning_curves(run, layer, weight, [int(k) for k in steps]))
    arrays = {
        "steps": found.steps,
        "from_start": found.from_start,
        "to_end": found.to_end,
        "norm": found.norm,
    }
    return Blocks(arrays, {"layer": layer, "weight": weight})
