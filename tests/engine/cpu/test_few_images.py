"""With fewer images than threads keep busy, an image is several tasks: each does its share and no more."""

import numpy as np
import pytest

import kernelearn
from kernelearn.engine.cpu.executable import CpuExecutable
from kernelearn.engine.cpu.machine import threads
from kernelearn.engine.cpu.machine.runtime import GROUP
from kernelearn.engine.program import ProgramBuilder


@pytest.fixture
def two_threads():
    kernelearn.set_num_threads(2)
    yield
    kernelearn.set_num_threads(None)


def one_convolution(size: int, filters: int) -> CpuExecutable:
    builder = ProgramBuilder()
    x = builder.input("x", (None, size, size, 3))
    kernel = builder.input("kernel", (3, 3, 3, filters))
    same = {"stride": (1, 1), "padding": ((1, 1), (1, 1)), "dilation": (1, 1), "groups": 1}
    builder.outputs = {"y": builder.add("conv", x, kernel, **same).name}
    return CpuExecutable(builder.build(), {})


@pytest.mark.parametrize(
    ("size", "filters", "tasks"), [(16, 16, 4), (4, 64, 2)], ids=["bands of rows", "blocks of filters"]
)
def test_a_task_writes_its_share_only(two_threads, size, filters, tasks):
    executable = one_convolution(size, filters)
    inputs = executable.inputs(
        {"x": np.ones((1, size, size, 3), "f"), "kernel": np.ones((3, 3, 3, filters), "f")}
    )
    binding = executable.binding(inputs)
    binding.use(inputs)
    result = binding.view(executable.program.outputs["y"])
    job = binding.parts[-1]
    assert job.groups[-1][GROUP["tasks"]] == tasks
    for first in range(1, tasks + 1):
        result[...] = np.nan
        job.groups[-1][GROUP["tasks"]] = first
        threads.pool().run(job.address, 1)
        assert np.isfinite(result).mean() == pytest.approx(first / tasks)


def test_few_images_give_what_many_give(two_threads):
    executable = one_convolution(16, 16)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9, 16, 16, 3)).astype("f")
    kernel = rng.standard_normal((3, 3, 3, 16)).astype("f")
    many = executable.run({"x": x, "kernel": kernel})["y"]
    few = np.concatenate([executable.run({"x": x[i : i + 1], "kernel": kernel})["y"] for i in range(9)])
    np.testing.assert_array_equal(few, many)
