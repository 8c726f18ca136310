"""Whether an input of a graph is channels first, told by the first nodes that care for the order of axes."""

from __future__ import annotations

from collections.abc import Sequence

from kernelearn.conversion.onnx.reading.file import Node

_CHANNELS_FIRST = {
    "Conv", "ConvTranspose", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "BatchNormalization", "InstanceNormalization", "GroupNormalization", "LRN", "Resize", "Upsample",
    "DepthToSpace", "SpaceToDepth", "LpPool", "GlobalLpPool", "ConvInteger", "QLinearConv",
}  # fmt: skip
_KEEPS_ORDER = {
    "Identity", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "Sigmoid", "Tanh", "Clip", "Dropout", "Cast",
    "Add", "Sub", "Mul", "Div", "Abs", "Neg", "Exp", "Log", "Sqrt", "Pow", "PRelu", "HardSigmoid",
    "HardSwish", "Softplus", "Pad", "Max", "Min", "Sum", "Erf", "Gelu", "Mish", "Slice", "Split", "Concat",
}  # fmt: skip


def is_channels_first(nodes: Sequence[Node], name: str, rank: int) -> bool:
    """Whether an input goes, as it is, into a node that takes its second axis for the channels."""
    if not 3 <= rank <= 5:
        return False
    alike = {name}
    for node in nodes:
        if not alike.intersection(node.inputs[:1] if node.op_type in _CHANNELS_FIRST else node.inputs):
            continue
        if node.op_type in _CHANNELS_FIRST:
            return True
        if node.op_type in _KEEPS_ORDER:
            alike.update(node.outputs)
    return False
