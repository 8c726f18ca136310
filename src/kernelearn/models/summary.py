"""`model.summary()`: a table of the layers with their output shapes, weights and how these are counted.

`summary_rows` and `totals` hold the numbers, `summary` prints them, `summary_html` is for notebooks.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from kernelearn import _notebook
from kernelearn.models.engine_summary import engine_lines
from kernelearn.storage import readable_size

_PLAIN_WIDTH = 98
_DENSE = {"kernel", "bias"}
# Weights of a layer whose sizes are written out.
_LISTED_WEIGHTS = 5
_PLAIN_WIDTH_OF_GRAPHS = 132


@dataclass(frozen=True)
class Row:
    """One layer.

    Attributes:
        name, kind: of the layer and its class.
        shape: output shape as text, "?" before the layer is built.
        count: number of weights, 0 for the second appearance of a shared one.
        formula: how `count` comes about, such as "(3*3*1 + 1) * 12"; "" without weights.
        is_frozen: whether the layer has weights and none of its parameters is trained.
        sources: names of the layers it reads; empty in a plain chain.
    """

    name: str
    kind: str
    shape: str
    count: int
    formula: str
    is_frozen: bool
    sources: tuple[str, ...] = ()


@dataclass(frozen=True)
class Totals:
    """Numbers of weights and their bytes.

    `frozen` are the parameters that would be trained if their layer was trainable; `statistics` are moving
    means and variances. Together they are the non-trainable ones.
    """

    total: int
    trainable: int
    frozen: int
    statistics: int
    total_bytes: int
    trainable_bytes: int

    def lines(self) -> list[str]:
        """The counts as sentences."""
        rest = self.total - self.trainable
        detail = f" - {self.frozen:,} frozen, {self.statistics:,} moving statistics" if rest else ""
        rest_bytes = readable_size(self.total_bytes - self.trainable_bytes)
        return [
            f"Total params: {self.total:,} ({readable_size(self.total_bytes)})",
            f"Trainable params: {self.trainable:,} ({readable_size(self.trainable_bytes)})",
            f"Non-trainable params: {rest:,} ({rest_bytes}){detail}",
        ]


def summary(
    model: Any,
    line_length: int | None = None,
    print_fn: Callable[[str], Any] | None = None,
    engine: bool = False,
    input_shape: Any = None,
) -> None:
    """Print the table: in colours on a terminal, as plain text anywhere else.

    Args:
        model: a Sequential or Model.
        line_length: width in characters; None takes the terminal's, or 98 (132 where layers are not a chain).
        print_fn: called once with the whole text instead of printing.
        engine: also say which kernels each layer gets, where they run and how much they do.
        input_shape: of one image for `engine`, where the model takes any size: (64, 64, 3).
    """
    below = ["", *engine_lines(model, input_shape=input_shape)] if engine else []
    if print_fn is None and sys.stdout.isatty():
        from rich.console import Console

        Console(width=line_length).print(_rich_summary(model))
        if below:
            print(*below, sep="\n")
        return
    (print_fn or print)("\n".join([summary_text(model, line_length), *below]))


def summary_text(model: Any, line_length: int | None = None) -> str:
    """The table as plain text, at least 40 characters wide."""
    columns, rows = _columns(model), [_cells(row) for row in summary_rows(model)]
    # Sources are named only where they say something: in a chain each layer reads the one before.
    has_sources = "Connected to" in columns
    width = max(40, line_length or (_PLAIN_WIDTH_OF_GRAPHS if has_sources else _PLAIN_WIDTH))
    cells = [columns, *(row if has_sources else row[:-1] for row in rows)]
    widths = _fitted([max(len(row[i]) for row in cells) for i in range(len(columns))], width)
    lines = [_title(model), "=" * width]
    for number, row in enumerate(cells):
        lines += _wrapped(row, widths)
        if number == 0:
            lines.append("-" * width)
    return "\n".join([*lines, "=" * width, *_counts(model)])


def summary_html(model: Any) -> str:
    """The table as HTML, for `_repr_html_` in notebooks."""
    columns = _columns(model)
    rows = (_cells(row)[: len(columns)] for row in summary_rows(model))
    return _notebook.table(_title(model), columns, rows, _counts(model))


def summary_rows(model: Any) -> list[Row]:
    """One row a layer, in the model's order; weights that several layers share are counted at the first."""
    trained = {id(weight) for weight in model.trainable_weights}
    seen: set[int] = set()
    layers = list(model.layers)
    inside, paths = {id(layer) for layer in layers}, {id(layer): path for path, layer in model.sublayers()}
    return [_row(layer, paths[id(layer)], trained, seen, inside) for layer in layers]


def totals(model: Any) -> Totals:
    """Counts and bytes over all weights of a model, each counted once."""
    weights = list({id(weight): weight for weight in model.weights}.values())
    trained = {id(weight) for weight in model.trainable_weights}
    trainable = [weight for weight in weights if id(weight) in trained]
    rest = [weight for weight in weights if id(weight) not in trained]
    return Totals(
        total=_count(weights),
        trainable=_count(trainable),
        frozen=_count(weight for weight in rest if weight.trainable),
        statistics=_count(weight for weight in rest if not weight.trainable),
        total_bytes=_bytes(weights),
        trainable_bytes=_bytes(trainable),
    )


def parameter_formula(layer: Any) -> str:
    """How the number of weights of a layer comes about, short.

    >>> from kernelearn.layers import Conv2D
    >>> layer = Conv2D(12, 3)
    >>> layer.compute_output_shape((None, 25, 25, 1))
    (None, 23, 23, 12)
    >>> parameter_formula(layer)
    '(3*3*1 + 1) * 12'
    """
    shapes = {weight.name: weight.shape for weight in layer.weights if weight.shape}
    if not shapes:
        return ""
    if len(layer.weights) > _LISTED_WEIGHTS:
        return f"{len(layer.weights)} weights"
    if list(shapes) == [weight.name for weight in layer.weights] and {"kernel"} <= set(shapes) <= _DENSE:
        return _kernel_formula(layer, shapes)
    if len(shapes) == len(layer.weights) and len(set(shapes.values())) == 1:
        return _times(len(shapes), next(iter(shapes.values())))
    return " + ".join(_product(weight.shape) for weight in layer.weights)


def _kernel_formula(layer: Any, shapes: dict[str, tuple[int, ...]]) -> str:
    """(weights that one output channel reads + its bias) * output channels."""
    kernel = shapes["kernel"]
    outputs = shapes["bias"][0] if "bias" in shapes else None
    reads, channels = kernel[:-1], kernel[-1]
    if type(layer).__name__.endswith("Transpose"):
        reads, channels = (*kernel[:-2], kernel[-1]), kernel[-2]
    if type(layer).__name__.startswith("Depthwise"):
        reads, channels = kernel[:-2], kernel[-2] * kernel[-1]
    bias = "" if outputs is None else " + 1"
    return f"({_product(reads)}{bias}) * {channels}" if bias else f"{_product(reads)} * {channels}"


def _times(count: int, shape: tuple[int, ...]) -> str:
    return _product(shape) if count == 1 else f"{count} * {_product(shape)}"


def _product(shape: tuple[int, ...]) -> str:
    return "*".join(str(size) for size in shape) or "1"


def _row(layer: Any, path: str, trained: set[int], seen: set[int], inside: set[int]) -> Row:
    own = [weight for weight in layer.weights if id(weight) not in seen]
    seen.update(id(weight) for weight in own)
    parameters = [weight for weight in layer.weights if weight.trainable]
    formula = _nested_formula(layer) if hasattr(layer, "layers") else parameter_formula(layer)
    return Row(
        name=path,
        kind=type(layer).__name__,
        shape=_output_shape(layer),
        count=_count(own),
        formula=formula if own or not layer.weights else "shared, counted above",
        is_frozen=bool(parameters) and not any(id(weight) in trained for weight in parameters),
        sources=tuple(_sources(layer, inside)),
    )


def _nested_formula(model: Any) -> str:
    count = len(model.layers)
    return f"{count} layer{'' if count == 1 else 's'}"


def _output_shape(layer: Any) -> str:
    """Of its first call; of a model that was not called its own; inside of a `call` what was seen there."""
    nodes = getattr(layer, "_nodes", [])
    outputs = nodes[0].outputs if nodes else getattr(layer, "outputs", None) or ()
    shapes = [tuple(tensor.shape) for tensor in outputs] or list(layer.notes.shapes)
    return ", ".join(map(str, shapes)) or "?"


def _sources(layer: Any, inside: set[int]) -> Iterator[str]:
    """Names of the layers of the same model that this one reads."""
    names = [
        tensor.node.layer.name
        for node in getattr(layer, "_nodes", [])
        for tensor in node.inputs
        if id(tensor.node.layer) in inside
    ]
    return iter(dict.fromkeys(names))


def _is_chain(rows: list[Row]) -> bool:
    """Whether every layer reads exactly the one above it."""
    before = [(), *((row.name,) for row in rows)]
    return all(row.sources in ((), above) for row, above in zip(rows, before))


def _columns(model: Any) -> list[str]:
    columns = ["Layer (type)", "Output Shape", "Param #", "= how"]
    return columns if _is_chain(summary_rows(model)) else [*columns, "Connected to"]


def _cells(row: Row) -> list[str]:
    frozen = " frozen" if row.is_frozen else ""
    count, sources = f"{row.count:,}{frozen}", ", ".join(row.sources)
    return [f"{row.name} ({row.kind})", row.shape, count, row.formula, sources]


def _counts(model: Any) -> list[str]:
    """The lines below the table: counts, and the precision policy if it is not the plain one."""
    lines = totals(model).lines()
    if model.policy != "float32":
        lines.append(f"Policy: {model.policy} (products of bfloat16 numbers; weights and sums in float32)")
    return lines


def _title(model: Any) -> str:
    return f'Model: "{model.name}"'


def _count(weights: Iterable[Any]) -> int:
    return sum(prod(weight.shape) for weight in weights)


def _bytes(weights: Iterable[Any]) -> int:
    return sum(prod(weight.shape) * np.dtype(weight.dtype).itemsize for weight in weights)


def _fitted(widths: list[int], line_length: int) -> list[int]:
    """Column widths that fill the line; the widest columns give way if it is too short."""
    gaps = 2 * (len(widths) - 1)
    widths = list(widths)
    while sum(widths) + gaps > line_length and max(widths) > 8:
        widths[widths.index(max(widths))] -= 1
    spare = line_length - gaps - sum(widths)
    return [width + max(0, spare) // len(widths) for width in widths]


def _wrapped(row: list[str], widths: list[int]) -> list[str]:
    """The lines of one row; a cell that is too long goes on below itself."""
    height = max(max(1, -(-len(cell) // width)) for cell, width in zip(row, widths))
    parts = [
        [cell[i * width : (i + 1) * width].ljust(width) for i in range(height)]
        for cell, width in zip(row, widths)
    ]
    return ["  ".join(line).rstrip() for line in zip(*parts)]


def _rich_summary(model: Any) -> Any:
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    columns = _columns(model)
    table = Table(title=Text(_title(model), style="bold"), title_justify="left")
    for column in columns:
        table.add_column(column, justify="right" if column == "Param #" else "left", overflow="fold")
    for row in summary_rows(model):
        style = "dim" if row.is_frozen else ""
        table.add_row(*(Text(cell) for cell in _cells(row)[: len(columns)]), style=style)
    return Group(table, *(Text(line) for line in _counts(model)))
