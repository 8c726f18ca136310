"""Chosen weights followed from the terms of one gradient to the update, and over the whole training."""

from __future__ import annotations

from kernelearn.errors import KernelearnError
from kernelearn.explain.choices import ledger_step, moved_most
from kernelearn.explain.gradient.ledger_text import NOTE
from kernelearn.explain.gradient.ledgers import ledger
from kernelearn.explain.passes.joint import joint
from kernelearn.view.report.choice import choice
from kernelearn.view.report.decimals import brief
from kernelearn.view.report.ledgers import ledger_part
from kernelearn.view.report.markup import Html, join, paragraph, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.svg import OF_WEIGHT, Line, line_chart
from kernelearn.view.report.updates import history_part, over_the_steps, update_part

# Weights of a layer, and ledgers of a weight, that the reader can choose from; a deep network shows one each.
_WEIGHTS, _STEPS = 3, 3
_MANY_LAYERS = 6


def section(m: Material) -> Html:
    """The ledger, update and history of the weights that moved most."""
    chosen = _chosen(m)
    if not chosen:
        return paragraph(
            "No ledger is recorded in this run. Record one with kernelearn train --record, or "
            "Recorder(..., ledger_every=100).",
            class_="missing",
        )
    intro = paragraph(
        "The gradient of one weight is a sum: what the weight read, times the error that came back, for "
        "every image of the batch and, in a convolution, for every position. The ledger lists these terms. "
        "The optimiser turns their sum into an update, and the updates add up to the trained weight. For "
        "each layer these are the weights that moved farthest, each at the recorded step that moved it most, "
        "and at the first and last one with a ledger."
    )
    dense = paragraph(
        "A dense layer's ledger has one term per image where a convolution's has one per image ",
        tag("em", "and position"),
        ": that sum is the whole difference between the two.",
    )
    note = [] if _mixes_no_images(m) else [paragraph(NOTE, class_="note")]
    count = _WEIGHTS if len(chosen) <= _MANY_LAYERS else 1
    blocks = [_layer(m, layer, name, count) for layer, name in chosen.items()]
    return join([intro, dense, *note, _joint(m), *blocks])


def _joint(m: Material) -> Html:
    """One number of every weight in the same step: kernels, biases and dense weights are trained together."""
    try:
        found = joint(m.run)
    except KernelearnError as error:
        return paragraph(str(error), class_="missing")
    words = (
        "Are kernels and dense weights trained together? Yes: the same step moves all of them by the same "
        "rule. A kernel's gradient has a term for each image and position, a dense weight's one an image."
    )
    rows = [[_joint_cell(cell) for cell in row] for row in found.rows]
    right = (False, True, True, True, True, True)
    return join(
        [
            tag("h3", "All weights in one step"),
            paragraph(words),
            table(found.columns, rows, found.title, right),
        ]
    )


def _joint_cell(cell: object) -> str:
    if cell is None:
        return "-"
    return cell if isinstance(cell, str) else brief(float(cell))  # type: ignore[arg-type]


def _layer(m: Material, layer: str, name: str, count: int) -> Html:
    """The weights of a layer that moved farthest, one to see at a time."""
    indices = moved_most(m.run, layer, count, name)
    return choice(
        f"Weight of {layer}", [(_title(layer, name, i), _weight(m, layer, name, i)) for i in indices]
    )


def _chosen(m: Material) -> dict[str, str]:
    """Every convolution with a ledger, and the last of the other layers."""
    known = {n: kernel for n, kernel in m.layers.items() if len(m.run.ledger_steps_of(n, kernel))}
    dense = [layer for layer in known if layer not in m.convolutions][-1:]
    return {layer: name for layer, name in known.items() if layer in m.convolutions or layer in dense}


def _mixes_no_images(m: Material) -> bool:
    layer, name = next(iter(_chosen(m).items()))
    index = (0,) * len(m.run.shape_of(layer, name))
    step = int(m.run.ledger_steps_of(layer, name)[0])
    return ledger(m.run, layer, step, (name, *index)).mixes_images is False


def _title(layer: str, name: str, index: tuple[int, ...]) -> str:
    return f"{layer} \u00b7 {name}[{', '.join(map(str, index))}]"


def _weight(m: Material, layer: str, name: str, index: tuple[int, ...]) -> Html:
    step = ledger_step(m.run, layer, index, name)
    steps, values = m.path_of(layer, name, index)
    title = _title(layer, name, index)
    ledgers = m.run.ledger_steps_of(layer, name)
    others = [int(ledgers[i]) for i in (0, -1)] if len(m.layers) <= _MANY_LAYERS else []
    shown = list(dict.fromkeys([step, *others]))[:_STEPS]
    moved = f"It went from {brief(float(values[0]))} to {brief(float(values[-1]))}."
    words = " ".join(filter(None, [_in_words(m, layer, index), moved]))
    path = line_chart(
        [Line("", steps, values, OF_WEIGHT)],
        f"{title} after each step; the line marks step {step}",
        marks=[step],
    )
    return tag(
        "article",
        tag("h3", title),
        paragraph(words),
        path,
        choice("Step", [(_step_name(k, step), _at_step(m, layer, name, index, k)) for k in shown]),
        over_the_steps(m, layer, name, index),
        history_part(m, layer, name, index),
        class_="weight",
        data_layer=layer,
    )


def _step_name(step: int, strongest: int) -> str:
    return f"{step:,}" + (" (moved it most)" if step == strongest else "")


def _at_step(m: Material, layer: str, name: str, index: tuple[int, ...], step: int) -> Html:
    """One step of a weight: its ledger, and what the optimiser made of it."""
    book = ledger(m.run, layer, step, (name, *index))
    return join([ledger_part(m, book), update_part(m, layer, name, index, step)])


def _in_words(m: Material, layer: str, index: tuple[int, ...]) -> str:
    """Row 1, column 2, input channel 0, filter 5; nothing where the axes mean something else."""
    step = int(m.run.ledger_steps_of(layer, m.layers[layer])[0])
    kind = m.run.ledger(layer, step, m.layers[layer]).kind
    if kind == "conv" and m.layers[layer] == "kernel" and len(index) == 4:
        i, j, c, f = index
        return f"Row {i}, column {j} of the kernel's slice for input channel {c}, in filter {f}."
    if kind == "dense" and len(index) == 2:
        return f"From input {index[0]} to unit {index[1]}."
    return ""
