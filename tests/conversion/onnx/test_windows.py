"""Convolutions and pools of every spelling of pads, against loops."""

import itertools

import numpy as np
import pytest

from kernelearn.conversion.onnx import from_onnx
from kernelearn.errors import FormatError
from tests.conversion.onnx import graphs
from tests.conversion.onnx.graphs import check, numbers, single
from tests.sweeps import some

PADS = {
    "none": {},
    "symmetric": {"pads": [1, 1, 1, 1]},
    "asymmetric": {"pads": [0, 1, 2, 1]},
    "upper": {"auto_pad": "SAME_UPPER"},
    "lower": {"auto_pad": "SAME_LOWER"},
    "valid": {"auto_pad": "VALID"},
}


def pairs_of(how, sizes, kernel, strides, dilations):
    attrs = PADS[how]
    if how in ("upper", "lower"):
        return graphs.same_pads(sizes, kernel, strides, dilations, how == "upper")
    pads = attrs.get("pads", [0, 0, 0, 0])
    return list(zip(pads[:2], pads[2:]))


STEPS = [([1, 1], [1, 1]), ([2, 3], [1, 1]), ([1, 1], [2, 1]), ([2, 1], [1, 2])]  # strides, dilations
CELLS = list(itertools.product(PADS, STEPS, [1, 2, 4]))
# Every padding with every step; of the groups one.
PAIRS = [cell for number, cell in enumerate(CELLS) if number % 3 == number // 3 % 3]


@pytest.mark.parametrize("how,steps,group", some(CELLS, quick=PAIRS))
def test_conv(how, steps, group):
    strides, dilations = steps
    x, w, b = numbers(2, 4, 8, 7), numbers(8, 4 // group, 3, 2), numbers(8)
    proto = single("Conv", x, [w, b], group=group, strides=strides, dilations=dilations, **PADS[how])
    pairs = pairs_of(how, (8, 7), (3, 2), strides, dilations)
    check(proto, x, graphs.conv(x, w, b, strides, pairs, dilations, group))


@pytest.mark.parametrize("rank", [1, 3])
def test_conv_of_other_ranks(rank):
    x, w = numbers(2, 3, *[6, 5, 4][:rank]), numbers(2, 3, *[3, 2, 2][:rank])
    proto = single("Conv", x, [w], pads=[1] * rank + [0] * rank)
    check(proto, x, graphs.conv(x, w, None, None, [(1, 0)] * rank))


TRANSPOSED = [
    {"pads": [1, 1, 1, 1], "strides": [2, 2], "output_padding": [1, 1]},
    {"pads": [0, 1, 2, 0], "strides": [2, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [3, 2]},
    {"output_shape": [10, 9], "strides": [2, 2]},
    {"output_shape": [10, 9], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    {"strides": [3, 3], "output_padding": [2, 1]},
    {"dilations": [2, 2], "pads": [1, 1, 1, 1]},
    {"strides": [2, 2], "dilations": [2, 1]},
]


@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("attrs", TRANSPOSED, ids=str)
def test_conv_transpose(attrs, group):
    x, w = numbers(2, 4, 5, 4), numbers(4, 3, 3, 3)
    strides, dilations = attrs.get("strides", [1, 1]), attrs.get("dilations", [1, 1])
    pads, extra = attrs.get("pads", [0] * 4), attrs.get("output_padding", [0, 0])
    full = [(n - 1) * s + 2 * d + 1 for n, s, d in zip((5, 4), strides, dilations)]
    sizes = [f + e - lo - hi for f, e, lo, hi in zip(full, extra, pads[:2], pads[2:])]
    begins = pads[:2]
    auto = attrs.get("auto_pad", "NOTSET")
    if "output_shape" in attrs or auto != "NOTSET":
        sizes = attrs.get("output_shape", [n * s for n, s in zip((5, 4), strides)])
        totals = [f - size for f, size in zip(full, sizes)]
        begins = [max(0, t // 2 if auto == "SAME_UPPER" else t - t // 2) for t in totals]
    expected = graphs.conv_transpose(x, w, sizes, strides, begins, dilations, group)
    check(single("ConvTranspose", x, [w], group=group, **attrs), x, expected)


# ceil_mode says nothing where the pads follow from the size of the output.
POOLS = [
    (how, is_ceil, *rest)
    for how, is_ceil, *rest in itertools.product(
        PADS, [False, True], [[1, 1], [2, 2], [3, 2]], [[1, 1], [2, 1]]
    )
    if not (is_ceil and how in ("upper", "lower"))
]


@pytest.mark.parametrize("how,is_ceil,strides,dilations", some(POOLS, quick=len(POOLS) // 3))
def test_pools(how, is_ceil, strides, dilations):
    x = numbers(2, 3, 9, 8)
    attrs = {"kernel_shape": [3, 3], "strides": strides, "dilations": dilations, "ceil_mode": int(is_ceil)}
    pairs = pairs_of(how, (9, 8), (3, 3), strides, dilations)
    expected = graphs.pool(x, (3, 3), strides, pairs, dilations, is_ceil, "max")
    check(single("MaxPool", x, opset=19, **attrs, **PADS[how]), x, expected)
    for counted in (0, 1):
        proto = single("AveragePool", x, opset=19, count_include_pad=counted, **attrs, **PADS[how])
        expected = graphs.pool(x, (3, 3), strides, pairs, dilations, is_ceil, "average", bool(counted))
        check(proto, x, expected)


def test_a_pool_over_the_whole_map_is_a_layer():
    x = numbers(2, 3, 4, 5)
    for op_type, function, layer in (
        ("GlobalAveragePool", np.mean, "GlobalAveragePooling2D"),
        ("GlobalMaxPool", np.max, "GlobalMaxPooling2D"),
    ):
        proto = single(op_type, x)
        check(proto, x, function(x, axis=(2, 3), keepdims=True))
        assert type(from_onnx(proto).layers[-1]).__name__ == layer


@pytest.mark.parametrize(
    "op_type,weights,attrs,text",
    [
        ("Conv", [(2, 3, 3, 3)], {"auto_pad": "SAME"}, "auto_pad='SAME'"),
        ("Conv", [(2, 2, 3, 3)], {}, "do not fit 3 channels"),
        ("Conv", [(2, 3, 9, 9)], {}, "does not fit into"),
        ("Conv", [(2, 3, 3, 3)], {"pads": [-1, 0, 0, 0]}, "pads=[-1, 0, 0, 0] are not read"),
        ("Conv", [(2, 3, 3, 3)], {"kernel_shape": [2, 2]}, "kernel_shape=[2, 2]"),
        ("Conv", [(2, 3, 3, 3)], {"strides": [0, 1]}, "strides=[0, 1] must be positive"),
        ("Conv", [(2, 3, 3, 3)], {"secret": 1}, "the attribute secret=1 is not known"),
        ("Conv", [(2, 3, 3, 3), (3,)], {}, "a bias of shape (3,)"),
        ("ConvTranspose", [(3, 2, 3, 3)], {"output_padding": [-1, 0]}, "negative"),
        ("ConvTranspose", [(3, 2, 3, 3)], {"output_shape": [90, 90]}, "beyond strides"),
        ("MaxPool", [], {"kernel_shape": [2, 2], "pads": [2, 2, 2, 2]}, "as wide as the window"),
    ],
)
def test_what_is_not_meant_is_refused_by_name(op_type, weights, attrs, text):
    proto = single(op_type, numbers(2, 3, 6, 6), [numbers(*shape) for shape in weights], **attrs)
    proto.graph.node[0].name = "here"
    with pytest.raises(FormatError) as caught:
        from_onnx(proto)
    assert text in str(caught.value) and f"{op_type} 'here'" in str(caught.value)
