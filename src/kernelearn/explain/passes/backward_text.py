"""The path of an error in words: each hop with its formula, and the parts as tables."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

from kernelearn.explain.passes.text import signed
from kernelearn.explain.table import Table

if TYPE_CHECKING:
    from kernelearn.explain.passes.backward import ErrorPath, Hop, Part

# Operators that hand an error on as it is.
_PASSING = ("bias_add", "reshape", "add", "gaussian_noise", "concatenate", "slice", "pad", "transpose")
_MADE = {
    "conv": "sum of products",
    "conv_transpose": "sum of products",
    "dense": "sum of products",
    "bias_add": "sum with bias",
    "activation": "behind the activation",
    "prelu": "behind the activation",
    "max_pool": "pooled",
    "average_pool": "pooled",
    "reduce_mean": "pooled",
    "reduce_max": "pooled",
    "normalize": "normalised",
    "affine": "scaled and shifted",
    "dropout": "behind dropout",
    "reshape": "flattened",
    "softmax": "probability",
}


def place_words(hop: Hop) -> str:
    """The number of a hop: conv1 [3, 4, 1], behind the activation."""
    at = ", ".join(map(str, hop.index))
    what = _MADE.get(hop.operator, hop.operator.replace("_", " "))
    return f"{hop.layer or hop.buffer} [{at}], {what}"


def reason(hop: Hop) -> str:
    """Where the error of a hop comes from, in one sentence with its numbers."""
    if hop.end is not None and not hop.parts:
        return f"the loss: {hop.end.formula}"
    if not hop.is_whole:
        return "this operation was not taken apart; the engine's number stands for it"
    if not hop.parts:
        return "nothing reads it that the loss depends on: 0"
    if any(part.operator == "normalize" for part in hop.parts):
        notes = ", ".join(f"{part.note} {signed(part.term)}" for part in hop.parts)
        return f"normalised with its batch: {notes}"
    if len(hop.parts) == 1:
        return _single(hop.parts[0])
    return _several(hop)


def _single(part: Part) -> str:
    if part.operator in ("activation", "prelu"):
        cut = ": cut, nothing passes" if part.factor == 0 else ""
        return f"slope {part.factor:.6g} of the activation x {part.error:.6g}{cut}"
    if part.operator in ("max_pool", "reduce_max"):
        won = "it won its pool" if part.factor else "it lost its pool"
        return f"{won}: {part.factor:.6g} x {part.error:.6g}"
    if part.operator in ("average_pool", "reduce_mean"):
        return f"its share {part.factor:.6g} of the mean x {part.error:.6g}"
    if part.operator in _PASSING and part.factor == 1:
        return f"handed on by {part.operator.replace('_', ' ')}: {part.error:.6g}"
    return f"{part.factor:.6g} x {part.error:.6g} ({part.operator.replace('_', ' ')})"


def _several(hop: Hop) -> str:
    layers = list(dict.fromkeys(part.layer or part.operator for part in hop.parts))
    first = " + ".join(f"({part.factor:.4g})({part.error:.4g})" for part in hop.parts[:3])
    rest = len(hop.parts) - len(hop.parts[:3])
    more = f" + {rest:,} more" if rest else ""
    return f"sum over {len(hop.parts):,} numbers of {', '.join(layers)}: {first}{more}"


def parts_table(hop: Hop, k: int | None = None) -> Table:
    """The parts of one hop, the largest first."""
    rows = tuple(
        (part.layer or part.operator, ", ".join(map(str, part.index)), part.factor, part.error, part.term)
        for part in hop.parts[:k]
    )
    shown, there = len(rows), len(hop.parts)
    what = f"All {there} parts" if shown == there else f"{shown} largest of {there:,} parts"
    columns = ("above", "number", "weight or slope", "error there", "product")
    return Table(columns, rows, f"{what} of the error of {place_words(hop)}")


def path_table(path: ErrorPath) -> Table:
    """One row for each hop."""
    rows = tuple(
        (place_words(hop), signed(hop.value), signed(hop.error), reason(hop), _agreement(hop))
        for hop in path.hops
    )
    return Table(("number", "value", "error", "comes from", "residual"), rows, "From the unit up to the loss")


def _agreement(hop: Hop) -> str:
    return f"{hop.relative_residual:.0e}" if hop.is_whole else "-"


def head_lines(path: ErrorPath) -> list[str]:
    """The unit, its error, and how the hops agree with the engine."""
    unit = path.unit
    position = f"position {', '.join(map(str, unit.position))}, " if unit.position else ""
    image = f"image {path.image}" + (" of the batch" if path.step is None else f", step {path.step}")
    lines = [
        f"Error of {unit.layer}: {position}filter {unit.filter}, {image}",
        f"dL/dz = {path.error:.9g}; z = {unit.z:.6g}; loss of the batch {path.loss:.6g}; largest residual "
        f"{path.residual:.1g} of the absolute parts",
    ]
    if path.recorded is not None:
        lines.append(f"The record of the step has {path.recorded:.9g}.")
    if path.is_cut:
        lines.append("Nothing comes back to this unit at this image: it teaches nothing here.")
    return lines


def tables(path: ErrorPath, k: int = 10) -> list[Table]:
    """The path, and the first sum over the layer above."""
    above = path.above
    return [path.table(), *([] if above is None else [above.table(k)])]


def as_dict(path: ErrorPath) -> dict[str, Any]:
    """Everything as JSON values."""
    return {
        "layer": path.unit.layer,
        "position": list(path.unit.position),
        "filter": path.unit.filter,
        "image": path.image,
        "step": path.step,
        "error": path.error,
        "recorded": path.recorded,
        "loss": path.loss,
        "residual": path.residual,
        "unit": path.unit.to_dict(),
        "hops": [_hop_dict(hop) for hop in path.hops],
    }


def _hop_dict(hop: Hop) -> dict[str, Any]:
    return {
        "number": place_words(hop),
        "layer": hop.layer,
        "index": list(hop.index),
        "value": hop.value,
        "error": hop.error,
        "sum": hop.total if hop.is_whole else None,
        "comes_from": reason(hop),
        "parts": [
            {
                "operator": part.operator,
                "layer": part.layer,
                "index": list(part.index),
                "factor": part.factor,
                "error": part.error,
                "term": part.term,
                "note": part.note,
            }
            for part in hop.parts
        ],
        "loss": None
        if hop.end is None
        else {
            "kind": hop.end.kind,
            "reads": hop.end.reads,
            "target": hop.end.target,
            "probability": hop.end.probability,
            "factor": hop.end.factor,
            "error": hop.end.error,
        },
    }


def as_text(path: ErrorPath) -> str:
    """A short report."""
    return "\n".join([*head_lines(path), *map(str, tables(path))])


def as_html(path: ErrorPath) -> str:
    """The same report for a notebook."""
    lines = "".join(f"<p>{html.escape(line)}</p>" for line in head_lines(path))
    return f"<div>{lines}{''.join(table._repr_html_() for table in tables(path))}</div>"
