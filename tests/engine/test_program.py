"""Programs as data: printing, pruning, what is kept, errors; the backward pass; the fusing rewrite."""

import numpy as np
import pytest

from kernelearn.engine.backends import prepare, resolve_engine
from kernelearn.engine.gradients import add_gradients
from kernelearn.engine.program import ProgramBuilder
from kernelearn.engine.rewrites import fuse_softmax_crossentropy
from kernelearn.engine.variable import Variable
from kernelearn.errors import KernelearnError, ShapeError, UnknownNameError


@pytest.fixture
def builder():
    return ProgramBuilder(dtype="float64")


def _dense(builder, layer="dense", trainable=True, shape=(3, 2)):
    weight = Variable(np.arange(float(np.prod(shape))).reshape(shape), "kernel")
    with builder.scope(layer):
        kernel = builder.variable(weight, trainable=trainable)
        return builder.add("dense", builder.input("x", (None, shape[0])), kernel), weight


def test_a_program_prints_what_it_does(builder):
    y, _ = _dense(builder)
    builder.outputs = {"y": y.name}
    text = str(builder.build())
    assert text.splitlines() == [
        "inputs: x (n, 3) float64",
        "forward:",
        "  dense/dense = dense(x, dense/kernel)   [dense]",
        "outputs: y=dense/dense",
    ]


def test_what_nothing_reads_is_dropped(builder):
    y, _ = _dense(builder)
    builder.add("scale", y, factor=2.0)
    builder.input("unused", (None, 7))
    builder.outputs = {"y": y.name}
    program = builder.build()
    assert [op.operator for op in program.operations] == ["dense"]
    assert [b.name for b in program.inputs()] == ["x"]


def test_updates_are_kept_and_come_last(builder):
    x = builder.input("x", (None, 3))
    state = builder.variable(Variable(np.zeros(3), "mean"), role="state", trainable=False)
    _, mean, _ = builder.add("normalize", x, axes=(0,), epsilon=1e-3)
    builder.update("moving_average", (state, mean), (state,), momentum=0.5)
    builder.outputs = {"y": builder.add("scale", x, factor=3.0).name}
    assert [op.operator for op in builder.build().operations] == ["normalize", "scale", "moving_average"]


def test_equal_programs_compare_equal():
    programs = []
    for _ in range(2):
        builder = ProgramBuilder()
        builder.outputs = {"y": _dense(builder, shape=(3, 2))[0].name}
        programs.append(builder.build())
    assert programs[0] == programs[1]


def test_keeping_gives_more_back_and_names_what_is_missing(builder):
    y, _ = _dense(builder)
    z = builder.add("scale", y, factor=2.0)
    builder.outputs = {"z": z.name}
    program = builder.build().keeping(middle=y.name)
    results = prepare(program, builder.variables).run({"x": np.ones((1, 3))})
    np.testing.assert_array_equal(results["z"], 2 * results["middle"])
    with pytest.raises(KernelearnError, match="No buffer named 'nowhere'"):
        program.keeping(other="nowhere")


def test_last_uses(builder):
    x = builder.input("x", (None, 2))
    a = builder.add("scale", x, factor=2.0)
    b = builder.add("scale", a, factor=2.0)
    c = builder.add("add", a, b)
    builder.outputs = {"c": c.name}
    assert builder.build().last_uses() == {a.name: 2, b.name: 2}


def test_an_operation_has_all_its_attributes_and_prints_the_unusual_ones(builder):
    x = builder.input("x", (None, 3))
    builder.add("activation", x, kind="relu", max_value=6.0)
    (op,) = builder.operations
    assert op.attrs == {"kind": "relu", "negative_slope": 0.0, "max_value": 6.0, "threshold": 0.0}
    assert str(op) == "activation = activation(x) kind=relu max_value=6.0"


def test_an_update_has_all_its_attributes(builder):
    weight, slot = (builder.state(name, Variable(np.zeros(3), name)) for name in ("w", "v"))
    rate, step = builder.input("rate", ()), builder.input("step", (), "int64")
    builder.update("sgd_update", (weight, weight, rate, step, slot), (weight, slot), momentum=0.9)
    expected = {"momentum": 0.9, "nesterov": False, "weight_decay": 0.0, "multiplier": 1.0, "every": 1}
    assert builder.operations[0].attrs == expected


@pytest.mark.parametrize(
    ("operator", "attrs", "message"),
    [
        ("softmax", {"axes": (1,)}, "attribute of the operator 'softmax' 'axes'.* Known: axis"),
        ("activation", {"kind": "relu", "alpha": 1.0}, "'activation' 'alpha'.* max_value, negative_slope"),
        ("activation", {"kind": "rely"}, "kind of the operator 'activation' 'rely'. Did you mean 'relu'"),
        ("scale", {"factors": 2.0}, "'scale' 'factors'. Did you mean 'factor'"),
        ("transpose", {}, r"'transpose' needs the attributes \['axes'\]"),
    ],
)
def test_attributes_that_an_operator_does_not_have_or_lacks_are_refused(operator, attrs, message, builder):
    with pytest.raises(KernelearnError, match=message):
        builder.add(operator, builder.input("x", (None, 3)), **attrs)
    assert builder.operations == []


def test_a_shape_error_names_the_layer(builder):
    with (
        pytest.raises(ShapeError, match=r"Layer 'head': A dense kernel of shape \(4, 2\) takes 4 features"),
        builder.scope("head"),
    ):
        kernel = builder.variable(Variable(np.zeros((4, 2)), "kernel"))
        builder.add("dense", builder.input("x", (None, 3)), kernel)


def test_two_weights_of_one_name_are_refused(builder):
    _dense(builder)
    with pytest.raises(KernelearnError, match="different names"):
        _dense(builder)


def test_one_input_of_two_shapes_is_refused(builder):
    builder.input("x", (None, 3))
    with pytest.raises(KernelearnError, match="declared twice"):
        builder.input("x", (None, 4))


def test_a_shared_weight_is_one_buffer_and_its_gradients_add_up(builder):
    x = builder.input("x", (None, 2))
    weight = Variable(np.array([[1.0, 2.0], [3.0, 4.0]]), "kernel")
    with builder.scope("shared"):
        once = builder.add("dense", x, builder.variable(weight))
    with builder.scope("elsewhere"):
        twice = builder.add("dense", once, builder.variable(weight))
    ones = builder.input("ones", (3,))
    loss = builder.add(
        "loss", twice, builder.input("target", (None, 2)), ones, kind="mean_squared_error", reduction="sum"
    )[0]
    grads = add_gradients(builder, loss)
    builder.outputs = {"loss": loss.name, "grad": grads["shared/kernel"].name}
    run = prepare(builder.build(), builder.variables).run
    rng = np.random.default_rng(0)
    inputs = {"x": rng.normal(size=(3, 2)), "target": rng.normal(size=(3, 2)), "ones": np.ones(3)}
    grad, step = run(inputs)["grad"], 1e-6
    for index in np.ndindex(2, 2):
        values = weight.numpy()
        sides = []
        for sign in (1, -1):
            moved = values.copy()
            moved[index] += sign * step
            weight.assign(moved)
            sides.append(float(run(inputs)["loss"]))
        weight.assign(values)
        assert grad[index] == pytest.approx((sides[0] - sides[1]) / (2 * step), rel=1e-6)


def _two_layers(builder, trainable):
    """x -> dense a -> dense b -> mean squared error, each trainable or not."""
    x, ones = builder.input("x", (None, 2)), builder.input("ones", (None,))
    for layer, wanted in zip("ab", trainable):
        with builder.scope(layer):
            x = builder.add("dense", x, builder.variable(Variable(np.eye(2), "kernel"), trainable=wanted))
    return builder.add("loss", x, builder.input("target", (None, 2)), ones, kind="mean_squared_error")[0]


def test_frozen_layers_cost_no_gradient_work(builder):
    loss = _two_layers(builder, (False, True))
    grads = add_gradients(builder, loss)
    assert list(grads) == ["b/kernel"]
    backward = [op.operator for op in builder.operations if op.phase == "backward"]
    assert backward == ["fill", "loss_grad", "dense_grad_kernel"]


def test_a_gradient_passes_through_a_frozen_layer(builder):
    grads = add_gradients(builder, _two_layers(builder, (True, False)))
    assert list(grads) == ["a/kernel"]


def test_nothing_trainable_gives_no_gradient(builder):
    assert add_gradients(builder, _two_layers(builder, (False, False))) == {}
    assert not [op for op in builder.operations if op.phase == "backward"]


def test_an_operator_without_gradient_is_named(builder):
    y, _ = _dense(builder, "features")
    with builder.scope("end"):
        total = builder.add("global_norm", y)
    with pytest.raises(KernelearnError, match="'global_norm' of layer 'end' has no gradient"):
        add_gradients(builder, total)


def test_reducing_over_the_batch_has_a_gradient_for_any_number_of_images(builder):
    y, kernel = _dense(builder)
    grads = add_gradients(builder, builder.add("reduce_mean", y, axes=(0, 1)))
    assert [grad.shape for grad in grads.values()] == [kernel.shape]


# --- the rewrite


FUSED = [
    ("softmax", {"axis": -1}, "categorical_crossentropy"),
    ("softmax", {"axis": 1}, "categorical_crossentropy"),
    ("softmax", {}, "sparse_categorical_crossentropy"),
    ("activation", {"kind": "sigmoid"}, "binary_crossentropy"),
]
NOT_FUSED = [
    ("softmax", {"axis": 0}, "categorical_crossentropy", {}),
    ("softmax", {"axis": -1}, "mean_squared_error", {}),
    ("softmax", {"axis": -1}, "categorical_crossentropy", {"from_logits": True}),
    ("activation", {"kind": "tanh"}, "binary_crossentropy", {}),
    ("activation", {"kind": "sigmoid"}, "categorical_crossentropy", {}),
]


def _crossentropy(builder, operator, attrs, kind, **more):
    logits = builder.input("logits", (None, 3))
    p = builder.add(operator, logits, **attrs)
    shape = (None,) if kind.startswith("sparse") else (None, 3)
    target = builder.input("target", shape, "int64" if kind.startswith("sparse") else None)
    return p, builder.add("loss", p, target, builder.input("ones", (None,)), kind=kind, **more)[0]


def _run(builder, fused, loss, logits, target):
    if fused:
        builder.rewrite(fuse_softmax_crossentropy)
    grads = add_gradients(builder, loss, also=(builder.buffers["logits"],))
    builder.outputs = {"loss": loss.name, "grad": grads["logits"].name}
    return prepare(builder.build(), {}).run(
        {"logits": logits, "target": target, "ones": np.ones(len(logits))}
    )


@pytest.mark.parametrize(("operator", "attrs", "kind"), FUSED)
def test_fused_cross_entropy_is_the_same_where_nothing_saturates(operator, attrs, kind):
    logits = np.random.default_rng(0).normal(size=(4, 3))
    target = np.array([0, 2, 1, 0]) if kind.startswith("sparse") else np.eye(3)[[0, 2, 1, 0]]
    results = []
    for fused in (False, True):
        builder = ProgramBuilder(dtype="float64")
        _, loss = _crossentropy(builder, operator, attrs, kind)
        results.append(_run(builder, fused, loss, logits, target))
        readers = [op.inputs[0] for op in builder.operations if op.operator == "loss"]
        assert (readers == ["logits"]) is fused
    np.testing.assert_allclose(results[0]["loss"], results[1]["loss"], rtol=1e-12)
    np.testing.assert_allclose(results[0]["grad"], results[1]["grad"], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(("operator", "attrs", "kind"), FUSED)
def test_fused_cross_entropy_learns_from_a_saturated_mistake(operator, attrs, kind, builder):
    logits = np.array([[60.0, -60.0, 0.0]])
    target = np.array([1]) if kind.startswith("sparse") else np.array([[0.0, 1.0, 0.0]])
    _, loss = _crossentropy(builder, operator, attrs, kind)
    results = _run(builder, True, loss, logits, target)
    assert results["loss"] > 30
    assert results["grad"][0, 1] < -0.3


@pytest.mark.parametrize(("operator", "attrs", "kind", "more"), NOT_FUSED)
def test_everything_else_is_left_alone(operator, attrs, kind, more, builder):
    _crossentropy(builder, operator, attrs, kind, **more)
    before = list(builder.operations)
    builder.rewrite(fuse_softmax_crossentropy)
    assert builder.operations == before


def test_probabilities_that_are_asked_for_stay(builder):
    p, loss = _crossentropy(builder, "softmax", {"axis": -1}, "categorical_crossentropy")
    builder.rewrite(fuse_softmax_crossentropy)
    builder.outputs = {"loss": loss.name, "p": p.name}
    assert [op.operator for op in builder.build().operations] == ["softmax", "loss"]


# --- the choice of an engine


def test_unknown_engines_are_named():
    with pytest.raises(UnknownNameError, match="Unknown engine 'fast'"):
        resolve_engine("fast")
