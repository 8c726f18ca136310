"""What kernels are: as a dense layer, beside classical filters and beside each other, each with chance."""

from __future__ import annotations

from typing import Any

import numpy as np

from kernelearn.errors import ArgumentError
from kernelearn.explain.kernel.filter_banks import FilterBank, filter_bank
from kernelearn.explain.kernel.health import KernelHealth, cosine_by_chance, kernel_health
from kernelearn.explain.kernel.matrices import dense_equivalent
from kernelearn.explain.kernel.shapes import frequency_response
from kernelearn.explain.kernel.tied_matrix import ChainEquivalent, DenseEquivalent
from kernelearn.explain.sight.network import read_by
from kernelearn.recording.run import Run
from kernelearn.view.page.addresses.structure import untrained
from kernelearn.view.page.addresses.weights import layer_and_weight, value_at
from kernelearn.view.page.asking import Ask, NotRecorded
from kernelearn.view.page.blocks import absent
from kernelearn.view.page.library import PageRun

# Entries of one channel's block that a page can draw.
_MOST_ENTRIES = 2**20
_SAMPLES = 499
_RESPONSE = 24


def dense(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """One filter and channel of a layer as the dense layer that it is."""
    run = page_run.open()
    layer, weight = layer_and_weight(run, ask)
    step = ask.number("step")
    kernel = value_at(run, layer, weight, step)
    wide = page_run.keep(("dense", layer, weight), lambda: _equivalent(page_run, layer, weight))
    wide = wide.with_kernel(kernel)
    one = ask.number("filter", 0, 0, wide.output_shape[-1] - 1)
    channel = ask.number("channel", 0, 0, wide.input_shape[-1] - 1)
    rows, columns, ties = _block(wide, channel, one)
    shape = [int(np.prod(wide.output_shape[:-1])), int(np.prod(wide.input_shape[:-1]))]
    if len(rows) > _MOST_ENTRIES:
        raise ArgumentError(
            f"One filter of {layer} as a dense layer has {len(rows):,} entries, more than a page can draw."
        )
    values, numbers = np.unique(ties, return_inverse=True)
    return {
        "layer": layer,
        "weight": weight,
        "step": step,
        "filter": one,
        "channel": channel,
        "shape": shape,
        "sizes": {"out": list(wide.output_shape[:-1]), "in": list(wide.input_shape[:-1])},
        "entries": shape[0] * shape[1],
        "zeros": shape[0] * shape[1] - len(rows),
        "tied": len(rows),
        "free": len(values),
        "rows": rows,
        "columns": columns,
        "ties": numbers,
        "kernel": wide.kernel.ravel()[values],
        "indices": [list(np.unravel_index(int(v), wide.kernel.shape)) for v in values],
        "counts": np.bincount(numbers, minlength=len(values)),
        "whole": {"entries": wide.entries, "zeros": wide.zeros, "tied": wide.nonzeros, "free": wide.free},
    }


def _equivalent(page_run: PageRun, layer: str, weight: str) -> DenseEquivalent:
    model = untrained(page_run)
    found = dense_equivalent(model.get_layer(layer), read_by(model, layer))
    if isinstance(found, ChainEquivalent):
        return next((stage for stage in found.stages if stage.weight == weight), found.stages[0])
    return found


def _block(wide: DenseEquivalent, channel: int, one: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(row, column, kernel entry) of the entries from one channel to one filter, counted in positions."""
    filters, channels = wide.output_shape[-1], wide.input_shape[-1]
    is_here = (wide.ties.rows % filters == one) & (wide.ties.columns % channels == channel)
    return (
        wide.ties.rows[is_here] // filters,
        wide.ties.columns[is_here] // channels,
        wide.ties.kernel[is_here],
    )


def families(page_run: PageRun, ask: Ask) -> dict[str, Any]:
    """Closest classical filters, frequency response, dead and repeated kernels, each beside chance."""
    run = page_run.open()
    layer, weight = layer_and_weight(run, ask)
    if len(run.shape_of(layer, weight)) < 3:
        raise NotRecorded(absent(f"{layer} is no convolution: its weights have no shape to compare."))
    step = ask.number("step")
    value_at(run, layer, weight, step)
    return page_run.keep(("families", layer, weight, step), lambda: _families(run, layer, weight, step))


def _families(run: Run, layer: str, weight: str, step: int) -> dict[str, Any]:
    health = kernel_health(run, layer, step, weight)
    is_shaped = max(health.kernels.size) > 1
    bank = filter_bank(run, layer, step, weight, samples=_SAMPLES) if is_shaped else None
    size = max(_RESPONSE, *health.kernels.size)
    response = frequency_response(health.kernels.values, size)
    return {
        "layer": layer,
        "step": step,
        "filters": [_filter(f, health, bank) for f in range(len(health.norm))],
        "families": []
        if bank is None
        else [{"name": name, "chance": float(bank.baseline[i])} for i, name in enumerate(bank.families)],
        "expected_by_chance": _by_chance(health),
        "rank": health.rank,
        "effective_rank": health.effective_rank,
        "response": {
            "size": size,
            "axes": len(health.kernels.size),
            "filters": [np.ravel(response[..., f]) for f in range(response.shape[-1])],
        },
        "left_out": {} if bank is None else bank.left_out,
    }


def _filter(number: int, health: KernelHealth, bank: FilterBank | None) -> dict[str, Any]:
    own = {
        "filter": number,
        "norm": health.norm[number],
        "is_dead": bool(health.dead[number]),
        "nearest": _or_none(health.nearest[number]),
        "cosine": health.cosine[number],
        "duplicate_of": _or_none(health.duplicate_of[number]),
        "own_share": health.own_share[number],
        "is_redundant": bool(health.redundant[number]),
    }
    if bank is None:
        return own
    best = bank.best[number]
    place = bank.families.index(best) if best else None
    return {
        **own,
        "best": best or None,
        "similarity": None if place is None else bank.similarity[number, place],
        "chance": None if place is None else bank.baseline[place],
        "p": bank.p_best[number],
        "settings": bank.settings[number].get(best, {}),
        "frequency": bank.shape.frequency[number],
        "angle": bank.shape.angle[number],
        "similarities": dict(zip(bank.families, bank.similarity[number])),
    }


def _by_chance(health: KernelHealth) -> dict[str, float]:
    """What random kernels of the same size and number have."""
    count, size = len(health.norm), int(np.prod(health.kernels.values.shape[:-1]))
    return {"p_below_0.05": 0.05 * count, "largest_cosine": cosine_by_chance(size, count)}


def _or_none(number: Any) -> int | None:
    return None if int(number) < 0 else int(number)
