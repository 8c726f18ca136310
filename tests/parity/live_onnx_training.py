"""Networks that come from ONNX train on as where they come from: three steps against PyTorch and ours.

    python -m pytest tests/parity/live_onnx_training.py

PyTorch exports a module in eval mode; it is read, both take the same three steps of SGD with momentum, in
float64, and the result is written and read once more. Rows of a Dense layer behind a Flatten, depthwise
kernels and the momentum of normalisation (PyTorch's 1 - ours) come out wrong in a training before they do
in a prediction.
"""

import io
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import kernelearn
from kernelearn import losses, optimizers
from kernelearn.conversion.onnx import from_onnx, to_onnx
from tests.conversion.onnx.random_networks import images, network

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
NORM = {"momentum": 0.2, "eps": 1e-4}
MODULES = {
    "rows behind Flatten": lambda: [nn.Conv2d(2, 4, 3, 2), nn.ReLU(), nn.Flatten(), nn.LazyLinear(3)],
    "pads and strides": lambda: [
        nn.Conv2d(2, 6, (3, 2), (2, 1), (1, 0)), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.LazyLinear(3)
    ],
    "depthwise and groups": lambda: [
        nn.Conv2d(2, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.SiLU(), nn.Conv2d(8, 4, 1, groups=2),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(3),
    ],
    "ceil_mode": lambda: [
        nn.Conv2d(2, 3, 2), nn.MaxPool2d(2, ceil_mode=True), nn.Flatten(), nn.LazyLinear(3)
    ],
    "transposed": lambda: [
        nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=1), nn.Softplus(), nn.AvgPool2d(4), nn.Flatten(),
        nn.LazyLinear(3),
    ],
    "slopes": lambda: [nn.Conv2d(2, 4, 2), nn.PReLU(4), nn.LeakyReLU(0.25), nn.Flatten(), nn.LazyLinear(3)],
    "norms": lambda: [
        nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.GELU(), nn.InstanceNorm2d(4, affine=True), nn.Flatten(),
        nn.LayerNorm(120), nn.LazyLinear(3),
    ],
    "dilated": lambda: [nn.Conv2d(2, 3, 2, dilation=2), nn.Hardswish(), nn.Upsample(scale_factor=2),
                        nn.AvgPool2d(3), nn.Flatten(), nn.LazyLinear(3)],
}  # fmt: skip


@pytest.fixture(autouse=True)
def _float64():
    kernelearn.utils.set_floatx("float64")
    yield
    kernelearn.utils.set_floatx("float32")


def exported(module, x):
    target = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sizes = {"x": {0: "n"}, "y": {0: "n"}}
        names = {"input_names": ["x"], "output_names": ["y"]}
        torch.onnx.export(
            module, (x,), target, opset_version=17, dynamo=False, dynamic_axes=sizes, **names,
            training=torch.onnx.TrainingMode.EVAL, do_constant_folding=False,
        )  # fmt: skip
    return target.getvalue()


def compiled(model):
    model.compile(optimizers.SGD(0.02, momentum=0.9), losses.MeanSquaredError())
    return model


def taken(module, x, y, steps=3):
    """Losses of steps of PyTorch in training mode."""
    optimizer = torch.optim.SGD(module.parameters(), lr=0.02, momentum=0.9)
    found = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(x), y)
        loss.backward()
        optimizer.step()
        found.append(loss.item())
    return found


def alike(found, expected, bound=1e-9):
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= bound * (np.abs(expected).max() + 1e-3)


def predicted(model, x):
    return model.predict(np.moveaxis(x.numpy(), 1, -1), verbose=0)


@pytest.mark.parametrize("name", MODULES)
def test_three_steps_as_in_pytorch(name):
    torch.manual_seed(0)
    module = nn.Sequential(*MODULES[name]()).double()
    x, y = torch.randn(4, 2, 8, 7).double(), torch.randn(4, 3).double()
    module(x)  # the sizes of linear layers follow
    model = compiled(from_onnx(exported(module.eval(), x)))
    assert model.weights[0].dtype == "float64"
    alike(predicted(model, x), module(x).detach())
    images_here = np.moveaxis(x.numpy(), 1, -1)
    losses_here = [model.train_on_batch(images_here, y.numpy()) for _ in range(3)]
    alike(losses_here, taken(module.train(), x, y))
    alike(predicted(model, x), module.eval()(x).detach())
    again = from_onnx(to_onnx(model))
    alike(predicted(again, x), module(x).detach())


def test_momentum_and_epsilon_of_normalisation_go_on():
    """Moving means as in PyTorch; its variances are unbiased ones, n / (n - 1) times ours."""
    torch.manual_seed(1)
    module = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.ReLU(), nn.BatchNorm2d(4, **NORM)).double()
    x = torch.randn(4, 2, 8, 7).double()
    y = torch.randn(4, 4, 6, 5).double()
    model = compiled(from_onnx(exported(module.eval(), x)))
    norm = next(layer for layer in model.layers if type(layer).__name__ == "BatchNormalization")
    norm.momentum = 1 - NORM["momentum"]  # NOTE: PyTorch's exporter writes 0.9 in eval mode, whatever it was
    model = compiled(model)
    x_here, y_here = (np.moveaxis(part.numpy(), 1, -1) for part in (x, y))
    here = [model.train_on_batch(x_here, y_here) for _ in range(3)]
    before = module[2].running_var.clone()
    alike(here, taken(module.train(), x, y))
    alike(norm.moving_mean.numpy(), module[2].running_mean)
    count, kept = 4 * 6 * 5, (1 - NORM["momentum"]) ** 3
    biased = (module[2].running_var - kept * before) * (count - 1) / count + kept * before
    alike(norm.moving_variance.numpy(), biased)


SEEDS = [seed if seed < 4 else pytest.param(seed, marks=pytest.mark.slow) for seed in range(40)]


@pytest.mark.parametrize("seed", SEEDS)
def test_three_steps_as_the_network_that_was_written(seed):
    """Random networks of ours and what is read of their files: the same losses and predictions."""
    kernelearn.utils.set_floatx("float32")
    twin = network(seed)
    x = images(twin, seed, 4)
    if any(layer.draws for layer in twin.layers if hasattr(layer, "draws")) or "Dropout" in str(
        [type(layer).__name__ for layer in twin.layers]
    ):
        pytest.skip("draws random numbers in training")
    model = from_onnx(to_onnx(twin))
    y = twin.predict(x, verbose=0)
    target = y + np.random.default_rng(seed).normal(size=y.shape).astype(np.float32)
    for one in (model, twin):
        one.compile(optimizers.SGD(1e-3), losses.MeanSquaredError())
    here = [model.train_on_batch(x, target) for _ in range(3)]
    alike(here, [twin.train_on_batch(x, target) for _ in range(3)], 1e-4)
    alike(model.predict(x, verbose=0), twin.predict(x, verbose=0), 1e-3)
