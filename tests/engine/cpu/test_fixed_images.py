"""Kernels of images for a fixed number of images: every operator that has them, against the reference."""

import numpy as np

from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.kernels.fixed_images import OPERANDS
from kernelearn.engine.cpu.plan import Fallback
from kernelearn.engine.executor import ReferenceExecutable
from kernelearn.engine.program import ProgramBuilder
from tests.engine.cases import ALL

# One example of each operator, the last: it is the least usual one.
CASES = {case.operator: case for case in ALL if case.operator in OPERANDS}
# What a program sees of other images than those of the operation.
RUN = np.zeros((5, 3), "float32")


def test_every_operator_on_a_fixed_number_of_images():
    assert set(CASES) == set(OPERANDS)
    graph, arrays = ProgramBuilder(), {"run": RUN}
    graph.outputs = {"run": graph.add("scale", graph.input("run", (None, 3)), factor=2.0).name}
    for operator, case in CASES.items():
        given = {f"{operator}/{i}": _single(array) for i, array in enumerate(case.inputs)}
        inputs = [graph.input(name, array.shape, array.dtype.name) for name, array in given.items()]
        results = graph.add(operator, *inputs, **case.attrs)
        results = results if isinstance(results, tuple) else (results,)
        graph.outputs.update({f"{operator} {i}": buffer.name for i, buffer in enumerate(results)})
        arrays |= given
    executable = CpuExecutable(graph.build(), {})
    assert [str(call.operation) for call in executable.calls() if isinstance(call, Fallback)] == []
    got, expected = executable.run(arrays), ReferenceExecutable(graph.build(), {}).run(arrays)
    for label in graph.outputs:
        np.testing.assert_allclose(got[label], expected[label], rtol=2e-4, atol=2e-4, err_msg=label)


def _single(array):
    array = np.asarray(array)
    return array.astype("float32") if array.dtype.kind == "f" else array
