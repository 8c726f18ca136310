"""The network in the report: its layers, shapes and counts, and a convolution as the dense layer it is."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from kernelearn.errors import KernelearnError
from kernelearn.explain.kernel.matrices import dense_equivalent
from kernelearn.explain.kernel.tied_matrix import ChainEquivalent
from kernelearn.explain.sight.network import read_by
from kernelearn.models.summary import summary_rows, totals
from kernelearn.view.blocks import block_of
from kernelearn.view.families import WEIGHTS
from kernelearn.view.report.markup import Html, figure, join, paragraph, scrolling, table, tag
from kernelearn.view.report.material import Material
from kernelearn.view.report.pictures import map_picture

# A picture has one pixel for each entry of the matrix; larger maps would show nothing.
_LONGEST_SIDE = 1024
_PICTURE_SIDE = 380


def section(m: Material) -> Html:
    """The table of layers, and the picture of the first convolution as a matrix."""
    return join([_layers(m), _dense(m)])


def _layers(m: Material) -> Html:
    rows = [
        [
            row.name,
            row.kind,
            _unbroken(row.shape),
            _unbroken(_count_words(row)),
            f"{row.count:,}" if row.count else "",
            _state(row),
        ]
        for row in summary_rows(m.model)
    ]
    counts = totals(m.model).lines()
    columns = ("layer", "kind", "output", "how its numbers are counted", "numbers", "state")
    found = table(columns, rows, None, (False, False, False, False, True, False))
    return join([found, *(paragraph(line, class_="note") for line in counts)])


def _unbroken(text: str) -> str:
    return text.replace(" ", "\u00a0")


def _count_words(row: Any) -> str:
    """(9*1 + 1) * 32 = 320."""
    return f"{row.formula} = {row.count:,}" if row.formula and row.count else ""


def _state(row: Any) -> str:
    return "frozen" if row.is_frozen else "trained" if row.count else ""


def _dense(m: Material) -> Html:
    """One filter of the first convolution as a matrix: a row an output, a column an input."""
    layer = next(iter(m.convolutions), None)
    if layer is None:
        return Html("")
    head = tag("h3", f"{layer} as a dense layer")
    try:
        return join([head, _matrix(m, layer)])
    except KernelearnError as error:
        return join([head, paragraph(str(error), class_="missing")])


def _matrix(m: Material, layer: str) -> Html:
    """The picture, and the counts of the whole layer."""
    found = m.model.get_layer(layer)
    wide = dense_equivalent(found, read_by(m.model, layer, m.image_shape))
    wide = wide.stages[0] if isinstance(wide, ChainEquivalent) else wide
    counts = (
        f"The layer is a dense one from {prod(wide.input_shape):,} to {prod(wide.output_shape):,} numbers "
        f"whose matrix has {wide.entries:,} entries: {wide.zeros:,} of them are zero, because the input lies "
        f"outside of the window, and the other {wide.nonzeros:,} are {wide.free:,} numbers, each in many "
        "places. So the gradient of one number is a sum over all its places."
    )
    values, _, _ = block_of(wide, 0, int(wide.ties.kernel[0]) % wide.kernel.shape[-1])
    if max(values.shape) > _LONGEST_SIDE:
        return paragraph(counts)
    limit = float(np.nanmax(np.abs(values))) or 1.0
    words = (
        f"From the first input channel to the first filter: {values.shape[0]} outputs down, "
        f"{values.shape[1]} inputs across. Each diagonal is one number of the kernel; what is blank is zero "
        "whatever it learns."
    )
    picture = tag(
        "span", map_picture(values, limit, WEIGHTS, words, max(_PICTURE_SIDE, *values.shape)), class_="board"
    )
    return join([paragraph(counts), scrolling(figure(picture, words))])
