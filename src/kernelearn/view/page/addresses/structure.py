"""The network of a run as the page draws it: layers in order, how they count, the columns behind each sum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from kernelearn.engine.graph import Graph
from kernelearn.engine.program import Operation
from kernelearn.errors import KernelearnError
from kernelearn.explain.sight.network import Network, open_network, sizes_of
from kernelearn.models.summary import summary_rows
from kernelearn.recording.factors import KINDS
from kernelearn.recording.run import Run
from kernelearn.recording.stages import stages_of
from kernelearn.view.page.library import PageRun


@dataclass(frozen=True)
class LayerPart:
    """One layer.

    Attributes:
        kind: class; output_shape: of one image, None where it is not known.
        formula: how the count comes about, "(3*3*1 + 1) * 32 = 320".
        reads: names of the layers before it; operator: attributes of its convolution or dense operator, or
            None; columns: the places behind its sum, as docs/page-api.md describes them.
    """

    kind: str
    output_shape: list[int | None] | None = None
    parameters: int = 0
    formula: str = ""
    is_frozen: bool = False
    reads: list[str] = field(default_factory=list)
    operator: dict[str, Any] | None = None
    columns: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Structure:
    """All layers of a network.

    Attributes:
        parts: name -> layer, in order; input_shape: of one image, or None.
        is_whole: whether the run says what its model is; else only recorded layers are there.
    """

    parts: Mapping[str, LayerPart]
    input_shape: list[int | None] | None
    is_whole: bool

    @property
    def names(self) -> list[str]:
        """Of the layers, in order."""
        return list(self.parts)


def structure_of(page_run: PageRun) -> Structure:
    """The network of a run; made once."""
    run = page_run.open()
    return page_run.keep(("structure", len(run.manifest["segments"])), lambda: _made(page_run, run))


def untrained(page_run: PageRun) -> Any:
    """The model of a run with whatever weights; made once.

    Raises: ArgumentError, FormatError if the run does not hold it.
    """
    run = page_run.open()
    return page_run.keep(("model",), run.untrained_model)


def _made(page_run: PageRun, run: Run) -> Structure:
    try:
        model = untrained(page_run)
        network = open_network(model)
        for place, buffer in enumerate(network.outputs):  # a program keeps what leads to its outputs
            network.graph.outputs[f"y_{place}"] = buffer.name
        graph = Graph(network.graph.build())
    except KernelearnError:
        return Structure({name: _recorded(run, name) for name in run.layers}, None, False)
    rows = {row.name: row for row in summary_rows(model)}
    parts = {name: _part(model, row, network, graph) for name, row in rows.items()}
    parts |= {name: _recorded(run, name) for name in run.layers if name not in parts}
    shape = model.inputs[0].shape[1:] if len(model.inputs) == 1 else None
    return Structure(parts, None if shape is None else list(shape), True)


def _recorded(run: Run, name: str) -> LayerPart:
    """A layer of which only weights are known."""
    count = 0
    for weight in run.weights(name):
        size = 1
        for length in run.shape_of(name, weight):
            size *= length
        count += size
    return LayerPart("", parameters=count)


def _part(model: Any, row: Any, network: Network, graph: Graph) -> LayerPart:
    buffer = network.layers.get(row.name)
    operation = _operation(graph, row.name)
    return LayerPart(
        kind=row.kind,
        output_shape=None if buffer is None else list(sizes_of(buffer)),
        parameters=row.count,
        formula=f"{row.formula} = {row.count:,}" if row.formula else "",
        is_frozen=row.is_frozen,
        reads=list(row.sources),
        operator=None if operation is None else operator_about(operation),
        columns=[] if operation is None else [stage.about() for stage in stages_of(graph, operation)],
    )


def _operation(graph: Graph, layer: str) -> Operation | None:
    own = [op for op in graph.program.operations if op.operator in KINDS and op.layer == layer]
    return own[-1] if own else None


def operator_about(operation: Operation) -> dict[str, Any]:
    """Kind and geometry of a convolution or dense operator."""
    names = ("stride", "padding", "dilation", "groups")
    return {
        "kind": operation.operator,
        **{name: operation.attrs[name] for name in names if name in operation.attrs},
    }
