"""From PyTorch's operators to the engine's: a table of rules, one small file a family.

A rule says what one ATen operator is in a program:

    @rule(aten.conv2d.default)
    def conv2d(region, node, x, weight, bias, stride, padding, dilation, groups):
        kernel = region.weight(weight, (2, 3, 1, 0))
        y = region.add("conv", region.images(x), kernel, ..., precision=region.precision(node))
        return Value.images(y)

**What it gets.** `region` is the program under construction (`region.Region`), `node` the node of the
graph; then every argument of the operator in the order of its schema, keyword-only ones too, those left out
with their defaults. Tensors are nodes (lists of tensors are lists of nodes, an optional one that is not there
is None); all else is what stands in the graph. The graph is functional when rules see it: no operator writes
in place, views are plain functions of their input, a batch normalisation gives its new moving averages as
results (its name is `standins.batch_norm`). A size that is the number of images may be a node or a symbol:
ask `region.shape(node)`, where it is None.

**What it may ask.** Of a tensor, by its node:

- `region.images(x)`: its buffer with channels last, (n, *sizes, c); of (n, features) and (n,) as they are.
  The first axis counts images.
- `region.plain(x)`: its buffer with the axes in PyTorch's order.
- `region.take(x, order)`: with axis order[k] of the tensor as axis k of the buffer.
- `region.value(x)`: as it lies, a `Value` (buffer, order): for what works entry by entry;
  `region.alike(x, y)` gives several as buffers of one order.
- `region.weight(w, order)`: as `take`, of a tensor whose sizes are all known (no axis counts images).
- `region.shape(x)`: its sizes in PyTorch's order, None for the number of images.
- `region.precision(node)`: "bfloat16" where autocast computes the result in it, for products; else
  "float32".
- `region.add(operator, *buffers, **attributes)`: an operation; its buffer, or a tuple of them.

**What it gives.** A `Value`, or a tuple with one `Value` or None for each result of the operator:
`Value.images(buffer)` for channels last, `Value.plain(buffer)` for PyTorch's order, `Value(buffer, order)`
for any other. The sizes are compared with those that PyTorch says.

**What it refuses.** `raise CannotTranslate("why, for people")` for whatever it would not compute exactly as
PyTorch does: the operator then stays with PyTorch, and `kernelearn.torch.explain` tells the reason. An error
of the engine (`KernelearnError`) means the same.

No rule has to look at types: all tensors are float32 (or bfloat16 under autocast, which are float32 inside a
region), but for the arguments that `rule(..., whole_numbers=(1,))` says may be integers and
`conditions=(0,)` booleans. Nor at gradients or kernels: each node is tried alone before it may join a region,
with its backward pass if one is needed, and what has no gradient rule or no native kernel is left to PyTorch.

A new family is a file here, named in `FAMILIES`.
"""

from importlib import import_module

import torch

from kernelearn.torch.translation.region import Region
from kernelearn.torch.translation.table import RULES, CannotTranslate, rule
from kernelearn.torch.translation.values import Value, channels_last

__all__ = [
    "FAMILIES",
    "RULES",
    "CannotTranslate",
    "Region",
    "Value",
    "channels_last",
    "load_families",
    "rule",
]

FAMILIES = (
    "activations",
    "arithmetic",
    "conditions",
    "convolution",
    "linear",
    "losses",
    "normalization",
    "parts",
    "pooling",
    "reductions",
    "resizing",
    "shaping",
)


def load_families() -> None:
    """Fill the table.

    Raises: CannotTranslate where this version of PyTorch lacks an operator that a rule is for.
    """
    for family in FAMILIES:
        try:
            import_module(f"{__name__}.{family}")
        except AttributeError as error:
            raise CannotTranslate(f"PyTorch {torch.__version__} lacks an operator: {error}") from error
