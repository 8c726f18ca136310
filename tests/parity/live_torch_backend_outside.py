"""What happens to a model beside its steps, by those who know nothing of the backend: against eager PyTorch.

Run by `make test-peers` and `make parity`, alone with
    python -m pytest tests/parity/live_torch_backend_outside.py
"""

import copy
import threading
import warnings

import pytest

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402
from torch.utils.checkpoint import checkpoint  # noqa: E402

from kernelearn.engine.cpu.machine import threads  # noqa: E402
from kernelearn.errors import MissingDependencyError  # noqa: E402
from kernelearn.torch import backend, inside, optimize  # noqa: E402
from kernelearn.torch.graphs import sequences  # noqa: E402
from kernelearn.torch.measuring import VARIABLE  # noqa: E402
from kernelearn.torch.telling import SAID  # noqa: E402
from kernelearn.torch.translation.table import CannotTranslate  # noqa: E402


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Each test has a Dynamo of its own, and nothing is left to PyTorch for its speed."""
    monkeypatch.setenv(VARIABLE, "0")
    torch._dynamo.reset()
    SAID.clear()
    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    torch._dynamo.reset()


def network():
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def batch(count=8):
    return torch.randn(count, 3, 8, 8), torch.randint(0, 10, (count,))


def eager_step(model, optimizer, x, y):
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    optimizer.step()
    return loss.detach()


def twins(kind, *rest, make=network):
    """A model with a step, its twin, and the optimiser of this one."""
    model = make()
    twin = copy.deepcopy(model)
    return optimize(model, kind(model.parameters(), *rest)), twin, kind(twin.parameters(), *rest)


def assert_alike(model, twin, tolerance=1e-5):
    for (name, ours), theirs in zip(model.state_dict().items(), twin.state_dict().values()):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance, msg=lambda m: f"{name}: {m}")  # noqa: B023


@pytest.mark.parametrize("is_assigned", [False, True])
def test_a_step_trains_no_parameter_that_its_optimiser_does_not_have(is_assigned):
    step, twin, plain = twins(torch.optim.SGD, 0.1)
    (x, y), other = batch(), network().state_dict()
    for number in range(4):
        if number == 2 and is_assigned:
            for model in (step.model, twin):
                model.load_state_dict({k: v.clone() for k, v in other.items()}, assign=True)
        elif number == 2:
            for model in (step.model, twin):
                model[4].weight = nn.Parameter(model[4].weight.detach().clone())
        torch.testing.assert_close(step(x, y), eager_step(twin, plain, x, y), rtol=1e-5, atol=1e-5)
        assert step.is_fused == (number < 2)
    assert_alike(step.model, twin)


def test_hooks_that_come_between_two_steps_are_called():
    step, _, _ = twins(torch.optim.SGD, 0.1)
    (x, y), called = batch(), []
    step(x, y)
    assert step.is_fused
    handle = step.optimizer.register_step_post_hook(lambda *_: called.append("step"))
    step(x, y)
    handle.remove()
    assert called == ["step"]
    step.model[0].weight.register_hook(lambda _: called.append("gradient"))
    step(x, y)
    assert called == ["step", "gradient"]


@pytest.mark.parametrize("way", ["no_grad", "frozen"])
def test_a_step_that_can_learn_nothing_is_pytorchs_own_error_and_no_lasting_one(way):
    step, twin, plain = twins(torch.optim.SGD, 0.1)
    x, y = batch()
    with torch.set_grad_enabled(way == "frozen"):
        step.model.requires_grad_(way == "no_grad")
        with pytest.raises(RuntimeError, match="does not require grad"):
            step(x, y)
    step.model.requires_grad_(True)
    with torch.no_grad():
        twin(x)
    step(x, y), eager_step(twin, plain, x, y)
    assert step.is_fused
    assert_alike(step.model, twin)


def test_counts_of_steps_that_part_are_noticed():
    """A part is frozen for one step: Adam corrects each parameter by its own number of steps."""
    step, twin, plain = twins(torch.optim.Adam, 1e-3)
    x, y = batch()
    fused = []
    for number in range(4):
        for model in (step.model, twin):
            model[0].requires_grad_(number != 1)
        step(x, y), eager_step(twin, plain, x, y)
        fused.append(step.is_fused)
    assert fused == [True, True, False, False]
    assert_alike(step.model, twin, 1e-4)
    for ours, theirs in zip(step.optimizer.state.values(), plain.state.values()):
        assert ours["step"] == theirs["step"]


def test_images_of_bfloat16_under_autocast():
    step, twin, plain = twins(torch.optim.SGD, 0.1)
    x, y = batch()
    for _ in range(3):
        with torch.autocast("cpu", torch.bfloat16):
            ours, theirs = step(x.bfloat16(), y), eager_step(twin, plain, x.bfloat16(), y)
        torch.testing.assert_close(ours, theirs, rtol=2e-2, atol=2e-2)
    assert step.is_fused
    assert_alike(step.model, twin, 2e-2)


def test_weights_of_bfloat16_stay_with_pytorch():
    def make():
        return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 4)).bfloat16()

    step, twin, plain = twins(torch.optim.SGD, 0.1, make=make)
    x, y = torch.randn(8, 8).bfloat16(), torch.randint(0, 4, (8,))
    for _ in range(2):
        ours, theirs = step(x, y), eager_step(twin, plain, x, y)
        assert ours.dtype == theirs.dtype and ours == theirs and not step.is_fused


def test_models_of_one_graph_predict_in_several_threads():
    """Dynamo gives them one function, and each has weights of its own."""
    models = [network().eval() for _ in range(3)]
    compiled = [torch.compile(model, backend="kernelearn") for model in models]
    x, _ = batch()
    with torch.no_grad():
        wanted = [model(x) for model in models]
        assert all(torch.allclose(run(x), y, atol=1e-5) for run, y in zip(compiled, wanted))
    wrong = []

    def predict(number):
        with torch.no_grad():
            for _ in range(200):
                if not torch.allclose(compiled[number](x), wanted[number], atol=1e-5):
                    wrong.append(number)

    threads = [threading.Thread(target=predict, args=(number,)) for number in range(len(models))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_moving_averages_with_gaps_in_memory():
    model = network()
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each[1].running_mean = torch.zeros(16)[::2]
    x, _ = batch()
    for _ in range(2):
        torch.testing.assert_close(
            torch.compile(model, backend="kernelearn")(x), twin(x), atol=1e-5, rtol=1e-5
        )
    assert_alike(model, twin)


def last_layer():
    """Whose backward part reads its result, which nobody else does."""
    return nn.Sequential(nn.Linear(64, 256), nn.Sigmoid())


def gradient(model, loss):
    model.zero_grad()
    found = loss()
    refilled = [torch.full((512, 256), 7.0) for _ in range(4)]  # where a result was that is let go of
    found.backward()
    del refilled
    return model[0].weight.grad.clone()


@pytest.mark.parametrize("way", ["clone", "other strides", "bfloat16"])
def test_hooks_may_keep_what_is_saved_elsewhere(way):
    model, x = last_layer(), torch.randn(512, 64)

    def loss(run):
        def found():
            with torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
                with torch.autocast("cpu", torch.bfloat16, way == "bfloat16"):
                    y = run(x)
                return (y * 1.0).sum()

        return found

    def keep(tensor):
        return (
            tensor.t().clone(memory_format=torch.contiguous_format).t()
            if "strides" in way
            else tensor.clone()
        )

    compiled = torch.compile(model, backend="kernelearn")
    atol = 1.0 if way == "bfloat16" else 1e-3
    torch.testing.assert_close(
        gradient(model, loss(compiled)), gradient(model, loss(model)), rtol=1e-2, atol=atol
    )


def test_a_compiled_part_of_a_checkpoint():
    model, head, x = last_layer(), nn.Linear(256, 1), torch.randn(512, 64)
    compiled = torch.compile(model, backend="kernelearn")

    def loss(run):
        return lambda: checkpoint(lambda x: head(run(x) * 1.0), x, use_reentrant=False).sum()

    torch.testing.assert_close(
        gradient(model, loss(compiled)), gradient(model, loss(model)), rtol=1e-4, atol=1e-4
    )


class Recomputed(nn.Module):
    """A checkpoint in the middle, with averages, a counter and dropout in it."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Dropout(0.4))
        self.first, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        return self.last(checkpoint(self.body, self.first(x), use_reentrant=False))


def test_a_checkpoint_inside_of_a_model_draws_again_what_it_drew():
    model, (x, _) = Recomputed(), batch()
    twin, regions = copy.deepcopy(model), []
    compiled = torch.compile(model, backend=listening(regions))
    found = []
    for run in (compiled, twin):
        torch.manual_seed(3)
        run(x).square().mean().backward()
        found.append([*(p.grad for p in run.parameters()), *run.buffers()])
    assert len(regions) == 3  # before it, in it (twice called), behind it
    for ours, theirs in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def listening(regions):
    """The backend; what it makes goes into a list."""

    def keep(made):
        assert not isinstance(made, Exception), made
        regions.extend(made.regions)

    return lambda gm, inputs: backend.compile_graph(gm, inputs, None, keep)


def test_functions_of_torch_func_leave_no_switch_behind():
    """A graph that switches something off, and fails before it switches it on again, is not begun."""
    weight, x = torch.randn(4, 3, 3, 3), batch()[0]
    gradient_of = torch.func.grad(lambda w: F.conv2d(x, w).square().mean())
    compiled = torch.compile(gradient_of, backend="kernelearn")
    torch.testing.assert_close(compiled(weight), gradient_of(weight))
    with torch.autograd.graph.saved_tensors_hooks(lambda kept: kept, lambda kept: kept):
        weight.requires_grad_().square().sum().backward()


def test_derivatives_that_only_pytorch_has():
    """Those forwards, and gradients of several numbers at once."""
    model, (x, _) = network().eval(), batch(2)
    compiled, direction = torch.compile(model, backend="kernelearn"), torch.randn_like(x)
    found = []
    for run in (compiled, model):
        with torch.autograd.forward_ad.dual_level(), torch.no_grad():
            y = run(torch.autograd.forward_ad.make_dual(x, direction))
            forwards = torch.autograd.forward_ad.unpack_dual(y).tangent
        given = x.clone().requires_grad_()
        y = run(given)
        several = torch.stack([torch.ones_like(y), torch.cos(torch.arange(20.0)).reshape(2, 10)])
        found.append((forwards, *torch.autograd.grad(y, given, several, is_grads_batched=True)))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-5)


class Writing(nn.Module):
    """Parts of maps are overwritten by other maps, which carry gradients."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        y, z = self.first(x), self.first(x.flip(2)).relu()
        y[:, 1:3] = z[:, :2]
        y[:, :, ::2] += z[:, :, 1::2]
        y[:, 3].copy_(z[:, 0])
        y[:, :, 0] = z[:, :1, 1]
        return self.last(y)


def test_maps_that_are_overwritten_by_others():
    model, (x, _) = Writing(), batch()
    regions = []
    compiled = torch.compile(model, backend=listening(regions))

    def loss(run):
        return lambda: run(x).square().mean()

    ours, theirs = (gradient_of_all(model, loss(run)) for run in (compiled, model))
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)
    assert regions


def gradient_of_all(model, loss):
    model.zero_grad()
    loss().backward()
    return [p.grad.clone() for p in model.parameters()]


def test_what_a_version_of_pytorch_lacks_is_named(monkeypatch):
    with pytest.raises(MissingDependencyError, match=r"torch\.nothing, which PyTorch"):
        inside._found("torch", "nothing")

    def lacking():
        raise CannotTranslate("PyTorch 9.9 lacks an operator: 'conv5d'")

    monkeypatch.setattr(backend, "load_families", lacking)
    model, x = nn.Linear(4, 3), torch.ones(2, 4)
    called = torch.compile(lambda x: torch.relu(model(x)), backend=backend.compile_graph)
    with pytest.warns(UserWarning, match=r"leaves a graph to PyTorch: PyTorch 9\.9 lacks an operator"):
        torch.testing.assert_close(called(x), torch.relu(model(x)))


class Heads(nn.Module):
    """Two results of one region, each with weights of its own."""

    def __init__(self):
        super().__init__()
        self.trunk, self.left, self.right = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 3), nn.Conv2d(4, 2, 3)

    def forward(self, x):
        x = self.trunk(x).relu()
        return self.left(x), self.right(x)


@pytest.mark.parametrize("again", [False, True])
def test_a_result_that_nothing_is_computed_from_gives_no_gradient_and_not_zeros(again):
    """Else the momentum and decay of an optimiser would move weights that eager mode leaves alone."""
    model, x = Heads(), torch.randn(2, 3, 8, 8)
    twin = optimize(copy.deepcopy(model))
    found = []
    for each in (model, twin):
        for number in (0, 1, 0):
            loss = each(x)[number].square().sum()
            (grad,) = torch.autograd.grad(loss, each.trunk.weight, create_graph=again, retain_graph=True)
            (loss + grad.square().sum() if again else loss).backward()
            found.append([None if p.grad is None else p.grad.clone() for p in each.parameters()])
            each.zero_grad()
    for theirs, ours in zip(found[:3], found[3:]):
        assert [g is None for g in ours] == [g is None for g in theirs]
        for a, b in zip(ours, theirs):
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


class Second(nn.Module):
    """Its images come second."""

    def __init__(self):
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1)
        self.encoder, self.last = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False), nn.Linear(8, 3)

    def forward(self, x):
        return self.last(self.encoder(x))


WEIGHT = torch.tensor([0.5, 1.0, 2.0])


def of_rows(y, t):
    """As losses of words are written: rows of all places of all images."""
    return F.cross_entropy(y.view(-1, 3), t.view(-1), WEIGHT, ignore_index=1)


def of_pixels(y, t):
    return F.cross_entropy(y.permute(0, 2, 3, 1).reshape(-1, 3), t.flatten())


SECOND = lambda count: torch.randn(6, count, 8)  # noqa: E731
FIRST = lambda count: torch.randn(count, 3, 4, 4)  # noqa: E731
STEPS = {
    "images second": (Second, SECOND, lambda n: torch.randn(6, n, 3), F.mse_loss),
    "rows, images second": (Second, SECOND, lambda n: torch.randint(0, 3, (6, n)), of_rows),
    "rows": (
        lambda: nn.Conv2d(3, 3, 3, padding=1),
        FIRST,
        lambda n: torch.randint(0, 3, (n, 4, 4)),
        of_pixels,
    ),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_whole_step_where_images_are_not_all_that_is_in_front(kind):
    make, images, targets, loss_of = STEPS[kind]
    torch.manual_seed(0)
    step, twin, plain = twins(torch.optim.SGD, 0.1, make=make)
    step.loss = loss_of
    for number, count in enumerate((4, 4, 3, 5)):
        x, y = images(count), targets(count)
        torch.manual_seed(number)
        found = step(x, y)
        torch.manual_seed(number)
        plain.zero_grad()
        loss = loss_of(twin(x), y)
        loss.backward()
        plain.step()
        torch.testing.assert_close(found, loss.detach(), rtol=1e-5, atol=1e-5)
        assert step.is_fused
    assert_alike(step.model, twin)


@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["equal", "weighted"])
@pytest.mark.parametrize(("ignored", "smoothing"), [(1, 0.0), (-100, 0.0), (1, 0.1)])
def test_a_batch_whose_labels_are_all_ignored_is_pytorchs(weight, ignored, smoothing):
    """Its mean is NaN; without smoothing its gradients are zeros, which leave the weights alone."""

    def loss_of(y, t):
        return F.cross_entropy(y, t, weight, ignore_index=ignored, label_smoothing=smoothing)

    step, twin, plain = twins(torch.optim.SGD, 0.1, make=lambda: nn.Conv2d(3, 3, 3))
    step.loss = loss_of
    x, labels = torch.randn(2, 3, 4, 4), torch.tensor([0, 2]).repeat(4).reshape(2, 2, 2)
    for y in (labels, torch.full_like(labels, ignored)):
        found = step(x, y)
        plain.zero_grad()
        loss = loss_of(twin(x), y)
        loss.backward()
        plain.step()
        torch.testing.assert_close(found, loss.detach(), equal_nan=True)
    for ours, theirs in zip(step.model.parameters(), twin.parameters()):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("is_first", [True, False])
def test_a_transformer_with_masks_is_one_graph(is_first):
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.1, batch_first=is_first)
    x, y = (torch.randn(*((4, n) if is_first else (n, 4)), 8) for n in (6, 5))
    hidden = torch.arange(6) > torch.tensor([[3], [6], [6], [2]])
    masks = {"tgt_mask": nn.Transformer.generate_square_subsequent_mask(5), "src_key_padding_mask": hidden}
    regions = []

    def compile_one(graph, inputs):
        return backend.compile_graph(graph, inputs, None, lambda made: regions.append(len(made.regions)))

    found = []
    for called in (model, torch.compile(Wrapped(model), backend=compile_one)):
        torch.manual_seed(1)
        model.zero_grad()
        result = called(x, y, **masks)
        result.square().mean().backward()
        found.append([result.detach(), *(p.grad.clone() for p in model.parameters())])
    for theirs, ours in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    assert regions == [1]


def test_a_place_that_may_see_nothing_gives_zeros_and_no_nan():
    """As behind padding in front of a causal mask, which modules add up to numbers."""
    model = nn.Transformer(8, 2, 1, 1, 16, dropout=0.0, batch_first=True)
    hidden = torch.tensor([[True, False, False, False], [True] * 4, [False] * 4])
    masks = {"tgt_mask": torch.ones(4, 4, dtype=torch.bool).triu(1), "tgt_key_padding_mask": hidden}
    x, y, found = torch.randn(3, 6, 8), torch.randn(3, 4, 8), []
    for called in (model, torch.compile(Wrapped(model), backend=backend.compile_graph)):
        model.zero_grad()
        result = called(x, y, **masks)
        result.square().mean().backward()
        found.append([result.detach(), *(p.grad.clone() for p in model.parameters())])
    for theirs, ours in zip(*found):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


def test_a_rule_that_fails_is_told_of_and_changes_no_number(monkeypatch):
    monkeypatch.setitem(sequences.RULES, torch.ops.aten.relu.default, lambda walk, node: 1 / 0)
    layer, x = nn.Linear(4, 3), torch.randn(5, 2, 4)

    def model(x):
        return layer(layer(x.transpose(0, 1)).relu().transpose(0, 1).mean(0)[:, :1].expand(-1, 4))

    called = torch.compile(model, backend=backend.compile_graph)
    with pytest.warns(UserWarning, match="reads a graph as it is.*ZeroDivisionError"):
        torch.testing.assert_close(called(x), model(x))
    SAID.clear()


class Stack(nn.Sequential):
    """A network whose `forward` is PyTorch's own."""


class Wrapped(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *inputs, **masks):
        return self.inner(*inputs, **masks)


KINDS = {
    "Sequential": network,
    "a class of it": lambda: Stack(*network()),
    "nested": lambda: nn.Sequential(network(), nn.ReLU()),
    "Conv2d": lambda: nn.Conv2d(3, 8, 3),
    "with hooks": lambda: Wrapped(network()),
    "a class": lambda: Wrapped(network()),
}


@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_model_runs_on_the_engine(kind, is_training, monkeypatch):
    """Dynamo looks into no frame of PyTorch's own: a plain `Sequential` used to stay with PyTorch, unsaid."""
    model = KINDS[kind]().train(is_training)
    twin, seen = copy.deepcopy(model), []
    if kind == "with hooks":
        for one in (model, twin):
            one.inner[0].register_forward_hook(lambda module, args, y: y * 2)
            one.register_forward_hook(lambda module, args, y: seen.append(y.detach()))
    assert optimize(model) is model
    calls = []
    real = threads.Pool.run
    monkeypatch.setattr(threads.Pool, "run", lambda self, *job: calls.append(job) or real(self, *job))
    for count in (8, 3, 1, 8):
        x = batch(count)[0].requires_grad_(is_training)
        calls.clear()
        with torch.set_grad_enabled(is_training):
            ours, theirs = model(x), twin(x.detach())
        assert calls
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        if is_training:
            calls.clear()
            ours.square().sum().backward()
            theirs.square().sum().backward()
            assert calls
    assert len(seen) == (8 if kind == "with hooks" else 0)
    for own, other in zip(model.parameters(), twin.parameters()):
        if is_training:
            torch.testing.assert_close(own.grad, other.grad, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("is_whole", [False, True])
def test_what_an_interrupted_step_has_written_is_known_to_pytorch(is_whole, monkeypatch):
    """Ctrl-C comes where the native loop returns; who keeps what follows from a tensor asks its version."""
    model = network()
    step = optimize(model, *([torch.optim.SGD(model.parameters(), 0.1)] if is_whole else []))
    x, y = batch()
    run = (lambda: step(x, y)) if is_whole else (lambda: model(x))
    run()
    written = [*model.parameters(), model[1].running_mean] if is_whole else [model[1].running_mean]
    before, versions = [w.clone() for w in written], [w._version for w in written]
    real = threads.Pool.run

    def interrupt(self, *job):
        real(self, *job)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threads.Pool, "run", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run()
    assert not any(torch.equal(w, b) for w, b in zip(written, before))
    assert all(w._version > v for w, v in zip(written, versions))
