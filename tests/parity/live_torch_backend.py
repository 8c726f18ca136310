"""The engine inside a living PyTorch: the situations that users get into, against eager and float64.

Run by `make test-peers` and `make parity`.
"""

import copy
import io
import os
import signal
import subprocess
import sys
import tomllib
import warnings
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from kernelearn.errors import ArgumentTypeError  # noqa: E402
from kernelearn.torch import arrange, explain, optimize  # noqa: E402
from kernelearn.torch.backend import compile_graph  # noqa: E402
from kernelearn.torch.measuring import VARIABLE  # noqa: E402
from kernelearn.torch.telling import SAID  # noqa: E402
from tests.told import texts  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test has a Dynamo of its own, and no graph may be left to PyTorch unsaid."""
    torch._dynamo.reset()
    SAID.clear()
    torch.manual_seed(0)
    monkeypatch.setenv(VARIABLE, "0")  # what is faster elsewhere is tested here, too
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*kernelearn.*")
        yield
    torch._dynamo.reset()


def lenet():
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(32, 24),
        nn.ReLU(),
        nn.Linear(24, 10),
    )


def images(count=8, size=16, channels=1):
    return torch.randn(count, channels, size, size), torch.randint(0, 10, (count,))


class Residual(nn.Module):
    """In-place activation and addition, batch normalisations, a strided shortcut."""

    def __init__(self, channels=3):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(channels, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, 1, 1, bias=False), nn.BatchNorm2d(8)
        self.short, self.head = nn.Conv2d(channels, 8, 1, 2), nn.Linear(8, 10)

    def forward(self, x):
        y = F.relu(self.norm1(self.conv1(x)), inplace=True)
        y = self.norm2(self.conv2(y))
        y += self.short(x)
        return self.head(torch.flatten(F.adaptive_avg_pool2d(F.relu_(y), 1), 1))


def residual_and_images(count=8):
    return Residual(), *images(count, 10, 3)


class Counting:
    """The backend, and what it made of each graph."""

    def __init__(self, **options):
        self.made, self.options = [], options

    def __call__(self, gm, example_inputs):
        return compile_graph(gm, example_inputs, self.options, self.made.append)

    @property
    def regions(self):
        return [region for made in self.made for region in made.regions]


def compiled(model, **options):
    backend = Counting(**options)
    return torch.compile(model, backend=backend), backend


def gradients(model, called, x, y, wrap=None):
    model.zero_grad()
    loss = F.cross_entropy(called(x).float(), y)
    loss.backward()
    return loss.detach(), {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def exact(model, x, y):
    """Loss and gradients in float64."""
    other = copy.deepcopy(model).double()
    return gradients(other, other, x.double(), y)


def close(found, wanted, bound=2e-6):
    """Whether all tensors are as near as rounding allows, relative to their norm."""
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        error = (found[name].double() - value.double()).norm() / (value.double().norm() + 1e-12)
        assert error < bound, f"{name}: {error}"


def assert_same_step(model, x, y, called=None, bound=2e-6):
    """Loss and gradients of a compiled model are those of float64."""
    wanted_loss, wanted = exact(model, x, y)
    if called is None:
        called, _ = compiled(model)
    loss, found = gradients(model, called, x, y)
    assert abs(loss - wanted_loss) < 1e-5
    close(found, wanted, bound)


# ---------------------------------------------------------------- numbers
@pytest.mark.parametrize(
    "make", [lambda: (lenet(), *images()), residual_and_images], ids=["lenet", "residual"]
)
@pytest.mark.parametrize("layout", ["plain", "channels_last", "arranged"])
def test_a_step_is_that_of_float64(make, layout):
    model, x, y = make()
    if layout != "plain":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if layout == "arranged":
        arrange(model)
    called, backend = compiled(model)
    assert_same_step(model, x, y, called)
    assert len(backend.regions) == 1


@pytest.mark.parametrize("dynamic", [None, True])
def test_sizes_of_images_are_compiled_one_by_one(dynamic):
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)
    )
    backend = Counting()
    called = torch.compile(model, backend=backend, dynamic=dynamic)
    sizes = [(4, 8, 8), (4, 12, 12), (7, 12, 12), (9, 12, 10), (5, 12, 12), (3, 8, 8), (4, 12, 12)]
    for count, height, width in sizes:
        x, y = torch.randn(count, 3, height, width), torch.randint(0, 10, (count,))
        assert_same_step(model, x, y, called)
    assert len(backend.made) == len(backend.regions) <= 6
    torch._dynamo.reset()
    x = torch.randn(2, 3, 8, 8)
    torch._dynamo.mark_dynamic(x, 2)
    with pytest.warns(UserWarning, match="mark_dynamic"):
        result = torch.compile(model, backend=Counting())(x)
    assert torch.equal(result, model(x))


def test_two_steps_of_models_of_other_sizes():
    for channels, size in ((1, 16), (3, 8)):
        model = nn.Sequential(nn.Conv2d(channels, 4, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(10))
        x, y = images(5, size, channels)
        model(x)
        step = optimize(model, torch.optim.SGD(model.parameters(), 0.1))
        step(x, y)
        assert step.is_fused


def test_lenet_learns_as_in_eager_mode():
    model, x, y = lenet(), *images(32)
    other = copy.deepcopy(model)
    called, _ = compiled(other)
    losses = []
    for each, function in ((model, model), (other, called)):
        optimizer = torch.optim.SGD(each.parameters(), 0.1, momentum=0.9)
        losses.append([])
        for _ in range(40):
            optimizer.zero_grad()
            loss = F.cross_entropy(function(x), y)
            loss.backward()
            optimizer.step()
            losses[-1].append(loss.item())
    assert losses[0][-1] < losses[0][0] / 2
    torch.testing.assert_close(torch.tensor(losses[1]), torch.tensor(losses[0]), rtol=1e-4, atol=1e-5)


def test_moving_averages_and_counters_are_those_of_eager_mode():
    model, x, _ = residual_and_images()
    other = copy.deepcopy(model)
    called, _ = compiled(other)
    versions = {n: b._version for n, b in other.named_buffers()}
    for n in (8, 5, 8):
        model(x[:n])
        called(x[:n])
    for (name, wanted), found in zip(model.named_buffers(), other.buffers()):
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6)
        assert found._version > versions[name]


def test_any_number_of_threads_gives_the_same_bits():
    model, x, y = residual_and_images()
    called, _ = compiled(model)
    state, before = copy.deepcopy(model.state_dict()), torch.get_num_threads()
    found = []
    for count in (1, 2, 3):
        model.load_state_dict(state)
        torch.set_num_threads(count)
        found.append(gradients(model, called, x, y)[1])
    torch.set_num_threads(before)
    for other in found[1:]:
        assert all(torch.equal(found[0][name], other[name]) for name in other)


# ---------------------------------------------------------------- modes
def test_modes_of_prediction_and_their_gradients():
    model, x, y = residual_and_images()
    called, _ = compiled(model)
    gradients(model, called, x, y)
    model.eval()
    wanted = copy.deepcopy(model).double()(x.double())
    torch.testing.assert_close(called(x).double(), wanted, rtol=1e-5, atol=1e-5)
    with torch.no_grad():
        found = called(x)
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)
        assert not found.requires_grad
    with torch.inference_mode():
        torch.testing.assert_close(called(x).double(), wanted, rtol=1e-5, atol=1e-5)
    assert_same_step(model, x, y, called)


def test_a_prediction_follows_its_weights():
    """Weights are packed once; whatever way they change, the next prediction has the new ones."""
    model, (x, _) = lenet().eval(), images()
    called, _ = compiled(model)

    def check():
        with torch.no_grad():
            torch.testing.assert_close(called(x), model(x), rtol=1e-5, atol=1e-5)

    check()
    with torch.no_grad():
        model[0].weight.mul_(2.0)
    check()
    model[3].weight.data = torch.randn_like(model[3].weight)
    check()
    model[3].weight.data.mul_(0.5)  # which counts no version
    check()
    model.load_state_dict({n: v + 0.1 for n, v in model.state_dict().items()})
    check()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model(x).sum().backward()
    optimizer.step()
    check()


def test_any_number_of_images():
    model, x, y = residual_and_images(32)
    called, backend = compiled(model)
    for n in (32, 17, 9, 32, 5, 1):
        if n > 1:
            assert_same_step(model, x[:n], y[:n], called)
    assert len(backend.made) <= 3
    model.eval()
    for n in (3, 1, 0):
        assert called(x[:n]).shape == (n, 10)


def test_frozen_parts_get_no_gradient():
    model, x, y = residual_and_images()
    model.conv1.weight.requires_grad_(False)
    model.norm1.requires_grad_(False)
    assert_same_step(model, x, y)
    assert model.conv1.weight.grad is None


def test_gradients_of_the_images():
    model, (x, y) = lenet(), images()
    called, _ = compiled(model)
    found = []
    for function in (model, called):
        given = x.clone().requires_grad_()
        F.cross_entropy(function(given), y).backward()
        found.append(given.grad)
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-7)


def test_autocast_computes_products_in_bfloat16():
    """Nearer to float64 than eager's, whose every tensor is bfloat16."""
    model, x, y = residual_and_images()
    wanted = exact(model, x, y)[1]
    called, backend = compiled(model)
    errors = []
    for function in (model, called):
        with torch.autocast("cpu", torch.bfloat16):
            result = function(x)
        assert result.dtype == torch.bfloat16
        model.zero_grad()
        F.cross_entropy(result.float(), y).backward()
        found = {n: p.grad.clone() for n, p in model.named_parameters()}
        errors.append([((found[n] - w).norm() / w.norm()).item() for n, w in wanted.items()])
    assert len(backend.regions) == 1
    precisions = {op.attrs.get("precision") for op in backend.regions[0].program.operations} - {None}
    assert precisions == {"bfloat16"}
    assert sorted(errors[1])[len(errors[1]) // 2] < 0.05
    assert max(errors[1]) < 2 * max(errors[0])


# ---------------------------------------------------------------- orders of calls
def test_called_twice_before_the_backward_pass():
    model, (x, y), (other, _) = lenet(), images(), images()
    called, _ = compiled(model)
    found = []
    for function in (model, called):
        loss = F.cross_entropy(function(x), y) + F.cross_entropy(function(other), y)
        found.append(torch.autograd.grad(loss, list(model.parameters())))
    for a, b in zip(*found):
        torch.testing.assert_close(b, a, rtol=1e-4, atol=1e-6)


def test_a_second_backward_pass_gives_the_same():
    model, x, y = residual_and_images()
    called, _ = compiled(model)
    parameters = list(model.parameters())
    loss = F.cross_entropy(called(x), y)
    buffers = [b.clone() for b in model.buffers()]
    first = torch.autograd.grad(loss, parameters, retain_graph=True)
    again = torch.autograd.grad(loss, parameters)
    assert all(torch.equal(a, b) for a, b in zip(first, again))
    assert all(torch.equal(a, b) for a, b in zip(buffers, model.buffers()))


def test_gradients_of_gradients_are_those_of_eager_mode():
    model, x, _ = residual_and_images()
    other = copy.deepcopy(model)
    called, _ = compiled(other)
    for function in (model, called):
        given = x.clone().requires_grad_()
        (grad,) = torch.autograd.grad(function(given).square().sum(), given, create_graph=True)
        grad.square().sum().backward()
    for a, b in zip(model.parameters(), other.parameters()):
        torch.testing.assert_close(b.grad, a.grad, rtol=1e-3, atol=1e-4)
    for a, b in zip(model.buffers(), other.buffers()):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("is_arranged", [False, True])
def test_a_weight_changed_before_the_backward_pass_is_noticed(is_arranged):
    model, (x, y) = lenet(), images()
    if is_arranged:
        arrange(model)
    called, _ = compiled(model)
    loss = F.cross_entropy(called(x), y)
    with torch.no_grad():
        model[3].weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_bias_changed_before_the_backward_pass_is_nothing_as_in_eager_mode():
    model, (x, y) = lenet(), images()
    called, _ = compiled(model)
    wanted = exact(model, x, y)[1]
    loss = F.cross_entropy(called(x), y)
    with torch.no_grad():
        model[3].bias.mul_(2)
    loss.backward(retain_graph=True)
    close({n: p.grad for n, p in model.named_parameters()}, wanted)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_result_may_be_changed_in_place_where_eager_mode_allows_it():
    model = nn.Conv2d(1, 4, 3)
    x, _ = images()
    called, _ = compiled(model)
    found = []
    for function in (model, called):
        model.zero_grad()
        y = function(x)
        y += 1.0
        y.square().sum().backward()
        found.append(model.weight.grad.clone())
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-3)


def test_results_without_a_backward_pass_give_their_frames_back():
    model, (x, _) = lenet(), images()
    called, backend = compiled(model)
    kept = [called(x) for _ in range(5)]
    del kept
    (region,) = backend.regions
    assert all(len(free) <= 2 for free in region.step._free.values())
    torch.testing.assert_close(called(x), model(x), rtol=1e-4, atol=1e-5)


def test_training_goes_on_in_several_threads():
    import threading

    model, (x, y) = lenet(), images()
    called, _ = compiled(model)
    wanted = gradients(model, called, x, y)[1]
    found = []

    def work():
        for _ in range(5):
            loss = F.cross_entropy(called(x), y)
            found.append(torch.autograd.grad(loss, list(model.parameters())))

    workers = [threading.Thread(target=work) for _ in range(3)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]
    assert len(found) == 15
    for grads in found:
        assert all(torch.equal(a, b) for a, b in zip(grads, wanted.values()))


# ---------------------------------------------------------------- graphs
class Twice(nn.Module):
    """A layer used twice, in-place ReLU, operators that the engine lacks in the middle, dropout."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1)
        self.fc = nn.Linear(8, 10)

    def forward(self, x):
        x = F.relu(self.a(x), inplace=True)
        x = F.relu_(self.b(x)) + x
        x = torch.fft.fft2(x).real
        return self.fc(F.relu(self.b(x)).mean((2, 3)))


def test_what_is_lacking_stays_between_two_regions():
    model, (x, y) = Twice(), images(8, 16, 3)
    called, backend = compiled(model)
    wanted, found = gradients(model, model, x, y)[1], gradients(model, called, x, y)[1]
    close(found, wanted, 1e-5)
    assert len(backend.regions) == 2
    assert "fft" in str(explain(model, x))


class InPlace(nn.Module):
    """The value before a change in place is still read, directly or through a view."""

    def __init__(self, way):
        super().__init__()
        self.a, self.way = nn.Conv2d(3, 10, 3), way

    def forward(self, x):
        y = self.a(x)
        z = y * 2
        if self.way == "itself":
            y.relu_()
        elif self.way == "view":
            y.view(-1).relu_()
        elif self.way == "part":
            y[:, :3].mul_(3.0)
        else:
            y.add_(y.relu())
        return (y + z).mean((2, 3))


@pytest.mark.parametrize("way", ["itself", "view", "part", "sum"])
def test_changes_in_place_mean_the_same(way):
    model, (x, y) = InPlace(way), images(8, 10, 3)
    called, backend = compiled(model)
    wanted = gradients(model, model, x, y)
    loss, found = gradients(model, called, x, y)
    torch.testing.assert_close(loss, wanted[0], rtol=1e-5, atol=1e-6)
    close(found, wanted[1], 1e-5)
    assert backend.regions


def test_results_and_gradients_that_share_memory():
    """Results that are an input, a view of an input, of each other; a gradient that is the tangent."""

    class Sums(nn.Module):
        def forward(self, x):
            y, z = torch.sin(x), torch.cos(x)
            total = y + z
            return total, torch.flatten(total, 1), x, x.view(x.shape[0], -1), torch.tanh(total + y)

    x = torch.randn(2, 4, 6, 6)
    called, _ = compiled(Sums(), every=True)
    found = []
    for function in (Sums(), called):
        given = x.clone().requires_grad_()
        results = function(given)
        sum(r.square().sum() for r in results).backward()
        found.append(given.grad)
        assert results[2] is given
        assert results[3].data_ptr() == given.data_ptr()
        assert results[1].data_ptr() == results[0].data_ptr()
    torch.testing.assert_close(found[1], found[0], rtol=1e-5, atol=1e-5)


def test_a_result_lies_in_memory_as_in_eager_mode():
    for layout in (torch.contiguous_format, torch.channels_last):
        model = nn.Conv2d(3, 8, 3).to(memory_format=layout)
        x = torch.randn(4, 3, 9, 9).to(memory_format=layout)
        called, _ = compiled(model)
        assert called(x).stride() == model(x).stride()
        called(x).transpose(0, 1)


@pytest.mark.parametrize("cut", [lambda x: x[::2], lambda x: x[:, :, ::2], lambda x: x.transpose(2, 3)])
def test_images_with_gaps_in_memory(cut):
    model, x = nn.Conv2d(3, 8, 3), cut(torch.randn(8, 3, 10, 12))
    called, backend = compiled(model)
    torch.testing.assert_close(called(x), model(x), rtol=1e-4, atol=1e-5)
    assert backend.regions


def test_a_graph_is_split_where_gradients_are_switched_off():
    class Switching(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 10)

        def forward(self, x):
            with torch.no_grad():
                y = self.a(x)
            return self.b(y)

    model, x, y = Switching(), torch.randn(6, 4), torch.randint(0, 10, (6,))
    called, backend = compiled(model)
    wanted = exact(model, x, y)[1]
    assert set(wanted) == {"b.weight", "b.bias"}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = gradients(model, called, x, y)[1]
    close(found, wanted)
    assert backend.regions


def test_detached_values_carry_no_gradient():
    class Detached(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(4, 6), nn.Linear(6, 10)

        def forward(self, x):
            y = self.a(x)
            return self.b(torch.relu(y) + y.detach())

    model, x, y = Detached(), torch.randn(6, 4), torch.randint(0, 10, (6,))
    assert_same_step(model, x, y)


def test_float64_stays_with_pytorch():
    model, (x, y) = lenet().double(), images()
    called, backend = compiled(model)
    wanted = gradients(model, model, x.double(), y)[1]
    found = gradients(model, called, x.double(), y)[1]
    close(found, wanted, 1e-12)
    assert not backend.regions
    assert "float64" in str(explain(model, x.double()))


# ---------------------------------------------------------------- whole steps
OPTIMIZERS = {
    "sgd": (torch.optim.SGD, {"lr": 0.05}),
    "momentum": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-3}),
    "nesterov": (torch.optim.SGD, {"lr": 0.05, "momentum": 0.9, "nesterov": True, "maximize": True}),
    "adam": (torch.optim.Adam, {"lr": 1e-3, "weight_decay": 1e-3}),
    "adamw": (torch.optim.AdamW, {"lr": 1e-3, "betas": (0.8, 0.99), "eps": 1e-6}),
}


def eager_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_whole_step_is_that_of_float64(name):
    kind, settings = OPTIMIZERS[name]
    model, x, y = residual_and_images()
    other = copy.deepcopy(model).double()
    step = optimize(model, kind(model.parameters(), **settings))
    reference = kind(other.parameters(), **settings)
    schedules = [torch.optim.lr_scheduler.StepLR(o, 1, 0.5) for o in (step.optimizer, reference)]
    for _ in range(3):
        loss, wanted = step(x, y), eager_step(other, reference, x.double(), y)
        torch.testing.assert_close(loss.double(), wanted, rtol=1e-5, atol=1e-5)
        for schedule in schedules:
            schedule.step()
    assert step.is_fused and not loss.requires_grad
    close(dict(model.state_dict()), dict(other.state_dict()), 1e-3 if "adam" in name else 1e-4)
    ours, theirs = step.optimizer.state_dict(), reference.state_dict()
    assert ours["param_groups"][0]["lr"] == theirs["param_groups"][0]["lr"]
    for number, state in theirs["state"].items():
        close(ours["state"][number], {k: v for k, v in state.items() if v is not None}, 1e-3)


def test_a_training_goes_on_in_either_loop():
    """The state is the optimiser's own: saved, loaded, and used by the ordinary loop in between."""
    model, (x, y) = lenet(), images()
    other = copy.deepcopy(model)
    step = optimize(model, torch.optim.Adam(model.parameters(), 1e-3))
    plain = torch.optim.Adam(other.parameters(), 1e-3)
    for number in range(6):
        if number == 3:
            step.optimizer.load_state_dict(copy.deepcopy(step.optimizer.state_dict()))
        ours = eager_step(model, step.optimizer, x, y) if number == 2 else step(x, y)
        torch.testing.assert_close(ours, eager_step(other, plain, x, y), rtol=1e-4, atol=1e-5)
    assert {float(s["step"]) for s in step.optimizer.state.values()} == {6.0}


def test_settings_that_change_between_steps_are_seen():
    model, (x, y) = lenet(), images()
    other = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1, momentum=0.9))
    plain = torch.optim.SGD(other.parameters(), 0.1, momentum=0.9)
    for momentum in (0.9, 0.5):
        for optimizer in (step.optimizer, plain):
            optimizer.param_groups[0]["momentum"] = momentum
        for _ in range(2):
            torch.testing.assert_close(step(x, y), eager_step(other, plain, x, y), rtol=1e-4, atol=1e-5)
    close(dict(model.state_dict()), dict(other.state_dict()), 1e-5)


def test_groups_of_parameters_and_frozen_parts():
    model, x, y = residual_and_images()
    model.conv1.requires_grad_(False)
    other = copy.deepcopy(model)

    def optimizer(module):
        head = list(module.head.parameters())
        body = [p for n, p in module.named_parameters() if "head" not in n and p.requires_grad]
        return torch.optim.SGD([{"params": body, "lr": 0.01}, {"params": head, "momentum": 0.9}], 0.1)

    step, plain = optimize(model, optimizer(model)), optimizer(other)
    for _ in range(3):
        torch.testing.assert_close(step(x, y), eager_step(other, plain, x, y), rtol=1e-4, atol=1e-5)
    assert step.is_fused
    close(dict(model.state_dict()), dict(other.state_dict()), 1e-4)


WEIGHTS, POSITIVE = torch.tensor([0.5, 2.0, 0.0, 1.5]), torch.tensor([3.0])


REDUCED = {
    "nll of weighted classes": lambda p, y, **how: F.nll_loss(
        p.log_softmax(1), y, WEIGHTS.to(p.dtype), **how
    ),
    "nll without a class": lambda p, y, **how: F.nll_loss(p.log_softmax(1), y, ignore_index=1, **how),
    "weighted classes": lambda p, y, **how: F.cross_entropy(p, y, WEIGHTS.to(p.dtype), **how),
    "weighted, without a class": lambda p, y, **how: F.cross_entropy(
        p, y, WEIGHTS.to(p.dtype), ignore_index=1, **how
    ),
    "smoothed": lambda p, y, **how: F.cross_entropy(p, y, label_smoothing=0.1, **how),
    "smoothed, without the last": lambda p, y, **how: F.cross_entropy(
        p, y, label_smoothing=0.3, ignore_index=3, **how
    ),
    "smoothed and weighted, without the first": lambda p, y, **how: F.cross_entropy(
        p, y, WEIGHTS.to(p.dtype), label_smoothing=0.2, ignore_index=0, **how
    ),
    "weighted and smoothed shares": lambda p, y, **how: F.cross_entropy(
        p, y.softmax(1), WEIGHTS.to(p.dtype), label_smoothing=0.2, **how
    ),
    "binary, weighted": lambda p, y, **how: F.binary_cross_entropy_with_logits(
        p, y.sigmoid(), pos_weight=POSITIVE.to(p.dtype), **how
    ),
    "mse": F.mse_loss,
    "l1": F.l1_loss,
    "huber": lambda p, y, **how: F.huber_loss(p, y, delta=0.4, **how),
    "smooth_l1": lambda p, y, **how: F.smooth_l1_loss(p, y, beta=0.3, **how),
    "smooth_l1 without a bend": lambda p, y, **how: F.smooth_l1_loss(p, y, beta=0, **how),
    "binary": lambda p, y, **how: F.binary_cross_entropy_with_logits(p, y.sigmoid(), **how),
    "shares": lambda p, y, **how: F.cross_entropy(p, y.softmax(1), **how),
    "nll": lambda p, y, **how: F.nll_loss(p.log_softmax(1), y, **how),
    "nll, axes from behind": lambda p, y, **how: F.nll_loss(p.log_softmax(1 - p.dim()), y, **how),
}


OF_NUMBERS = [
    name for name in REDUCED if name.startswith(("nll", "weighted", "smoothed")) and "shares" not in name
]


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("name", REDUCED)
def test_losses_of_rows_and_of_maps_are_part_of_a_step(name, reduction, layout):
    loss = partial(REDUCED[name], reduction=reduction)
    maps = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Tanh(), nn.Conv2d(6, 4, 1))
    rows = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Tanh(), nn.Flatten(), nn.Linear(96, 4))
    for model, shape in ((maps, (5, 4, 6, 6)), (rows, (5, 4))):
        x, y = torch.randn(5, 3, 6, 6).to(memory_format=layout), torch.randn(shape)
        y = y.to(memory_format=layout) if y.dim() == 4 else y
        y = y.argmax(1) if name in OF_NUMBERS else y
        twin = copy.deepcopy(model).double()
        step = optimize(model, torch.optim.SGD(model.parameters(), 0.01), loss)
        plain = torch.optim.SGD(twin.parameters(), 0.01)
        for _ in range(3):
            plain.zero_grad()
            wanted = loss(twin(x.double()), y.double() if y.is_floating_point() else y)
            wanted.backward()
            plain.step()
            torch.testing.assert_close(step(x, y).double(), wanted.detach(), rtol=1e-5, atol=1e-5)
        assert step.is_fused
        close(dict(model.state_dict()), {n: v.float() for n, v in twin.state_dict().items()}, 1e-4)


def averaging(is_shared=False):
    """Two normalisations that average over all batches, and one that does not."""
    torch.manual_seed(2)
    first = nn.BatchNorm2d(6, momentum=None)
    second = first if is_shared else nn.BatchNorm2d(6, momentum=None, affine=False)
    body = [nn.Conv2d(3, 6, 3), first, nn.ReLU(), nn.Conv2d(6, 6, 3), second, nn.ReLU(), nn.BatchNorm2d(6)]
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4))


def test_averages_over_all_batches_are_part_of_a_step():
    model = averaging()
    twin = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.05))
    plain = torch.optim.SGD(twin.parameters(), 0.05)
    for _ in range(4):
        x, y = torch.randn(5, 3, 8, 8) * 2 + 1, torch.arange(5) % 4
        torch.testing.assert_close(step(x, y), eager_step(twin, plain, x, y), rtol=1e-4, atol=1e-5)
        assert step.is_fused
        close(dict(model.state_dict()), dict(twin.state_dict()), 1e-5)
    assert model[1].momentum is None
    for each in (model, twin):
        each[1].eval()  # what it has averaged is used, and stays
    torch.testing.assert_close(step(x, y), eager_step(twin, plain, x, y), rtol=1e-4, atol=1e-5)
    close(dict(model.state_dict()), dict(twin.state_dict()), 1e-5)


def test_averages_of_a_layer_that_is_used_twice_are_pytorchs():
    model = averaging(is_shared=True)
    twin = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.05))
    plain = torch.optim.SGD(twin.parameters(), 0.05)
    x, y = torch.randn(5, 3, 8, 8) * 2 + 1, torch.arange(5) % 4
    with pytest.warns(UserWarning, match="updates the weights in PyTorch"):
        step(x, y)
    eager_step(twin, plain, x, y)
    for _ in range(2):
        torch.testing.assert_close(step(x, y), eager_step(twin, plain, x, y), rtol=1e-4, atol=1e-5)
        close(dict(model.state_dict()), dict(twin.state_dict()), 1e-5)
    assert model[1].momentum is None


def as_steps(loss, x, y, count=3):
    """A linear model with a loss, trained by whole steps and in eager mode."""
    torch.manual_seed(3)
    model = nn.Linear(x.shape[1], 4)
    twin = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1), loss)
    plain = torch.optim.SGD(twin.parameters(), 0.1)
    for _ in range(count):
        plain.zero_grad()
        wanted = loss(twin(x), y)
        wanted.backward()
        plain.step()
        torch.testing.assert_close(step(x, y), wanted.detach(), rtol=1e-5, atol=1e-6, equal_nan=True)
    return step


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignored", [-100, 2])
@pytest.mark.parametrize("is_weighted", [True, False])
def test_modules_of_weighted_and_smoothed_losses(is_weighted, ignored, smoothing):
    """With labels that do not count among those that do."""
    weights = WEIGHTS.clone() if is_weighted else None
    loss = nn.CrossEntropyLoss(weights, ignore_index=ignored, label_smoothing=smoothing)
    y = torch.tensor([0, 1, ignored, 3, 0, ignored])
    assert as_steps(loss, torch.randn(6, 5), y).is_fused


def test_weights_of_two_kinds_in_a_binary_loss():
    loss = nn.BCEWithLogitsLoss(torch.rand(4), pos_weight=torch.rand(4))
    assert as_steps(loss, torch.randn(6, 5), torch.rand(6, 4).round()).is_fused


def test_labels_that_count_for_nothing_give_what_pytorch_gives():
    """The mean over no weight is no number; labels that are no classes are refused."""
    only = torch.full((6,), 2)  # of weight 0
    as_steps(nn.CrossEntropyLoss(WEIGHTS.clone()), torch.randn(6, 5), only, count=1)
    as_steps(nn.CrossEntropyLoss(label_smoothing=0.1), torch.randn(6, 5), torch.full((6,), -100), count=1)
    step = as_steps(nn.CrossEntropyLoss(WEIGHTS.clone()), torch.randn(6, 5), torch.arange(6) % 2)
    with pytest.raises((IndexError, RuntimeError)):
        step(torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 5]))


def test_a_loss_of_two_shapes_is_pytorchs_with_its_warning():
    model, x, y = nn.Linear(4, 3), torch.randn(6, 4), torch.randn(3)
    twin = copy.deepcopy(model)
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1), F.mse_loss)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = step(x, y)
    assert any("target size" in text for text in texts(said))
    torch.testing.assert_close(found, F.mse_loss(twin(x), y).detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "prepare",
    [
        lambda model: (torch.optim.RMSprop(model.parameters(), 1e-3), F.cross_entropy),
        lambda model: (torch.optim.Adam(model.parameters(), 1e-3, amsgrad=True), F.cross_entropy),
        lambda model: (
            torch.optim.SGD(model.parameters(), 1e-2),
            lambda p, y: p.square().mean() + p.std(),
        ),
        lambda model: (torch.optim.SGD(list(model.parameters())[2:], 1e-2), F.cross_entropy),
    ],
)
def test_what_is_no_program_is_done_in_pytorch_and_said(prepare):
    model, (x, y) = lenet(), images()
    other = copy.deepcopy(model)
    (optimizer, loss), (plain, _) = prepare(model), prepare(other)
    step = optimize(model, optimizer, loss)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = [step(x, y) for _ in range(2)]
    assert not step.is_fused
    assert sum("updates the weights in PyTorch" in text for text in texts(said)) == 1
    for value in found:
        plain.zero_grad()
        wanted = loss(other(x), y)
        wanted.backward()
        plain.step()
        torch.testing.assert_close(value, wanted.detach(), rtol=1e-4, atol=1e-5)


def test_labels_that_are_no_classes_are_pytorchs_own_error():
    model, (x, y) = lenet(), images()
    step = optimize(model, torch.optim.SGD(model.parameters(), 0.1))
    step(x, y)
    before = copy.deepcopy(model.state_dict())
    y[0] = 10
    with pytest.raises(IndexError, match="out of bounds"):
        step(x, y)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())


@pytest.mark.parametrize("wrong", [("model",), (lenet(), "sgd"), (lenet(), None, F.cross_entropy)])
def test_what_optimize_does_not_take(wrong):
    with pytest.raises(ArgumentTypeError):
        optimize(*wrong)


class WithLoss(nn.Module):
    """A model that gives its loss."""

    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(3, 5, 3, padding=1)

    def forward(self, x, y):
        return F.cross_entropy(self.net(x), y)


def test_a_loss_inside_the_model_and_labels_that_do_not_count():
    model, x = WithLoss(), torch.randn(4, 3, 6, 6)
    called, backend = compiled(model)
    some, none = torch.randint(0, 5, (4, 6, 6)), torch.full((4, 6, 6), -100)
    some[0] = -100
    for labels in (some, none):
        model.zero_grad()
        wanted = model(x, labels)
        found = called(x, labels)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-6, equal_nan=True)
    assert "loss" in {op.operator for op in backend.regions[0].program.operations}
    some[1, 1, 1] = 7
    with pytest.raises(IndexError, match="out of bounds"):
        called(x, some)


# ---------------------------------------------------------------- around it
def test_optimize_leaves_the_model_what_it_is():
    model, (x, _) = lenet(), images()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    assert optimize(model) is model
    torch.testing.assert_close(
        model(x), copy.deepcopy(model).double()(x.double()).float(), rtol=1e-4, atol=1e-5
    )
    assert model.state_dict().keys() == before.keys()
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    again = torch.load(file, weights_only=False)
    torch.testing.assert_close(again(x), model(x), rtol=1e-4, atol=1e-5)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", [lenet, lambda: nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())])
def test_an_optimised_model_is_exported_as_any_other(kind):
    model, (x, _) = kind(), images()
    expected = model(x).detach()
    optimize(model)(x)
    exported = torch.export.export(model, (x,)).module()
    for other in (
        torch.jit.trace(model, x),
        torch.jit.script(model),
        torch.fx.symbolic_trace(model),
        exported,
    ):
        torch.testing.assert_close(other(x), expected)


def test_arranged_weights_are_the_same_weights():
    model = lenet()
    before = {n: v.clone() for n, v in model.state_dict().items()}
    parameters = list(model.parameters())
    assert arrange(model) is model
    assert all(a is b for a, b in zip(parameters, model.parameters()))
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert model[0].weight.stride() == (1, 6, 30, 6)
    copy.deepcopy(model).load_state_dict(before)


def test_explain_says_what_runs_where_and_changes_nothing():
    model, x, _ = residual_and_images()
    before = copy.deepcopy(model.state_dict())
    torch.manual_seed(3)
    expected = torch.randn(3)
    torch.manual_seed(3)
    found = explain(model, x)
    assert torch.equal(torch.randn(3), expected)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    text = str(found)
    assert "1 region" in text and "conv2d x3" in text and "batch_norm x2" in text
    assert [name for name, _ in found.graphs[0].in_pytorch] == ["aten.add.Tensor"] * 2  # the counters


def test_a_child_process_predicts_with_threads_of_its_own():
    """After a fork the child has no helpers and starts anew; the parent goes on."""
    model, (x, y) = lenet(), images()
    called, _ = compiled(model)
    with torch.no_grad():
        wanted = called(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        signal.alarm(60)  # ends a child that hangs
        with torch.no_grad():
            os._exit(0 if torch.equal(called(x), wanted) else 2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert_same_step(model, x, y, called)


class Batches(torch.utils.data.Dataset):
    """A data set whose workers call a compiled model themselves."""

    def __init__(self, called):
        self.called = called

    def __len__(self):
        return 6

    def __getitem__(self, index):
        with torch.no_grad():
            return self.called(torch.full((2, 1, 16, 16), float(index)))


def test_workers_of_a_loader():
    model = lenet().eval()
    called, _ = compiled(model)
    with torch.no_grad():
        called(torch.zeros(2, 1, 16, 16))
    loader = torch.utils.data.DataLoader(Batches(called), batch_size=None, num_workers=2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for index, found in enumerate(loader):
            wanted = model(torch.full((2, 1, 16, 16), float(index)))
            torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_the_name_alone_is_enough(tmp_path):
    """PyTorch finds the backend as an entry point, without any import of ours."""
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]
    folder = tmp_path / "kernelearn_entry-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: kernelearn-entry\nVersion: 1.0\n")
    lines = [f"[{group}]\n" + "\n".join(f"{k} = {v}" for k, v in e.items()) for group, e in entries.items()]
    (folder / "entry_points.txt").write_text("\n".join(lines))
    program = (
        "import torch, sys\n"
        "model = torch.compile(torch.nn.Linear(4, 3), backend='kernelearn')\n"
        "model(torch.ones(2, 4)).sum().backward()\n"
        "print('kernelearn.torch.passes' in sys.modules, model.weight.grad.flatten().tolist()[:2])\n"
    )
    paths = os.pathsep.join([str(tmp_path), str(ROOT / "src")])
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
    )
    assert done.stdout.strip() == "True [2.0, 2.0]", done.stderr
