"""Whole steps past Dynamo: whatever changes between two of them is noticed, as Dynamo would.

python -m pytest tests/parity/live_torch_steps.py
"""

import copy

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import kernelearn.torch  # noqa: E402


def network():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(100, 5)
    )


def made(model):
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    return optimizer, kernelearn.torch.optimize(model, optimizer, measure=False)


def batch(count=6):
    return torch.randn(count, 2, 5, 5), torch.randint(0, 5, (count,))


def eager(model, optimizer, loss, x, y):
    optimizer.zero_grad()
    found = loss(model(x), y)
    found.backward()
    optimizer.step()
    return found.detach()


def frozen(model, step):
    model[0].weight.requires_grad_(False)


def strided(model, step):
    model[0].padding = (2, 2)
    model[0].dilation = (2, 2)


def negated(model, step):
    model[2] = nn.Tanh()


def hooked(model, step):
    model[2].register_forward_hook(lambda module, args, y: y * 0.5)
    torch._dynamo.reset()  # hooks that are added later are seen by no backend


def moved(model, step):
    model.to(memory_format=torch.channels_last)


CHANGES = {
    "eval": lambda model, step: model.eval(),
    "padding": strided,
    "a frozen weight": frozen,
    "another module": negated,
    "another class": lambda model, step: setattr(model[2], "__class__", nn.Tanh),
    "a hook": hooked,
    "memory order": moved,
    "averages": lambda model, step: model[1].running_mean.data.fill_(3.0),
    "momentum of averages": lambda model, step: setattr(model[1], "momentum", 0.7),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_between_steps_is_noticed(name):
    model = network()
    twin = copy.deepcopy(model)
    _, step = made(model)
    other = torch.optim.SGD(twin.parameters(), 0.05, momentum=0.9)
    for number in range(6):
        if number == 3:
            assert step._shortcut is not None
            CHANGES[name](model, step)
            CHANGES[name](twin, None)
        x, y = batch()
        torch.testing.assert_close(
            step(x, y), eager(twin, other, F.cross_entropy, x, y), rtol=1e-5, atol=1e-5
        )
    for found, wanted in zip(model.state_dict().values(), twin.state_dict().values()):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_that_lie_otherwise_draw_no_numbers_twice():
    model = network().insert(4, nn.Dropout(0.4))
    twin = copy.deepcopy(model)
    _, step = made(model)
    other = torch.optim.SGD(twin.parameters(), 0.05, momentum=0.9)
    for number in range(5):
        if number == 3:
            moved(model, step)
        x, y = batch()
        torch.manual_seed(number)
        found = step(x, y)
        torch.manual_seed(number)
        torch.testing.assert_close(found, eager(twin, other, F.cross_entropy, x, y), rtol=1e-4, atol=1e-5)


def test_the_shortcut_gives_the_same_bits():
    results = []
    for tries in (0, 8):
        model = network()
        _, step = made(model)
        step._unused = 8 - tries
        torch.manual_seed(0)
        losses = [step(*batch()) for _ in range(4)]
        assert (step._shortcut is not None) == bool(tries)
        results.append([*losses, *model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_a_loss_that_is_replaced_or_a_batch_of_another_size_is_noticed():
    model = network()
    _, step = made(model)
    for _ in range(3):
        step(*batch())
    step.loss = nn.CrossEntropyLoss(reduction="sum")
    x, y = batch(4)
    wanted = F.cross_entropy(model(x), y, reduction="sum").detach()
    torch.testing.assert_close(step(x, y), wanted, rtol=1e-4, atol=1e-5)
    x, y = batch(3)
    wanted = F.cross_entropy(model(x), y, reduction="sum").detach()
    torch.testing.assert_close(step(x, y), wanted, rtol=1e-4, atol=1e-5)


def test_where_compiling_is_disabled_steps_are_made_all_the_same():
    model = network()
    _, step = made(model)
    before = copy.deepcopy(model)
    other = torch.optim.SGD(before.parameters(), 0.05, momentum=0.9)
    x, y = batch()
    disabled = torch.compiler.set_stance("force_eager")
    with pytest.warns(UserWarning, match="torch.compile is disabled"), disabled:
        found = step(x, y)
    torch.testing.assert_close(found, eager(before, other, F.cross_entropy, x, y))
    for a, b in zip(model.state_dict().values(), before.state_dict().values()):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
