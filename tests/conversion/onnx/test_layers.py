"""Every layer, written as ONNX, computed by the standard's own NumPy evaluator, and read back."""

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from kernelearn.conversion.onnx import from_onnx, to_onnx
from tests.layers.contract import one_layer_model
from tests.layers.examples import EXAMPLES
from tests.rounding import assert_same_but_for_rounding


def arrays_of(model, example):
    """One batch for every input, by name."""
    return dict(zip(model.input_names, example.inputs()))


def moved(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, -1, 1)) if layout == "NCHW" and array.ndim > 2 else array


def close(found, expected):
    assert_same_but_for_rounding(found, expected, terms=100)


def predicted(model, arrays):
    given = list(arrays.values())
    found = model.predict(given if len(given) > 1 else given[0], verbose=0)
    return found if isinstance(found, list) else [found]


# The slow runtime of the onnx package cannot reshape the kernel of groups; ONNX Runtime compares them in
# tests/parity/live_onnx.py.
NOT_IN_THE_REFERENCE = {"Conv2DTranspose-groups"}


@pytest.mark.parametrize("layout", ["NHWC", "NCHW"])
@pytest.mark.parametrize("example", [e for e in EXAMPLES if not e.mixes], ids=str)
def test_written_and_read_back(example, layout):
    model = one_layer_model(example)
    arrays = arrays_of(model, example)
    expected = predicted(model, arrays)
    made = to_onnx(model, layout)
    names = [info.name for info in made.graph.input]
    feeds = {name: moved(array, layout) for name, array in zip(names, arrays.values())}
    computed = [] if str(example) in NOT_IN_THE_REFERENCE else ReferenceEvaluator(made).run(None, feeds)
    for found, wanted in zip(computed, expected):
        close(found, moved(wanted, layout))
    back = from_onnx(made)
    for found, wanted in zip(predicted(back, dict(zip(names, arrays.values()))), expected, strict=True):
        close(found, wanted)


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.mixes], ids=str)
def test_layers_that_mix_images_do_nothing_in_a_prediction(example):
    made = to_onnx(one_layer_model(example))
    assert {node.op_type for node in made.graph.node} == {"Identity"}
