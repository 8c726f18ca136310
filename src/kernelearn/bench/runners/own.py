"""This library as a contestant: training steps, `fit`, prediction, single convolutions; and the ceilings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from kernelearn.bench.nets import find_net
from kernelearn.bench.nets.blueprint import images_for, load_weights
from kernelearn.bench.runners import LEARNING_RATE, MOMENTUM, Prepared, Repeat, digest
from kernelearn.training.steps.step import Batch, input_name


def load(threads: int) -> Own:
    """The runner; the engine gets so many threads."""
    from kernelearn import set_num_threads

    set_num_threads(threads)
    return Own(threads)


class Own:
    """kernelearn."""

    def __init__(self, threads: int) -> None:
        self._threads = threads

    def versions(self) -> dict[str, str]:
        """Of what does the work."""
        import llvmlite

        from kernelearn import __version__

        return {"kernelearn": __version__, "llvmlite": llvmlite.__version__, "numpy": np.__version__}

    def prepare(self, task: dict[str, Any]) -> Prepared:
        """Build what the task says."""
        makers: dict[str, Callable[[dict[str, Any]], Prepared]] = {
            "train": _train,
            "fit": _Fit,
            "predict": _predict,
            "conv": _convolution,
            "fma": self._ceiling,
            "read": self._ceiling,
            "copy": self._ceiling,
        }
        return makers[task["what"]](task)

    def _ceiling(self, task: dict[str, Any]) -> Prepared:
        from kernelearn.engine.cpu.report import ceilings

        kernel = ceilings.KERNELS[task["what"]](task)
        return Repeat(ceilings.Loaded(kernel, self._threads).run)


def compiled_model(task: dict[str, Any]) -> Any:
    """The network of a task with its weights, compiled for training on the task's engine."""
    if task.get("dtype", "float32") != "float32":
        from kernelearn import mixed_precision

        mixed_precision.set_global_policy(f"mixed_{task['dtype']}")
    model = find_net(task["net"]).build(task.get("blueprint", {}).get("input_shape"))
    weights = load_weights(task["weights"])
    for name, weight in model.weight_paths().items():
        weight.assign(weights[name])
    return compiled(model, task["optimizer"], task.get("engine", "cpu"), task.get("rate", LEARNING_RATE))


def compiled(model: Any, optimizer: str, engine: str, rate: float = LEARNING_RATE) -> Any:
    """A classifier, compiled for training with "sgd" (with momentum) or "adam"."""
    from kernelearn import optimizers

    rule: Any = optimizers.SGD(rate, momentum=MOMENTUM) if optimizer == "sgd" else optimizers.Adam(rate)
    model.compile(rule, "sparse_categorical_crossentropy", engine=engine)
    return model


def _train(task: dict[str, Any]) -> Prepared:
    """`train_on_batch` on prepared arrays."""
    model = compiled_model(task)
    x, y = images_for(model, task["batch"])
    return Repeat(lambda: model.train_on_batch(x, y), float, note=fallbacks(model, "train"))


def fallbacks(model: Any, kind: str) -> str:
    """Which operators the compiled engine left to the reference engine; "" for none."""
    from kernelearn.engine.cpu.plan import Fallback

    executable = model.step(kind).executable
    calls = executable.calls() if hasattr(executable, "calls") else []
    names = sorted({c.operation.operator for c in calls if isinstance(c, Fallback)})
    return f"left to the reference engine: {', '.join(names)}" if names else ""


class _Fit:
    """`fit` for one epoch of so many batches: what a user waits for."""

    note = ""

    def __init__(self, task: dict[str, Any]) -> None:
        self._model, self._batch = compiled_model(task), task["batch"]
        self._x, self._y = images_for(self._model, task["batch"])

    def ready(self, count: int) -> None:
        """Images for so many batches."""
        images = count * self._batch
        if len(self._x) != images:
            self._x = np.resize(self._x, (images, *self._x.shape[1:]))
            self._y = np.resize(self._y, images)

    def run(self, count: int) -> float | None:
        """An epoch; its mean loss."""
        history = self._model.fit(self._x, self._y, batch_size=self._batch, epochs=1, verbose=0)
        return float(history.history["loss"][-1])


def _predict(task: dict[str, Any]) -> Prepared:
    """`predict_on_batch` on a prepared array; mode "executable" is what lies below it, without its checks."""
    model = compiled_model(task)
    x, _ = images_for(model, task["batch"])
    note = fallbacks(model, "predict")
    if task["mode"] == "executable":
        step = model.step("predict")
        batch = Batch.of({input_name(0): x})
        return Repeat(lambda: step.run(batch).prediction(0), digest, note)
    return Repeat(lambda: model.predict_on_batch(x), digest, note)


def _convolution(task: dict[str, Any]) -> Prepared:
    """One convolution or gradient on arrays in place, without the copy of the result that `run` makes."""
    from kernelearn.engine.cpu.executable import CpuExecutable
    from kernelearn.engine.cpu.machine import threads
    from kernelearn.engine.cpu.schedule import Job
    from kernelearn.engine.program import ProgramBuilder

    arrays, attrs = convolution_problem(task)
    builder = ProgramBuilder(dtype="float32")
    inputs = [
        builder.input(name, a.shape if name == "kernel" else (None, *a.shape[1:]), "float32")
        for name, a in arrays.items()
    ]
    builder.outputs = {"result": builder.add(task["operator"], *inputs, **attrs).name}
    executable = CpuExecutable(builder.build(), {})
    executable.run(arrays)
    held = executable.inputs(arrays)
    binding = executable.binding(held)
    binding.use(held)
    pool, jobs = threads.pool(), [part.address for part in binding.parts if isinstance(part, Job)]

    def step() -> None:
        for job in jobs:
            pool.run(job, binding.threads)

    # NOTE: `held` is kept alive by the closure: the kernels know its addresses only.
    return Repeat(step, lambda _: float(held["grad"].size) if "grad" in held else None)


def convolution_problem(task: dict[str, Any]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Inputs and attributes of the operator of a "conv" task: random numbers, NHWC."""
    rng = np.random.default_rng(0)
    stride, padding, size = task["stride"], task["padding"], task["size"]
    shape = (task["batch"], size, size, task["channels"])
    out = (size + 2 * padding - 3) // stride + 1
    x = rng.standard_normal(shape, np.float32)
    kernel = rng.standard_normal((3, 3, task["channels"], task["filters"]), np.float32)
    grad = rng.standard_normal((task["batch"], out, out, task["filters"]), np.float32)
    attrs: dict[str, Any] = {
        "stride": (stride, stride),
        "padding": ((padding, padding), (padding, padding)),
        "dilation": (1, 1),
        "groups": 1,
    }
    if task["operator"] == "conv":
        return {"x": x, "kernel": kernel}, attrs
    if task["operator"] == "conv_grad_input":
        return {"grad": grad, "kernel": kernel}, {**attrs, "input_size": (size, size)}
    return {"x": x, "grad": grad}, {**attrs, "kernel_size": (3, 3)}
