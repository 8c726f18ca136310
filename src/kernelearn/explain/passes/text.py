"""A unit in words: its formula with the numbers filled in, its terms and stages as tables."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernelearn.engine.program import Operation
from kernelearn.explain.table import Table

if TYPE_CHECKING:
    from kernelearn.explain.passes.forward import Unit
    from kernelearn.explain.passes.pools import Pool

_FIRST = 3


def signed(value: float) -> str:
    """A number with its sign and six digits, 0 as 0."""
    return "0" if value == 0 else f"{value:+.6g}"


def formula(unit: Unit) -> str:
    """z[...] = x * w + x * w + ... + b = z, with the first numbers."""
    inputs, weights = unit.window.inputs.ravel(), unit.window.weights.ravel()
    order = np.argsort(-np.abs(inputs * weights), kind="stable")
    first = " + ".join(f"({inputs[i]:.6g})({weights[i]:.6g})" for i in order[:_FIRST])
    rest = len(order) - len(order[:_FIRST])
    more = f" + {rest:,} more" if rest else ""
    bias = f" + ({unit.bias:.6g})" if unit.bias else ""
    at = ", ".join(map(str, (*unit.position, unit.filter)))
    return f"z[{at}] = {first}{more}{bias} = {unit.z:.9g}"


def head_lines(unit: Unit) -> list[str]:
    """What the unit is, its formula, and how it agrees with the engine."""
    position = f"position {', '.join(map(str, unit.position))}, " if unit.position else ""
    step = "" if unit.step is None else f", weights of step {unit.step}"
    shape = " x ".join(map(str, unit.window.inputs.shape))
    outside = int((~unit.window.is_inside).sum())
    padding = f"; {outside} of its taps read beside the image, where everything is 0" if outside else ""
    return [
        f"One number of {unit.layer}: {position}filter {unit.filter}{step}",
        formula(unit),
        f"Window of {shape} numbers{padding}. Sum of the {unit.window.inputs.size:,} products "
        f"{unit.total:.9g}; the engine has {unit.engine:.9g}; residual {unit.residual:.2g} "
        f"({unit.relative_residual:.1g} of the absolute products)",
    ]


def terms_table(unit: Unit, k: int | None = None) -> Table:
    """The products, the largest first."""
    window = unit.window
    products = window.products.ravel()
    order = np.argsort(-np.abs(products), kind="stable")[:k]
    taps = window.inputs.shape[:-1]
    rows = []
    for place in order:
        *tap, c = (int(i) for i in np.unravel_index(place, window.inputs.shape))
        pixel = tuple(int(p) for p in window.pixels[tuple(tap)]) if taps else ()
        row: list[Any] = [int(window.channels[c]), window.inputs[(*tap, c)], window.weights[(*tap, c)]]
        where = [_at(tap), _at(pixel) if window.is_inside[tuple(tap)] else "padding"] if taps else []
        rows.append((*where, *row, products[place]))
    columns = (*(("tap", "pixel") if taps else ()), "channel", "input", "weight", "product")
    return Table(columns, tuple(rows), _title(len(order), len(products), "products"))


def channels_table(unit: Unit, k: int | None = None) -> Table:
    """Products summed over the taps of each input channel, the largest first."""
    sums = unit.by_channel
    order = np.argsort(-np.abs(sums), kind="stable")[:k]
    rows = tuple((int(unit.window.channels[c]), float(sums[c])) for c in order)
    return Table(("input channel", "sum"), rows, _title(len(order), len(sums), "input channels"))


def stages_table(unit: Unit) -> Table:
    """From the sum to the value, and into the pool."""
    rows: list[tuple[Any, ...]] = [("sum of the products", "", signed(unit.total), signed(unit.engine))]
    for stage in unit.stages:
        name = f"{stage.name} ({stage.kind})" if stage.kind else stage.name
        rows.append((name, stage.detail, signed(stage.value), signed(stage.engine)))
    rows += [pool_row(pool) for pool in unit.pools]
    return Table(("operation", "how", "gives", "engine"), tuple(rows), "From the sum to the value")


def pool_row(pool: Pool) -> tuple[Any, ...]:
    """A pooling window as a row: against whom, and who won."""
    where = f" at {_at(pool.position)}" if pool.position else " of the whole map"
    mine = float(pool.values[pool.place])
    others = np.delete(pool.values, pool.place)
    if pool.kind == "average":
        how = f"mean of {len(pool.values)} numbers, {signed(mine)} is one of them"
    elif pool.is_won:
        how = f"won against {_some(others)}"
    else:
        winner = _at(pool.pixels[int(pool.winner or 0)])
        how = f"lost to {signed(pool.value)} at {winner}"
    return (f"{pool.kind} pooling{where}", how, signed(pool.value), signed(pool.value))


def stage_detail(
    op: Operation, given: Sequence[np.ndarray], at: int, place: tuple[int, ...], value: float, found: float
) -> str:
    """What an operation does to this number, in numbers."""
    other = [_of_unit(array, place) for i, array in enumerate(given) if i != at]
    if op.operator in ("bias_add", "add"):
        return f"+ ({found - value:.6g})"
    if op.operator in ("subtract", "multiply") and len(other) == 1:
        return f"{'-' if op.operator == 'subtract' else 'x'} ({other[0]:.6g})"
    if op.operator == "activation":
        return activation_text(str(op.attrs["kind"]), value)
    if op.operator == "standardize":
        mean, variance = other[:2]
        return f"({value:.6g} - {mean:.6g}) / sqrt({variance:.6g} + {op.attrs['epsilon']:.3g})"
    if op.operator == "affine":
        return f"x {other[0]:.6g} + {other[1]:.6g}"
    if op.operator == "scale":
        return f"x {op.attrs['factor']:.6g} + {op.attrs['offset']:.6g}"
    if op.operator == "prelu":
        return "passes" if value > 0 else f"x {other[0]:.6g}"
    return f"{value:.6g} -> {found:.6g}"


def activation_text(kind: str, value: float) -> str:
    """The activation of one number."""
    if kind == "relu":
        return f"max(0, {value:.6g})" + ("" if value > 0 else ": cut")
    return f"{kind}({value:.6g})"


def _of_unit(array: np.ndarray, place: tuple[int, ...]) -> float:
    """The number of another operand that meets this unit: of its channel, its place, or for all."""
    if array.ndim == len(place) + 1:
        index = tuple(min(i, n - 1) for i, n in zip((0, *place), array.shape))
        return float(array[index])
    return float(array.reshape(-1)[place[-1] if array.size > 1 else 0])


def as_dict(unit: Unit) -> dict[str, Any]:
    """Everything as JSON values."""
    window = unit.window
    return {
        "layer": unit.layer,
        "kind": unit.kind,
        "position": list(unit.position),
        "filter": unit.filter,
        "step": unit.step,
        "inputs": window.inputs.tolist(),
        "weights": window.weights.tolist(),
        "products": window.products.tolist(),
        "pixels": window.pixels.tolist(),
        "is_inside": window.is_inside.tolist(),
        "channels": window.channels.tolist(),
        "sum": unit.total,
        "bias": unit.bias,
        "z": unit.z,
        "value": unit.value,
        "engine": unit.engine,
        "residual": unit.residual,
        "stages": [
            {
                "name": stage.name,
                "kind": stage.kind,
                "layer": stage.layer,
                "how": stage.detail,
                "value": stage.value,
                "engine": stage.engine,
            }
            for stage in unit.stages
        ],
        "pools": [
            {
                "kind": pool.kind,
                "layer": pool.layer,
                "position": list(pool.position),
                "pixels": pool.pixels.tolist(),
                "values": pool.values.tolist(),
                "is_won": pool.is_won,
                "value": pool.value,
            }
            for pool in unit.pools
        ],
    }


def tables(unit: Unit, k: int = 10) -> list[Table]:
    """What is printed: channels where there are several, the largest products, the stages."""
    several = len(unit.window.channels) > 1 and unit.window.inputs.ndim > 1
    parts = [channels_table(unit, k)] if several else []
    return [*parts, terms_table(unit, k), stages_table(unit)]


def as_text(unit: Unit) -> str:
    """A short report."""
    return "\n".join([*head_lines(unit), *map(str, tables(unit))])


def as_html(unit: Unit) -> str:
    """The same report for a notebook."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in head_lines(unit))
    return f"<div>{lines}{''.join(table._repr_html_() for table in tables(unit))}</div>"


def _title(shown: int, all_of_them: int, what: str) -> str:
    return (
        f"All {all_of_them} {what}" if shown == all_of_them else f"{shown} largest of {all_of_them:,} {what}"
    )


def _at(index: Sequence[int]) -> str:
    return ", ".join(str(int(i)) for i in index) or "-"


def _some(values: np.ndarray) -> str:
    shown = ", ".join(signed(float(v)) for v in values[:3])
    return shown if len(values) <= 3 else f"{shown} and {len(values) - 3} others"
