"""Why a weight moved: the ledger of its gradient, the parts of its update, its whole way."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.gradient.ledgers import Ledger, ledger
from kernelearn.explain.update.histories import History, history
from kernelearn.explain.update.run_updates import RunUpdates
from kernelearn.explain.update.splits import UpdateSplit
from kernelearn.recording.run import Run
from kernelearn.view.page.addresses.weights import index_of, layer_and_weight
from kernelearn.view.page.asking import Ask, NotRecorded
from kernelearn.view.page.blocks import Blocks, absent
from kernelearn.view.page.library import PageRun

_TOP = 12
# Part of an update -> how the page calls it.
WORDS = {
    "gradient": "new gradient",
    "penalty": "penalty on the weight",
    "accumulated": "gradients of the steps before that make one update with this one",
    "clipping": "taken by clipping",
    "momentum": "earlier gradients",
    "weight_decay": "weight decay",
    "averaging": "moving average",
    "constraint": "constraint",
    "by_hand": "edited by hand",
    "earlier_momentum": "from before",
    "unexplained": "not recorded",
}


def ledger_of(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """Every term of the gradient of one weight, summed by image, position and class."""
    run, step = page_run.open(), ask.number("step", least=1)
    layer, weight = layer_and_weight(run, ask)
    index = index_of(run, layer, weight, ask)
    check_ledger(run, layer, weight, step)
    book = page_run.keep(
        ("ledger", layer, weight, step, index), lambda: ledger(run, layer, step, (weight, *index))
    )
    return {
        **{name: getattr(book, name) for name in ("layer", "weight", "step", "kind", "gradient", "total")},
        "index": list(book.index),
        "penalty": book.penalty,
        "residual": book.residual,
        "relative_residual": book.relative_residual,
        "size": float(np.abs(book.terms).sum()),
        "terms": len(book.terms),
        "mixes_images": bool(book.mixes_images),
        "formula": book.formula,
        "images": _by_row(book),
        "classes": _by_class(book),
        "positions": _by_position(book),
        "top": [_term(book, t) for t in np.argsort(-np.abs(book.terms), kind="stable")[:_TOP]],
    }


def check_ledger(run: Run, layer: str, weight: str, step: int) -> None:
    """Raise NotRecorded unless the factors of a weight are recorded at a step."""
    kernel = run.about.kernel_name(layer) or weight if weight == "bias" else weight
    steps = run.ledger_steps_of(layer, kernel)
    if step in steps:
        return
    if run.is_frozen(layer, step, weight):
        raise NotRecorded(
            absent(f"{layer}/{weight} was frozen at step {step}: nothing moved it.", steps, step)
        )
    if not len(steps):
        raise NotRecorded(absent(f"No ledger of {layer}/{weight} is recorded in this run."))
    raise NotRecorded(absent(f"No ledger is recorded at step {step}.", steps, step))


def _by_row(book: Ledger) -> list[dict[str, Any]]:
    """Images by the size of their sums; each row of the batch by itself."""
    found = book.by_row()
    first = np.searchsorted(book.rows, found.keys) if (np.diff(book.rows) >= 0).all() else None
    places = [int(np.flatnonzero(book.rows == key)[0]) for key in found.keys] if first is None else first
    order = np.argsort(-np.abs(found.sums), kind="stable")
    return [
        {
            "row": int(found.keys[i]),
            "image": int(book.images[places[i]]),
            "label": _label(book, int(places[i])),
            "sum": found.sums[i],
        }
        for i in order
    ]


def _label(book: Ledger, t: int) -> int:
    return -1 if book.labels is None else int(book.labels[t])


def _by_class(book: Ledger) -> list[dict[str, Any]]:
    if book.labels is None:
        return []
    found = book.by_class()
    order = np.argsort(-np.abs(found.sums), kind="stable")
    return [{"label": int(found.keys[i]), "sum": found.sums[i], "terms": int(found.counts[i])} for i in order]


def _by_position(book: Ledger) -> dict[str, Any] | None:
    try:
        sums = book.by_position()
    except ArgumentError:  # a shared layer whose calls have outputs of different sizes
        return None
    return {"shape": list(sums.shape), "sums": np.ravel(sums)}


def _term(book: Ledger, t: int) -> dict[str, Any]:
    return {
        "row": int(book.rows[t]),
        "image": int(book.images[t]),
        "label": _label(book, t),
        "position": book.positions[t],
        "pixel": book.pixels[t],
        "input": book.inputs[t],
        "delta": book.deltas[t],
        "term": book.terms[t],
        "in_padding": bool(book.in_padding[t]),
    }


def _split(page_run: PageRun, run: Run, layer: str, weight: str, step: int) -> UpdateSplit:
    """An update of a weight, split.

    Raises: NotRecorded.
    """
    if not (run.is_split(layer, step, weight) and step in run.state_steps_before(layer, weight)):
        why = (
            f"Update {step} of {layer}/{weight} is not recorded whole: that takes the weights on both sides, "
            "the gradient, and the optimiser's arrays."
        )
        raise NotRecorded(absent(why, RunUpdates(run, layer, weight).steps(), step))
    return page_run.keep(("split", layer, weight, step), lambda: RunUpdates(run, layer, weight).split(step))


def updates(page_run: PageRun, ask: Ask) -> Blocks:
    """What one update of a whole weight was made of."""
    run, step = page_run.open(), ask.number("step", least=1)
    layer, weight = layer_and_weight(run, ask)
    if run.is_frozen(layer, step, weight):
        raise NotRecorded(absent(f"{layer}/{weight} was frozen at step {step}: there was no update."))
    split = _split(page_run, run, layer, weight, step)
    arrays = {"before": split.before, "after": split.after, "residual": split.residual}
    arrays |= {f"part:{name}": part for name, part in split.parts.items()}
    arrays |= {f"scaling:{name}": part for name, part in split.scaling.items()}
    header = {
        "layer": layer,
        "weight": weight,
        "step": step,
        "optimizer": split.optimizer,
        "learning_rate": run.learning_rate(step),
        "is_exact": split.is_exact,
        "words": {name: WORDS.get(name, name) for name in split.parts},
    }
    return Blocks(arrays, header)


def update(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """What one update of one weight was made of."""
    run, step = page_run.open(), ask.number("step", least=1)
    layer, weight = layer_and_weight(run, ask)
    index = index_of(run, layer, weight, ask)
    if run.is_frozen(layer, step, weight):
        return _frozen(run, layer, weight, index, step)
    split = _split(page_run, run, layer, weight, step)
    shares = split.shares()
    return {
        "layer": layer,
        "weight": weight,
        "index": list(index),
        "step": step,
        "optimizer": split.optimizer,
        "learning_rate": run.learning_rate(step),
        "before": float(split.before[index]),
        "after": float(split.after[index]),
        "update": float(split.update[index]),
        "residual": float(split.residual[index]),
        "is_exact": split.is_exact,
        "parts": [
            {"name": name, "words": WORDS.get(name, name), "value": float(part[index])}
            for name, part in split.parts.items()
        ],
        "scaling": [{"name": name, "value": float(part[index])} for name, part in split.scaling.items()],
        "shares": shares,
        "by_hand": [done.about() for done in run.by_hand(layer, step, weight)],
    }


def _frozen(run: Run, layer: str, weight: str, index: tuple[int, ...], step: int) -> dict[str, Any]:
    value = float(run.kernels(layer, step, weight)[index])
    before = float(run.kernels(layer, step - 1, weight)[index])
    hand = (
        [{"name": "by_hand", "words": WORDS["by_hand"], "value": value - before}] if value != before else []
    )
    return {
        "layer": layer,
        "weight": weight,
        "index": list(index),
        "step": step,
        "optimizer": None,
        "learning_rate": run.learning_rate(step),
        "before": before,
        "after": value,
        "update": value - before,
        "residual": 0.0,
        "is_exact": True,
        "parts": hand,
        "scaling": [],
        "shares": {},
        "by_hand": [done.about() for done in run.by_hand(layer, step, weight)],
        "is_frozen": True,
    }


def history_of(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """The whole way of one weight."""
    run = page_run.open()
    layer, weight = layer_and_weight(run, ask)
    index = index_of(run, layer, weight, ask)
    key = ("history", layer, weight, index, run.last_step)
    past = page_run.keep(key, lambda: history(run, layer, (weight, *index)))
    return {
        "layer": layer,
        "weight": weight,
        "index": list(index),
        "first": past.first,
        "last": past.last,
        "start": past.before,
        "end": past.after,
        "parts": [
            {"name": name, "words": WORDS.get(name, name), "value": value}
            for name, value in past.totals.items()
        ],
        "residual": past.residual,
        "is_exact": past.is_exact,
        "explained": past.explained,
        "covered": past.covered,
        "covered_change": past.covered_change if len(past.ledger_steps) else 0.0,
        "by_class": _history_classes(past),
        "by_hand": [
            {"step": one.step, **one.about()}
            for one in run.interventions
            if (one.layer, one.weight) == (layer, weight)
        ],
    }


def _history_classes(past: History) -> list[dict[str, Any]]:
    if not len(past.ledger_steps):
        return []
    try:
        found = past.by_class()
    except ArgumentError:
        return []
    return [
        {"label": int(key), "value": float(value)}
        for key, value in sorted(zip(found.keys, found.sums), key=lambda pair: -abs(pair[1]))
    ]
