"""`check_op`: everything that must hold for any operator of the table, checked on one example of it.

Shapes and dtypes as the shape rule says; inputs left untouched; values as a direct oracle says (float64);
float32 within the rounding bound of float64; the gradient rule against central differences; linearity and the
adjoint identity where the table claims them.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.operators import OPERATORS, Spec
from kernelearn.engine.program import ProgramBuilder
from tests.rounding import UNIT_ROUNDOFF, gamma

STEP = 1e-5


@dataclass(frozen=True, eq=False)
class Case:
    """One example of an operator.

    Attributes:
        inputs: float64 arrays, and integer arrays where the operator takes them.
        oracle: (*inputs, **attrs) -> the first output, independent of the engine; None only where another
            test file checks the values.
        terms: how many products the longest sum has; None for operators that are no sums of products, whose
            float32 error is held below 64 units in the last place of the largest output instead.
        smooth: which inputs the gradient rule is checked for.
        images: inputs whose first axis counts images, for the tests of kernels; None: found by rule.
    """

    operator: str
    inputs: tuple
    attrs: dict[str, Any] = field(default_factory=dict)
    oracle: Callable | None = None
    terms: int | None = None
    smooth: tuple[int, ...] = ()
    label: str = ""
    images: tuple[int, ...] | None = None

    def __str__(self) -> str:
        return f"{self.operator}-{self.label}" if self.label else self.operator


def check_op(case: Case) -> None:
    """Run every check that applies."""
    check_shapes(case)
    check_oracle(case)
    check_float32(case)
    for wanted in case.smooth:
        check_gradient(case, wanted)
    if OPERATORS[case.operator].is_linear:
        check_linear(case)
        if 0 in case.smooth:
            check_adjoint(case)


def run_op(operator: str, inputs, attrs) -> tuple[np.ndarray, ...]:
    """All outputs of the reference function; fails if it writes into its inputs."""
    inputs = [np.array(i) for i in inputs]
    before = [i.copy() for i in inputs]
    results = OPERATORS[operator].run(*inputs, **attrs)
    for array, copy in zip(inputs, before):
        np.testing.assert_array_equal(array, copy, err_msg=f"{operator} wrote into its input")
    return results if isinstance(results, tuple) else (results,)


def as_dtype(inputs, dtype: str) -> list[np.ndarray]:
    """Float inputs in another float type; integers as they are."""
    return [i.astype(dtype) if np.asarray(i).dtype.kind == "f" else np.asarray(i) for i in inputs]


def _counted(spec: Spec, images: int = 2) -> Spec:
    """The spec with the number of images of the examples in place of None."""
    return Spec(tuple(images if size is None else size for size in spec.shape), spec.dtype)


def magnitudes(inputs) -> list[np.ndarray]:
    """Absolute values of what is a float; integers are places, not amounts."""
    return [np.abs(i) if np.asarray(i).dtype.kind == "f" else np.asarray(i) for i in inputs]


def check_shapes(case: Case) -> None:
    for dtype in ("float32", "float64"):
        inputs = as_dtype(case.inputs, dtype)
        attrs = _attrs_in(case, dtype)
        specs = OPERATORS[case.operator].shape(*[Spec(i.shape, i.dtype.name) for i in inputs], **attrs)
        results = run_op(case.operator, inputs, attrs)
        assert [Spec(r.shape, r.dtype.name) for r in results] == [_counted(s) for s in specs], str(case)


def _attrs_in(case: Case, dtype: str) -> dict:
    floats = ("float32", "float64")
    return {k: dtype if k == "dtype" and v in floats else v for k, v in case.attrs.items()}


def check_oracle(case: Case) -> None:
    if case.oracle is None:
        return
    expected = np.asarray(case.oracle(*case.inputs, **case.attrs))
    result = run_op(case.operator, case.inputs, case.attrs)[0]
    assert result.shape == expected.shape, str(case)
    # NOTE: both sides round; 64-bit sums of these sizes agree to far better than this.
    np.testing.assert_allclose(
        result, expected, rtol=1e-12, atol=1e-13 * (1 + np.abs(expected).max(initial=0))
    )


def float32_ratio(case: Case) -> float:
    """Largest error of float32 against float64 on the same numbers, as a share of its bound."""
    narrow = as_dtype(case.inputs, "float32")
    wide = as_dtype(narrow, "float64")
    got = run_op(case.operator, narrow, _attrs_in(case, "float32"))[0].astype("float64")
    expected = run_op(case.operator, wide, case.attrs)[0]
    error = np.abs(got - expected)
    if case.terms is None:
        bound = np.full(error.shape, 128 * UNIT_ROUNDOFF * np.abs(expected).max(initial=1e-30))
    else:
        bound = gamma(case.terms) * run_op(case.operator, magnitudes(wide), _positive(case.attrs))[0]
    assert (error[bound == 0] == 0).all(), f"{case}: an empty sum is not zero"
    return float((error[bound > 0] / bound[bound > 0]).max(initial=0.0))


def _positive(attrs: dict) -> dict:
    return {k: abs(v) if isinstance(v, float) else v for k, v in attrs.items()}


def check_float32(case: Case) -> None:
    if not any(np.asarray(i).dtype.kind == "f" for i in case.inputs):
        return
    ratio = float32_ratio(case)
    assert ratio <= 1, f"{case}: the float32 error is {ratio:.2f} times its bound"


class Functional:
    """L(inputs) = mean(r * first output) with fixed random r, as a program with its gradient; float64."""

    def __init__(self, case: Case, wanted: int) -> None:
        self.case, self.wanted = case, wanted
        y = run_op(case.operator, case.inputs, case.attrs)[0]
        self.weights = np.random.default_rng(7).normal(size=y.shape)
        builder = ProgramBuilder(dtype="float64")
        buffers = [
            builder.input(f"x{i}", np.shape(a), np.asarray(a).dtype.name) for i, a in enumerate(case.inputs)
        ]
        result = builder.add(case.operator, *buffers, **case.attrs)
        output = result[0] if isinstance(result, tuple) else result
        weighted = builder.add("multiply", output, builder.input("r", y.shape))
        loss = builder.add("reduce_mean", weighted, axes=tuple(range(y.ndim)))
        grads = add_gradients(builder, loss, also=(buffers[wanted],))
        builder.outputs = {"loss": loss.name, "grad": grads[f"x{wanted}"].name}
        self.executable = prepare(builder.build(), {}, "reference")

    def __call__(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """L and dL/dx at this value of the wanted input."""
        inputs = {f"x{i}": a for i, a in enumerate(self.case.inputs)}
        results = self.executable.run({**inputs, f"x{self.wanted}": x, "r": self.weights})
        return float(results["loss"]), results["grad"]


def check_gradient(case: Case, wanted: int) -> None:
    """The gradient rule against central differences: along random directions and for single entries."""
    function = Functional(case, wanted)
    x = np.asarray(case.inputs[wanted])
    grad = function(x)[1]
    assert grad.shape == x.shape, (
        f"{case}: the gradient of input {wanted} has shape {grad.shape}, not {x.shape}"
    )
    scale = np.abs(grad).max(initial=0)
    for direction in _directions(x):
        slope = (function(x + STEP * direction)[0] - function(x - STEP * direction)[0]) / (2 * STEP)
        expected = float((grad * direction).sum())
        tolerance = 1e-7 * (abs(slope) + np.sqrt(x.size) * scale) + 1e-12
        assert abs(slope - expected) <= tolerance, (
            f"{case}: input {wanted}: rule {expected}, differences {slope}"
        )


def _directions(x: np.ndarray):
    rng = np.random.default_rng(11)
    for _ in range(2):
        yield rng.normal(size=x.shape)
    for flat in rng.permutation(x.size)[:6]:
        single = np.zeros(x.size)
        single[flat] = 1
        yield single.reshape(x.shape)


def check_linear(case: Case) -> None:
    """A(a x + b z) = a A x + b A z in the first input."""
    x, *rest = case.inputs
    z = np.random.default_rng(5).normal(size=np.shape(x))
    apply = [run_op(case.operator, [v, *rest], case.attrs)[0] for v in (x, z, 0.7 * x - 1.3 * z)]
    scale = max(np.abs(a).max(initial=0) for a in apply)
    np.testing.assert_allclose(apply[2], 0.7 * apply[0] - 1.3 * apply[1], rtol=0, atol=1e-13 * (1 + scale))


def check_adjoint(case: Case) -> None:
    """<A x, g> = <x, A^T g> with A^T g from the gradient rule."""
    function = Functional(case, 0)
    x = np.asarray(case.inputs[0])
    loss, grad = function(x)
    size = max(float(np.abs(x * grad).sum()), 1e-300)
    assert abs(loss - float((x * grad).sum())) <= 1e-14 * x.size**0.5 * size, str(case)
