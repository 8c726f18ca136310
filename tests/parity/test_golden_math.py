"""The training mathematics against values that Keras and PyTorch computed: see make_golden_math.py."""

import json
from pathlib import Path

import numpy as np
import pytest

from kernelearn import constraints, losses, metrics, optimizers, regularizers, schedules
from kernelearn.engine.reference import activations
from kernelearn.engine.reference.optimizers import (
    clip_by_global_norm,
    clip_by_norm,
    clip_by_value,
    global_norm,
    one_step,
)

FILE = np.load(Path(__file__).with_name("golden_training_math.npz"))
HEADER = json.loads(str(FILE["header"]))
RECORDS = HEADER["records"]
AXIS_FUNCTIONS = ("softmax", "log_softmax")
# TensorFlow rounds the constants of these functions to float32, and Keras the 0.96 of Nadam.
ROUNDED = {"leaky_relu": 1e-7, "gelu": 1e-8, "Nadam": 2e-8}


def records(family):
    """The records of one family as parameters of a test, each with the number that finds its arrays."""
    chosen = [(number, record) for number, record in enumerate(RECORDS) if record["family"] == family]
    names = [f"{r.get('name') or r['kind']}-{r.get('attrs') or r.get('arguments')}" for _, r in chosen]
    return pytest.mark.parametrize(("number", "record"), chosen, ids=names)


def array(number, name):
    return FILE[HEADER["arrays"][f"{number}/{name}"]]


def assert_close(actual, expected, rtol=1e-12, atol=1e-13):
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=atol)


@records("activation")
def test_activation(number, record):
    x, grad_y = array(number, "x"), array(number, "grad_y")
    if record["name"] in AXIS_FUNCTIONS:
        y = getattr(activations, record["name"])(x)
        grad_x = getattr(activations, f"{record['name']}_grad")(y, grad_y)
    else:
        activation = activations.ACTIVATIONS[record["name"]]
        y = activation.forward(x, **record["attrs"])
        grad_x = grad_y * activation.derivative(x, y, **record["attrs"])
    atol = ROUNDED.get(record["name"], 1e-13)
    assert_close(y, array(number, "y"), atol=atol)
    assert_close(grad_x, array(number, "grad_x"), atol=atol)


@records("loss")
def test_loss(number, record):
    y_true, y_pred = array(number, "y_true"), array(number, "y_pred")
    loss = losses.get({"class_name": type(losses.get(record["kind"])).__name__, "config": record["attrs"]})
    # Keras clips focal losses on logits at 1e-7 and computes log(2) of log_cosh in float32.
    atol = 2e-7 if record["attrs"].get("from_logits") and "focal" in record["kind"] else 1e-13
    atol = 2e-8 if record["kind"] == "log_cosh" else atol
    assert_close(loss.call(y_true, y_pred), array(number, "value"), atol=atol)
    assert_close(loss.gradient(y_true, y_pred), array(number, "gradient"), atol=atol)
    for reduction, expected in record["reduced"].items():
        loss.reduction = reduction
        assert_close(loss(y_true, y_pred, array(number, "weight")), expected)


def clipped(optimizer, grads):
    """Gradients clipped as an optimiser declares."""
    if optimizer.clipping is None:
        return grads
    name, limit = optimizer.clipping
    if name == "clip_by_global_norm":
        norm = global_norm(grads)
        return [clip_by_global_norm(grad, norm, limit) for grad in grads]
    clip = {"clip_by_norm": clip_by_norm, "clip_by_value": clip_by_value}[name]
    return [clip(grad, limit) for grad in grads]


@records("optimizer")
def test_optimizer(number, record):
    optimizer = getattr(optimizers, record["name"])(**record["arguments"])
    params = [array(number, "start_0"), array(number, "start_1")]
    slots = [[np.full(s.shape, s.value) for s in optimizer.slots(p.shape).values()] for p in params]
    for step, grads in enumerate(zip(array(number, "gradients_0"), array(number, "gradients_1")), start=1):
        for i, grad in enumerate(clipped(optimizer, list(grads))):
            params[i], *slots[i] = one_step(
                optimizer.kind, params[i], grad, *slots[i],
                learning_rate=optimizer.learning_rate, step=step, **optimizer.attrs(),
            )  # fmt: skip
    # Keras rounds the default coefficients (0.999, 1e-7, ...) to float32.
    exact = {"rtol": 1e-12, "atol": ROUNDED.get(record["name"], 1e-13)}
    tolerance = exact if record["arguments"] else {"rtol": 2e-5, "atol": 2e-6}
    for i in range(2):
        moved = array(number, f"end_{i}") - array(number, f"start_{i}")
        assert_close(params[i] - array(number, f"start_{i}"), moved, **tolerance)


@records("schedule")
def test_schedule(number, record):
    schedule = getattr(schedules, record["name"])(**record["arguments"])
    expected = array(number, "rates")
    # Keras computes schedules in float32.
    np.testing.assert_allclose(
        [schedule(step) for step in range(len(expected))], expected, rtol=1e-6, atol=1e-7
    )


@records("metric")
def test_metric(number, record):
    arguments = dict(record["arguments"])
    for weights, expected in ((None, "plain"), (array(number, "weights"), "weighted")):
        metric = getattr(metrics, record["name"])(**arguments)
        for i, (y_true, y_pred) in enumerate(zip(array(number, "y_true"), array(number, "y_pred"))):
            metric.update_state(y_true, y_pred, None if weights is None else weights[i])
        # Keras keeps metrics in float32 or rounds their constants to it.
        np.testing.assert_allclose(metric.result(), array(number, expected), rtol=2e-6, atol=1e-7)


@records("constraint")
def test_constraint(number, record):
    constraint = getattr(constraints, record["name"])(**record["arguments"])
    assert_close(constraint(array(number, "w")), array(number, "projected"), rtol=1e-10)


@records("regularizer")
def test_regularizer(number, record):
    regularizer, w = getattr(regularizers, record["name"])(**record["arguments"]), array(number, "w")
    rtol = 1e-12 if w.dtype == np.float64 else 1e-5
    assert_close(regularizer(w), array(number, "penalty"), rtol=rtol)
    assert_close(regularizer.gradient(w), array(number, "gradient"), rtol=rtol, atol=rtol / 10)
