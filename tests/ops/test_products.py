"""Products of `ops`: equations and functions against NumPy, on arrays and traced.

All traced examples are one program for any number of images, and one for a number that it knows.
"""

import numpy as np
import pytest

from kernelearn import Input, Model, ops
from kernelearn.engine.backends import prepare
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.errors import ArgumentError, KernelearnError, ShapeError
from kernelearn.tracing import BatchSizeNeeded, Traced, tracing

N = 5
# Equation, shapes of the operands; n stands for the number of images.
EQUATIONS = [
    ("ij,jk->ki", "n3", "34"),
    ("bij,bjk", "n34", "n42"),
    ("bqhd,bkhd->bhqk", "n342", "n642"),
    ("bhqk,bkhd->bqhd", "n436", "n642"),
    ("abc,cde->abde", "n34", "423"),
    ("nhc,hcd->nhd", "n23", "234"),
    ("cd,nc->nd", "34", "n3"),
    ("nka,nkb->ab", "n42", "n43"),
    ("nij,njk->ik", "n43", "n35"),
    ("nd,md->nm", "n3", "n3"),
    ("ij->ji", "n3"),
    ("i...->...", "n42"),
    ("nii->ni", "n33"),
    ("ii", "33"),
    ("iij,j->ij", "332", "2"),
    ("...ij,...jk->...ik", "n123", "n532"),
    ("...,...", "n4", "4"),
    ("ij,ij->ij", "31", "34"),
    ("i,j->ji", "3", "4"),
    ("i,ij,ijk->k", "2", "23", "234"),
    ("ij,jk,kl->il", "n3", "34", "42"),
    ("abij,acij->bc", "2345", "2645"),
]
# Functions with the same arguments in NumPy: name, shapes, keyword arguments.
FUNCTIONS = [
    ("matmul", ("n34", "n42"), {}),
    ("matmul", ("n34", "42"), {}),
    ("matmul", ("4", "n42"), {}),
    ("matmul", ("n34", "4"), {}),
    ("matmul", ("34", "43"), {}),
    ("matmul", ("3", "3"), {}),
    ("dot", ("n3", "34"), {}),
    ("dot", ("234", "542"), {}),
    ("tensordot", ("n34", "43"), {"axes": ([1, 2], [1, 0])}),
    ("tensordot", ("n34", "342"), {"axes": 2}),
    ("inner", ("n3", "43"), {}),
    ("outer", ("3", "4"), {}),
    ("outer", ("n2", "3"), {}),
    ("vdot", ("n3", "n3"), {}),
    ("kron", ("23", "4"), {}),
    ("cross", ("n3", "n3"), {}),
    ("cross", ("n23", "n23"), {"axisc": 1}),
    ("diagonal", ("n34",), {"offset": 1, "axis1": 1, "axis2": 2}),
    ("diagonal", ("43",), {"offset": -2}),
    ("trace", ("n33",), {"axis1": 2, "axis2": 1}),
]


def array(shape: str, seed: int) -> np.ndarray:
    sizes = [N if s == "n" else int(s) for s in shape]
    return np.random.default_rng((seed, *sizes)).normal(size=sizes)


def examples():
    """(label, function of `ops`, function of NumPy, shapes)."""
    for equation, *shapes in EQUATIONS:
        yield (
            equation,
            lambda *x, e=equation: ops.einsum(e, *x),
            lambda *x, e=equation: np.einsum(e, *x),
            shapes,
        )
    for name, shapes, keywords in FUNCTIONS:
        yield (
            f"{name} {shapes} {keywords}",
            lambda *x, f=name, k=keywords: getattr(ops, f)(*x, **k),
            lambda *x, f=name, k=keywords: getattr(np, f)(*x, **k),
            shapes,
        )


EXAMPLES = {label: rest for label, *rest in examples()}


@pytest.mark.parametrize("label", EXAMPLES)
def test_arrays(label):
    ours, numpys, shapes = EXAMPLES[label]
    arrays = [array(shape, i) for i, shape in enumerate(shapes)]
    got, expected = ours(*arrays), np.asarray(numpys(*arrays))
    assert got.shape == expected.shape and got.dtype == expected.dtype
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-13)


def traced_program(batch: int | None, dtype: str = "float32"):
    """All examples in one program; what cannot be for any number of images is left out."""
    graph = ProgramBuilder(dtype=dtype, batch=batch)
    inputs, labels = {}, []
    for number, (label, (ours, _, shapes)) in enumerate(EXAMPLES.items()):
        given = []
        for i, shape in enumerate(shapes):
            name = f"x{number}_{i}"
            inputs[name] = array(shape, i).astype(dtype)
            sizes = tuple(None if s == "n" else int(s) for s in shape)
            given.append(Traced(graph, graph.input(name, sizes)))
        try:
            with tracing(graph):
                result = ours(*given)
        except BatchSizeNeeded:
            assert batch is None
            continue
        labels.append(label)
        graph.outputs[label] = result.buffer.name
    return graph, inputs, labels


@pytest.mark.parametrize("batch", [None, N])
def test_traced(batch):
    graph, inputs, labels = traced_program(batch)
    program = graph.build()
    found = prepare(program, graph.variables).run({b.name: inputs[b.name] for b in program.inputs()})
    assert batch is None or labels == list(EXAMPLES)
    assert batch or {"cd,nc->nd", "bqhd,bkhd->bhqk", "nka,nkb->ab"} <= set(labels)
    for label in labels:
        _, numpys, shapes = EXAMPLES[label]
        expected = numpys(*[array(shape, i) for i, shape in enumerate(shapes)])
        assert found[label].shape == np.shape(expected), label
        np.testing.assert_allclose(found[label], expected, rtol=1e-4, atol=1e-5, err_msg=label)


def test_attention_has_second_derivatives():
    """d/dx of sum(h * dL/dx) against central differences, in float64: through products and softmax."""
    graph = ProgramBuilder(dtype="float64")
    x, h = (Traced(graph, graph.input(name, (2, 3, 2, 4))) for name in "xh")
    with tracing(graph):
        y = ops.dot_product_attention(x, x, x, is_causal=True)
        first = ops.vdot(y, y)
        slope = add_gradients(graph, first.buffer, also=(x.buffer,))["x"]
        second = ops.vdot(Traced(graph, slope), h)
    curved = add_gradients(graph, second.buffer, also=(x.buffer,))["x"]
    graph.outputs = {"y": first.buffer.name, "slope": slope.name, "second": curved.name}
    run = prepare(graph.build(), graph.variables).run
    rng = np.random.default_rng(2)
    at, along, step = rng.normal(size=(2, 3, 2, 4)), rng.normal(size=(2, 3, 2, 4)), 1e-5
    plus, minus = (run({"x": at + s * along, "h": along}) for s in (step, -step))
    found = run({"x": at, "h": along})
    np.testing.assert_allclose(
        (plus["y"] - minus["y"]) / (2 * step), (found["slope"] * along).sum(), rtol=1e-7
    )
    np.testing.assert_allclose((plus["slope"] - minus["slope"]) / (2 * step), found["second"], rtol=1e-5)


def attention(q, k, v, mask, scale):
    """By loops over images, heads and queries."""
    n, t, heads, _ = q.shape
    y = np.zeros((n, t, heads, v.shape[-1]))
    share = heads // k.shape[2]
    for image, head, i in np.ndindex(n, heads, t):
        logits = k[image, :, head // share] @ q[image, i, head] * scale
        weights = (
            np.exp(logits - logits.max()) * np.broadcast_to(mask, (n, heads, t, k.shape[1]))[image, head, i]
        )
        y[image, i, head] = weights / weights.sum() @ v[image, :, head // share]
    return y


def test_attention_is_what_loops_give():
    rng = np.random.default_rng(0)
    q, k, v = rng.normal(size=(2, 3, 4, 6)), rng.normal(size=(2, 5, 2, 6)), rng.normal(size=(2, 5, 2, 3))
    mask = rng.random((2, 1, 3, 5)) < 0.6
    mask[..., 0] = True
    found = ops.dot_product_attention(q, k, v, mask=mask, scale=0.3, is_causal=True)
    expected = attention(q, k, v, mask & np.tri(3, 5, dtype=bool), 0.3)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    bias = np.where(mask, 0.0, -np.inf)
    np.testing.assert_allclose(
        ops.dot_product_attention(q, k, v, bias=bias), attention(q, k, v, mask, 6**-0.5), rtol=1e-12
    )


def test_symbols_make_a_model():
    x = Input((3, 4))
    model = Model(x, [ops.einsum("nij,kj->nik", x, np.eye(2, 4)), ops.matmul(x, ops.einsum("nij->nji", x))])
    given = array("n34", 0).astype("float32")
    eye, square = model.predict(given, verbose=0)
    np.testing.assert_allclose(eye, given[:, :, :2], rtol=1e-6)
    np.testing.assert_allclose(square, given @ given.transpose(0, 2, 1), rtol=1e-5)


HEADS = np.ones((1, 2, 3, 4))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda a, b: ops.einsum("ij,jk,kl", a, b), ArgumentError, "3 operands, but 2"),
        (lambda a, b: ops.einsum("ij,jk->iz", a, b), ArgumentError, "letters of the operands"),
        (lambda a, b: ops.einsum("ij,j1", a, b), ArgumentError, "such as 'bij,bjk->bik'"),
        (lambda a, b: ops.einsum("ijk,jk", a, b), ShapeError, "an operand of 2 axes"),
        (lambda a, b: ops.einsum("ij,ij", a, b), ShapeError, "several sizes"),
        (lambda a, b: ops.einsum("ii", a), ShapeError, "square"),
        (lambda a, b: ops.matmul(a, a), ShapeError, "columns of the first"),
        (lambda a, b: ops.matmul(a, 2.0), ShapeError, "use multiply"),
        (lambda a, b: ops.matmul(np.ones((2, 2, 3)), np.ones((3, 3, 4))), ShapeError, "leading axes differ"),
        (lambda a, b: ops.cross(b, b), ShapeError, "vectors of three"),
        (lambda a, b: ops.tensordot(a, b, axes=3), ArgumentError, "two lists"),
        (lambda a, b: ops.diagonal(a, 7), ShapeError, "offset 7"),
        (lambda a, b: ops.dot_product_attention(a, a, a), ShapeError, "4 axes"),
        (lambda a, b: ops.dot_product_attention(HEADS, *[HEADS[:, :, :2]] * 2), ShapeError, "multiple"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_said(call, error, text):
    with pytest.raises(error, match=text) as caught:
        call(np.ones((2, 3)), np.ones((3, 4)))
    assert isinstance(caught.value, KernelearnError)
